# SPDX-License-Identifier: Apache-2.0
"""Credit: each contribution's Shapley value over the tasks.

Shapley (1953), "A value for n-person games": the mean, over every order in which the contributions
could have been added, of what adding this one changed. The values sum to what all of them changed
together; a contribution that never changes anything gets nothing, equal ones get the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

MAX_EXACT = 6
"""With more contributions than this the orders are sampled: 2^n models would be too many."""
SAMPLES = 12
"""Sampled orders; each is used forwards and backwards, which halves the noise."""

Scores = Mapping[str, float]
"""Score by task."""


@dataclass(frozen=True)
class Credit:
    """What one contribution is worth: on the average over tasks, and on each."""

    value: float
    tasks: Mapping[str, float]


@dataclass(frozen=True)
class Credits:
    """Everybody's credit; ``exact`` is False when the orders were sampled."""

    base: float
    total: float
    shares: Mapping[int, Credit]
    exact: bool


def subsets(players: Sequence[int]) -> list[frozenset[int]]:
    """Return the coalitions that `shapley` will ask for, smallest first."""
    if len(players) <= MAX_EXACT:
        return [
            frozenset(chosen)
            for size in range(len(players) + 1)
            for chosen in combinations(sorted(players), size)
        ]
    needed = {
        frozenset(order[:size]) for order in _orders(players) for size in range(len(order) + 1)
    }
    return sorted(needed, key=lambda coalition: (len(coalition), sorted(coalition)))


def shapley(players: Sequence[int], score: Callable[[frozenset[int]], Scores]) -> Credits:
    """Share what ``players`` achieve together among them.

    Args:
        players: numbers of the contributions, each once.
        score: the tasks' scores of the model fused from the base and these contributions alone;
            the empty set is the base itself. It is called once for each set of `subsets`.

    Returns:
        Values in the metric's unit; they sum to the score of all minus the score of none.
    """
    table = {coalition: dict(score(coalition)) for coalition in subsets(players)}
    names = sorted(table[frozenset()])
    shares = {player: dict.fromkeys(names, 0.0) for player in players}
    exact = len(players) <= MAX_EXACT
    weighted = _exact(players) if exact else _sampled(players)
    for player, coalition, weight in weighted:
        before, after = table[coalition], table[coalition | {player}]
        for name in names:
            shares[player][name] += weight * (after[name] - before[name])
    return Credits(
        base=_mean(table[frozenset()]),
        total=_mean(table[frozenset(players)]) - _mean(table[frozenset()]),
        shares={player: Credit(_mean(tasks), tasks) for player, tasks in shares.items()},
        exact=exact,
    )


def _exact(players: Sequence[int]) -> Iterable[tuple[int, frozenset[int], float]]:
    count = len(players)
    for player in players:
        others = sorted(set(players) - {player})
        for size in range(count):
            weight = 1.0 / (count * comb(count - 1, size))
            for chosen in combinations(others, size):
                yield player, frozenset(chosen), weight


def _sampled(players: Sequence[int]) -> Iterable[tuple[int, frozenset[int], float]]:
    orders = _orders(players)
    for order in orders:
        for place, player in enumerate(order):
            yield player, frozenset(order[:place]), 1.0 / len(orders)


def _orders(players: Sequence[int]) -> list[tuple[int, ...]]:
    generator = random.Random(0)
    orders = []
    for _ in range(SAMPLES):
        order = sorted(players)
        generator.shuffle(order)
        orders += [tuple(order), tuple(reversed(order))]
    return orders


def _mean(scores: Scores) -> float:
    return sum(scores.values()) / len(scores) if scores else 0.0
