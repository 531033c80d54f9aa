# SPDX-License-Identifier: Apache-2.0
"""The budget of CPU-seconds: what was spent, what is left, and whether something fits into it."""

from __future__ import annotations

import math
import time


class CpuBudget:
    """Counts this process's CPU-seconds from when it is made."""

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self._started = time.process_time()

    @property
    def spent(self) -> float:
        """CPU-seconds since the start."""
        return time.process_time() - self._started

    @property
    def left(self) -> float:
        """CPU-seconds that may still be spent; infinite without a budget."""
        return math.inf if self.budget is None else self.budget - self.spent

    def refuses(self, seconds: float) -> str | None:
        """Say why something that takes about so many CPU-seconds cannot be tried, or None."""
        if seconds <= self.left:
            return None
        return (
            f"it would take about {seconds:,.0f} CPU-seconds, and {max(0.0, self.left):,.0f} of "
            f"{self.budget:,.0f} are left"
        )
