# SPDX-License-Identifier: Apache-2.0
"""`method: auto`: every level that is possible and affordable, measured on the same items.

Members alone, merged weights (at usual values, the best ones searched), output ensembles and
distilled students become rows of one table: score with interval on validation items, size, cost of
a prediction, CPU-seconds to make. The cheapest is taken that no costlier one beats by more than
noise.
"""

from __future__ import annotations

from plait.fusion.auto.checking import check
from plait.fusion.auto.run import run

__all__ = ["check", "run"]
