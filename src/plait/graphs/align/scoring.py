# SPDX-License-Identifier: Apache-2.0
"""How good an alignment is against a key, with intervals.

Ranks of ties are averaged: an aligner that calls everything alike gets what chance would give, and
no more. (A scorer that counts ties in favour makes .660 into .892 on countries by their own names,
since names that normalise to nothing are all alike.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 1_000


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval, by bootstrap over the key's entities."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """Figures of one alignment."""

    hits_at_1: Estimate
    hits_at_10: Estimate
    mean_reciprocal_rank: Estimate
    precision: Estimate
    """Of the matches whose left entity is in the key."""
    recall: Estimate
    f1: Estimate
    abstained: float
    """The share of the key's entities that got no match."""
    entities: int


def score(
    ranked: Mapping[str, Sequence[tuple[str, float]]],
    matches: Mapping[str, str],
    gold: Mapping[str, str],
    *,
    seed: int = 0,
) -> Scores:
    """Score an alignment.

    Args:
        ranked: of each left entity its candidates with their scores, in any order.
        matches: of each left entity the one that was chosen.
        gold: of left entities the right ones that they are.
    """
    keys = sorted(gold)
    ranks = np.array([rank(ranked.get(one, ()), gold[one]) for one in keys])
    first = np.array([hit(ranked.get(one, ()), gold[one], 1) for one in keys])
    ten = np.array([hit(ranked.get(one, ()), gold[one], 10) for one in keys])
    chosen = np.array([one in matches for one in keys], float)
    right = np.array([matches.get(one) == gold[one] for one in keys], float)
    reciprocal = np.where(np.isinf(ranks), 0.0, 1.0 / ranks)
    figures = np.stack([first, ten, reciprocal, chosen, right])
    random = np.random.default_rng(seed)
    # Draw by draw: a thousand of a hundred thousand entities would take gigabytes at once.
    drawn = np.stack(
        [figures[:, random.integers(0, len(keys), len(keys))].sum(1) for _ in range(DRAWS)], 1
    )

    def mean(place: int) -> Estimate:
        low, high = np.quantile(drawn[place] / len(keys), [0.025, 0.975])
        return Estimate(float(figures[place].mean()), float(low), float(high))

    taken, good = drawn[3], drawn[4]
    precision = good / np.maximum(taken, 1)
    recall = good / len(keys)
    p, r = right.sum() / max(chosen.sum(), 1), right.mean()
    return Scores(
        mean(0),
        mean(1),
        mean(2),
        Estimate(float(p), *map(float, np.quantile(precision, [0.025, 0.975]))),
        mean(4),
        _f1(float(p), float(r), precision, recall),
        float(1.0 - chosen.mean()),
        len(keys),
    )


def _f1(p: float, r: float, precision: np.ndarray, recall: np.ndarray) -> Estimate:
    together = precision + recall
    held = np.where(together > 0, 2 * precision * recall / np.maximum(together, 1e-12), 0.0)
    value = 2 * p * r / (p + r) if p + r else 0.0
    return Estimate(value, *map(float, np.quantile(held, [0.025, 0.975])))


def rank(candidates: Sequence[tuple[str, float]], wanted: str) -> float:
    """Return an entity's rank among candidates, the mean of its ties; infinite if it is none."""
    found = [value for one, value in candidates if one == wanted]
    if not found:
        return float("inf")
    better = sum(value > found[0] for _, value in candidates)
    ties = sum(value == found[0] for _, value in candidates)
    return better + (ties + 1) / 2


def hit(candidates: Sequence[tuple[str, float]], wanted: str, most: int) -> float:
    """Return the chance that an entity is among the first `most`, ties broken at random."""
    found = [value for one, value in candidates if one == wanted]
    if not found:
        return 0.0
    better = sum(value > found[0] for _, value in candidates)
    ties = sum(value == found[0] for _, value in candidates)
    return float(min(1.0, max(0.0, (most - better) / ties)))
