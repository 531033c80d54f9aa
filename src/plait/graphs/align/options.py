# SPDX-License-Identifier: Apache-2.0
"""How to align."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Progress = Callable[[float, str], None]
Encoder = Callable[[Sequence[str]], np.ndarray]
"""Turns texts into vectors of length 1, [texts, dimensions]."""


@dataclass(frozen=True)
class Options:
    """How to align.

    With `one_to_one` an entity is the same as at most one of the other graph; without, each pair is
    judged alone. `confirmed` and `rejected` are pairs that people decided.
    """

    one_to_one: bool = True
    candidates: int = 20
    rounds: int = 4
    confirmed: frozenset[tuple[str, str]] = frozenset()
    rejected: frozenset[tuple[str, str]] = frozenset()
    encoder: Encoder | None = None
