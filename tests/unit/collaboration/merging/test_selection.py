# SPDX-License-Identifier: Apache-2.0
"""Choosing a set: against enumeration, with bad ones among many, within a budget."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from plait.collaboration.merging.selection import CLEARLY, Coalition, Search, Selection, select

TASKS = ("shop", "press")


class Fusion:
    """A made-up fusion: averages what its members are good at, with an effect of each pair."""

    def __init__(self, worth: Mapping[int, float], pairs: float = 0.0, seed: int = 0) -> None:
        self.worth = worth
        draw = random.Random(seed)
        self.pairs = {pair: pairs * draw.uniform(-1, 1) for pair in combinations(sorted(worth), 2)}
        self.asked: list[Coalition] = []

    def __call__(self, sets: Sequence[Coalition]) -> list[dict[str, float]]:
        self.asked += sets
        return [self.score(one) for one in sets]

    def score(self, one: Coalition) -> dict[str, float]:
        if not one:
            return dict.fromkeys(TASKS, 0.5)
        size = len(one)
        gain = sum(self.worth[p] for p in one) / size**0.5
        gain += sum(self.pairs[pair] for pair in combinations(sorted(one), 2)) / size
        return {"shop": 0.5 + gain, "press": 0.5 + gain / 2}

    def value(self, one: Coalition) -> float:
        return sum(self.score(one).values()) / 2

    def best(self) -> float:
        players = sorted(self.worth)
        return max(
            self.value(frozenset(chosen))
            for size in range(len(players) + 1)
            for chosen in combinations(players, size)
        )


@settings(max_examples=60, deadline=None)
@given(worth=st.dictionaries(st.integers(1, 99), st.floats(-0.05, 0.05), min_size=1, max_size=8))
def test_nearly_the_best_of_all_subsets(worth: dict[int, float]) -> None:
    fusion = Fusion(worth)
    found = select(worth, fusion)
    assert fusion.value(found.chosen) >= fusion.best() - 2 * CLEARLY
    assert len(fusion.asked) == len(set(fusion.asked)) == found.asked, "nothing is asked twice"


def test_pairs_that_disturb_each_other_are_seen() -> None:
    for seed in range(10):
        fusion = Fusion({n: 0.01 * (n % 4) for n in range(1, 9)}, pairs=0.02, seed=seed)
        found = select(fusion.worth, fusion)
        assert fusion.value(found.chosen) >= fusion.best() - 0.01


def test_bad_ones_among_thirty_are_left_out_and_told_what_they_cost() -> None:
    worth = dict.fromkeys(range(1, 31), 0.03) | {4: -0.08, 11: -0.06, 12: -0.2, 29: -0.05}
    fusion = Fusion(worth)
    found = select(worth, fusion)
    assert found.chosen == frozenset(worth) - {4, 11, 12, 29}
    assert set(found.costs) == {4, 11, 12, 29}
    assert min(found.costs, key=lambda one: found.costs[one]["shop"]) == 12
    assert all(cost["shop"] < cost["press"] < 0 for cost in found.costs.values())
    assert found.asked < 200, "of a thousand million subsets"


def test_nobody_is_left_out_for_nothing() -> None:
    fusion = Fusion(dict.fromkeys(range(1, 7), 0.0))
    assert select(fusion.worth, fusion).chosen == frozenset(range(1, 7))


def test_a_protected_task_must_not_pay() -> None:
    def ask(sets: Sequence[Coalition]) -> list[dict[str, float]]:
        return [
            {"shop": 0.5 + 0.2 * (1 in one) + 0.05 * (2 in one), "press": 0.5 - 0.1 * (1 in one)}
            for one in sets
        ]

    assert select([1, 2], ask).chosen == {1, 2}
    assert select([1, 2], ask, margins={"press": 0.02}).chosen == {2}


def test_the_budget_ends_the_search_with_what_it_has() -> None:
    fusion = Fusion({n: 0.01 * (-1) ** n for n in range(1, 21)})
    found = select(fusion.worth, fusion, most=30)
    assert found.asked <= 30
    assert fusion.value(found.chosen) > fusion.value(frozenset(fusion.worth))


def test_the_answer_is_the_same_each_time() -> None:
    def run() -> Selection:
        return select(range(1, 9), Fusion({n: 0.01 * (n - 4) for n in range(1, 9)}, pairs=0.01))

    assert run() == run()


def test_other_sets_are_told_from_the_best_on_and_what_each_leaves_out_costs() -> None:
    fusion = Fusion({1: 0.05, 2: 0.04, 3: -0.03})
    search = Search(fusion.worth, fusion)
    found = search.run()
    assert found.chosen == {1, 2}
    values = [fusion.value(one) for one in found.others]
    assert values == sorted(values, reverse=True)
    assert all(fusion.value(found.chosen) >= value > fusion.value(frozenset()) for value in values)
    other = search.told(frozenset({1}))
    assert set(other.costs) == {2, 3}
    assert other.costs[2]["shop"] > 0 > other.costs[3]["shop"]
    assert len(fusion.asked) == len(set(fusion.asked)), "nothing is asked twice"


def test_only_those_that_were_let_in_are_tried_together() -> None:
    fusion = Fusion({1: 0.05, 2: 0.04, 3: 0.06, 4: -0.02})
    search = Search(fusion.worth, fusion)
    assert search.rank() == [3, 1, 2, 4]
    search.keep([1, 2, 4])
    found = search.run()
    assert found.chosen == {1, 2}
    assert all(3 not in one for one in (*found.others, found.chosen))
    assert not [one for one in fusion.asked if 3 in one and len(one) > 1]
