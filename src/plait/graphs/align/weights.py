# SPDX-License-Identifier: Apache-2.0
"""What evidence is worth: weights in the manner of Fellegi and Sunter (JASA 64, 1969), learned.

The weight of a likeness is the logarithm of how much more often it is seen among pairs that are the
same than among those that are not. Both are learned from the pairs' own probabilities (expectation
maximisation), so that no labelled pair is needed; a few confirmed ones are simply sure. A share of
the same pairs is always allowed to have any likeness at all: names are translated, values go stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

EDGES = np.array([0.02, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.999])
CENTRES = np.array([0.0, 0.085, 0.225, 0.375, 0.525, 0.675, 0.825, 0.95, 1.0])
EXCEPTIONS = 0.05
"""The share of the same pairs whose likeness says nothing."""
SLOPE = 1.0
"""What a likeness of 1 is worth over one of 0 at the least, in nats."""
PRIOR = 0.8
"""The share of the smaller graph's entities that is expected in the other."""


@dataclass(frozen=True)
class Weight:
    """The weight of each likeness of one kind of evidence, in nats; between centres a line."""

    at_centres: np.ndarray

    def of(self, likeness: np.ndarray) -> np.ndarray:
        """Return weights of likenesses; nothing to compare weighs nothing."""
        made: np.ndarray = np.interp(np.nan_to_num(likeness), CENTRES, self.at_centres)
        made[np.isnan(likeness)] = 0.0
        return made


def learn(likeness: np.ndarray, same: np.ndarray) -> Weight:
    """Learn what one kind of evidence is worth.

    Args:
        likeness: of each pair, NaN where there is nothing to compare.
        same: of each pair the probability that it is the same.
    """
    from sklearn.isotonic import IsotonicRegression

    known = ~np.isnan(likeness)
    if not known.any():
        return Weight(np.zeros(len(CENTRES)))
    held = np.digitize(likeness[known], EDGES)
    share = same[known]
    yes = np.bincount(held, share, minlength=len(CENTRES))
    no = np.bincount(held, 1.0 - share, minlength=len(CENTRES))
    seen = yes + no
    # A bin that was hardly seen is worth nothing either way, not what its rarity would make of it.
    part = max(yes.sum(), 1e-9) / max(seen.sum(), 1e-9)
    part = min(max(part, 1e-6), 1.0 - 1e-6)  # of decided pairs alone all may be the same
    yes, no = yes + part, no + (1.0 - part)
    ratio = (yes / yes.sum()) / (no / no.sum())
    made = np.log((1.0 - EXCEPTIONS) * ratio + EXCEPTIONS)
    # What is more alike is worth more; few pairs in a bin would say otherwise by chance.
    fitted = IsotonicRegression().fit(CENTRES, made, seen + 1e-3).predict(CENTRES)
    return Weight(fitted + SLOPE * CENTRES)


def prior(pairs: int, left: int, right: int) -> float:
    """Return the logarithm of the odds that a candidate is the same, before any evidence."""
    share = min(0.5, max(1e-9, PRIOR * min(left, right) / max(1, pairs)))
    return float(np.log(share / (1.0 - share)))


def assign(
    rows: np.ndarray,
    columns: np.ndarray,
    odds: np.ndarray,
    left: int,
    right: int,
    *,
    one_to_one: bool,
    rounds: int = 20,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair's probability, when an entity is the same as at most one other.

    And its logarithm (base 2), which still tells pairs apart whose probability is next to nothing.

    Sinkhorn's scaling (Annals of Mathematical Statistics 35, 1964) of the odds, with one more row
    and column for those that have no counterpart, whose odds are even.

    Args:
        odds: logarithms of each pair's odds.
    """
    held = np.exp(np.clip(odds, -30.0, 30.0))
    if not one_to_one:
        found: np.ndarray = held / (1.0 + held)
        return found, np.log2(found)
    # So that a pair that nothing competes with keeps its own probability, although both of its
    # entities could have stayed alone.
    held = held * (1.0 + held)
    by_row: Any = np.ones(left)
    by_column: Any = np.ones(right)
    for _ in range(rounds):
        by_row = 1.0 / (1.0 + np.bincount(rows, held * by_column[columns], minlength=left))
        by_column = 1.0 / (1.0 + np.bincount(columns, held * by_row[rows], minlength=right))
    by_row = 1.0 / (1.0 + np.bincount(rows, held * by_column[columns], minlength=left))
    logarithm = np.log2(by_row)[rows] + np.log2(held) + np.log2(by_column)[columns]
    return np.clip(np.exp2(logarithm), 0.0, 1.0), logarithm
