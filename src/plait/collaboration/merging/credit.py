# SPDX-License-Identifier: Apache-2.0
"""Credit: each contribution's Shapley value over the tasks.

Shapley (1953), "A value for n-person games": the mean, over every order in which the contributions
could have been added, of what adding this one changed. The values sum to what all of them changed
together; a contribution that never changes anything gets nothing, equal ones get the same.

Up to ten contributions all subsets are measured. With more, orders are sampled (Castro, Gómez &
Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers & Operations
Research 36, 2009), each forwards and backwards (Mitchell et al., "Sampling Permutations for Shapley
Value Estimation", JMLR 23, 2022). The sum stays exact, because it is in every order; each value has
a standard error, from the spread over the pairs of orders.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Any

from plait.errors import PlaitError
from plait.recipes.project import CreditSpec

MAX_EXACT = 10
"""With more contributions than this the orders are sampled: 2^n models would be too many."""
SAMPLES = CreditSpec().samples
"""Sampled orders; each is used forwards and backwards."""
TOLERANCE = 1e-9
"""How far sums of floating-point numbers may be off."""

Scores = Mapping[str, float]
"""Score by task."""
Order = tuple[int, ...]


@dataclass(frozen=True)
class Credit:
    """What one contribution is worth: on the average over tasks, and on each."""

    value: float
    tasks: Mapping[str, float]
    error: float = 0.0
    """The standard error of `value`; 0 where every subset was measured."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """The standard error on each task."""


@dataclass(frozen=True)
class Credits:
    """Everybody's credit; ``exact`` is False when the orders were sampled."""

    base: float
    total: float
    shares: Mapping[int, Credit]
    exact: bool
    evaluations: int = 0
    """Different subsets that were asked for."""


def subsets(players: Sequence[int], spec: CreditSpec | None = None) -> list[frozenset[int]]:
    """Return the coalitions that `shapley` will ask for, smallest first."""
    if is_exact(players, spec):
        return [
            frozenset(chosen)
            for size in range(len(players) + 1)
            for chosen in combinations(sorted(players), size)
        ]
    needed = {
        frozenset(order[:size])
        for pair in _orders(players, spec)
        for order in pair
        for size in range(len(order) + 1)
    }
    return sorted(needed, key=lambda coalition: (len(coalition), sorted(coalition)))


def is_exact(players: Sequence[int], spec: CreditSpec | None = None) -> bool:
    """Tell whether every subset of the contributions is measured."""
    return len(players) <= (MAX_EXACT if spec is None else min(spec.exact, MAX_EXACT))


def shapley(
    players: Sequence[int],
    score: Callable[[frozenset[int]], Scores],
    spec: CreditSpec | None = None,
) -> Credits:
    """Share what ``players`` achieve together among them.

    Args:
        players: numbers of the contributions, each once.
        score: the tasks' scores of the model fused from the base and these contributions alone;
            the empty set is the base itself. It is called once for each set of `subsets`.
        spec: up to how many contributions all subsets are measured, and how many orders else.

    Returns:
        Values in the metric's unit; they sum to the score of all minus the score of none.

    Raises:
        PlaitError: they do not, which would be a defect.
    """
    wanted = subsets(players, spec)
    table = {coalition: dict(score(coalition)) for coalition in wanted}
    names = sorted(table[frozenset()])
    if is_exact(players, spec):
        shares = {player: dict.fromkeys(names, 0.0) for player in players}
        for player, coalition, weight in _weighted(players):
            before, after = table[coalition], table[coalition | {player}]
            for name in names:
                shares[player][name] += weight * (after[name] - before[name])
        made = {player: Credit(_mean(tasks), tasks) for player, tasks in shares.items()}
    else:
        made = _sampled(players, table, names, spec)
    empty, full = table[frozenset()], table[frozenset(players)]
    _check(made, {name: full[name] - empty[name] for name in names})
    return Credits(
        base=_mean(empty),
        total=_mean(full) - _mean(empty),
        shares=made,
        exact=is_exact(players, spec),
        evaluations=len(wanted),
    )


def gained(contributions: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Sum a report's credit by organisation."""
    found: dict[str, float] = {}
    for row in contributions:
        name = str(row["organisation"])
        found[name] = found.get(name, 0.0) + float(row["value"])
    return found


def _check(made: Mapping[int, Credit], change: Mapping[str, float]) -> None:
    for name, whole in change.items():
        told = math.fsum(share.tasks[name] for share in made.values())
        if not abs(told - whole) <= TOLERANCE * max(1.0, abs(whole)):
            raise PlaitError(
                f"The credit for task '{name}' sums to {told:.6g}, but {whole:.6g} was gained. "
                "Report this: it is an error of Plait."
            )


def _weighted(players: Sequence[int]) -> Iterable[tuple[int, frozenset[int], float]]:
    count = len(players)
    for player in players:
        others = sorted(set(players) - {player})
        for size in range(count):
            weight = 1.0 / (count * comb(count - 1, size))
            for chosen in combinations(others, size):
                yield player, frozenset(chosen), weight


def _sampled(
    players: Sequence[int],
    table: Mapping[frozenset[int], Scores],
    names: Sequence[str],
    spec: CreditSpec | None,
) -> dict[int, Credit]:
    """Average over the sampled orders; an order and its reverse are one observation."""
    seen: dict[int, list[dict[str, float]]] = {player: [] for player in players}
    for pair in _orders(players, spec):
        sums = {player: dict.fromkeys(names, 0.0) for player in players}
        for order in pair:
            for place, player in enumerate(order):
                coalition = frozenset(order[:place])
                before, after = table[coalition], table[coalition | {player}]
                for name in names:
                    sums[player][name] += (after[name] - before[name]) / len(pair)
        for player, steps in sums.items():
            seen[player].append(steps)
    made = {}
    for player, steps_of in seen.items():
        tasks = {name: math.fsum(s[name] for s in steps_of) / len(steps_of) for name in names}
        made[player] = Credit(
            _mean(tasks),
            tasks,
            _standard_error([_mean(steps) for steps in steps_of]),
            {name: _standard_error([steps[name] for steps in steps_of]) for name in names},
        )
    return made


def _standard_error(values: Sequence[float]) -> float:
    count = len(values)
    if count < 2:
        return math.nan
    mean = math.fsum(values) / count
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1) / count)


def _orders(players: Sequence[int], spec: CreditSpec | None) -> list[tuple[Order, Order]]:
    generator = random.Random(0)
    orders = []
    for _ in range(SAMPLES if spec is None else spec.samples):
        order = sorted(players)
        generator.shuffle(order)
        orders.append((tuple(order), tuple(reversed(order))))
    return orders


def _mean(scores: Scores) -> float:
    return sum(scores.values()) / len(scores) if scores else 0.0
