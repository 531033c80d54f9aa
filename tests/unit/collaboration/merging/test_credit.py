# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.collaboration.merging.credit import MAX_EXACT, gained, shapley, subsets
from plait.errors import PlaitError
from plait.recipes.project import CreditSpec


def test_values_are_means_over_all_orders() -> None:
    """The formula against its definition, on a game where contributions help and hinder."""
    worth = {1: 0.1, 2: 0.25, 3: -0.05}

    def score(coalition: frozenset[int]) -> dict[str, float]:
        together = sum(worth[player] for player in coalition)
        bonus = 0.08 if {1, 2} <= coalition else 0.0
        return {"a": 0.5 + together + bonus, "b": 0.5 + together**2}

    found = shapley([1, 2, 3], score)
    for player in (1, 2, 3):
        for task in ("a", "b"):
            steps = []
            for order in permutations((1, 2, 3)):
                before = frozenset(order[: order.index(player)])
                steps.append(score(before | {player})[task] - score(before)[task])
            assert found.shares[player].tasks[task] == pytest.approx(sum(steps) / 6)
    assert found.exact


def test_a_free_rider_gets_nothing_and_a_duplicate_half() -> None:
    def score(coalition: frozenset[int]) -> dict[str, float]:
        # 1 and 2 are the same contribution, 3 does nothing, 4 has flipped labels.
        gained = 0.2 if coalition & {1, 2} else 0.0
        lost = 0.1 if 4 in coalition else 0.0
        return {"task": 0.5 + gained - lost}

    found = shapley([1, 2, 3, 4], score)
    values = {player: share.value for player, share in found.shares.items()}
    assert values[1] == pytest.approx(0.1)
    assert values[2] == pytest.approx(0.1)
    assert values[3] == pytest.approx(0.0)
    assert values[4] == pytest.approx(-0.1)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 2, 3, 5, 7, MAX_EXACT, MAX_EXACT + 1, 30]),
    st.randoms(use_true_random=False),
)
def test_the_values_sum_to_what_all_changed(count: int, draw: object) -> None:
    table: dict[frozenset[int], float] = {}

    def score(coalition: frozenset[int]) -> Mapping[str, float]:
        value = table.setdefault(coalition, draw.random())  # type: ignore[attr-defined]
        return {"x": value, "y": value**2}

    players = [7 * i + 1 for i in range(count)]
    found = shapley(players, score)
    assert sum(s.value for s in found.shares.values()) == pytest.approx(found.total, abs=1e-12)
    assert found.exact == (count <= MAX_EXACT)


def test_every_subset_is_asked_for_once() -> None:
    asked: list[frozenset[int]] = []

    def score(coalition: frozenset[int]) -> dict[str, float]:
        asked.append(coalition)
        return {"x": len(coalition) / 10}

    shapley([1, 2, 3, 4], score)
    assert asked == subsets([1, 2, 3, 4])
    assert len(asked) == 16
    many = list(range(1, MAX_EXACT + 3))
    asked.clear()
    found = shapley(many, score)
    assert len(asked) == len(set(asked)) == found.evaluations < 2 ** len(many)


def test_ten_are_exact_and_a_budget_makes_them_sampled() -> None:
    ten = list(range(10))
    assert len(subsets(ten)) == 1024
    spec = CreditSpec(exact=4, samples=5)
    assert len(subsets(ten, spec)) <= 2 * 5 * 9 + 2

    def score(coalition: frozenset[int]) -> dict[str, float]:
        return {"x": 0.01 * sum(coalition)}

    found = shapley(ten, score, spec)
    assert not found.exact
    for player, share in found.shares.items():
        # what adds up without interplay is found by every order
        assert share.value == pytest.approx(0.01 * player)
        assert share.error == pytest.approx(0.0, abs=1e-12)


def test_the_error_of_sampled_values_is_what_it_says() -> None:
    """A game with interplay, sampled often: values stray from the truth by their errors."""
    generator = random.Random(5)
    pairs = {frozenset(p): generator.gauss(0, 0.02) for p in combinations(range(12), 2)}
    triples = {frozenset(p): generator.gauss(0, 0.02) for p in combinations(range(12), 3)}
    parts = {**pairs, **triples}

    def score(coalition: frozenset[int]) -> dict[str, float]:
        return {"x": sum(worth for part, worth in parts.items() if part <= coalition)}

    # the Shapley value of a sum of games in which a set must be whole: equal parts (Harsanyi)
    truth = {
        player: sum(worth / len(part) for part, worth in parts.items() if player in part)
        for player in range(12)
    }
    found = shapley(list(range(12)), score, CreditSpec(exact=10, samples=40))
    assert not found.exact
    strayed = [
        (share.value - truth[player]) / share.error for player, share in found.shares.items()
    ]
    assert 0.4 < (sum(z * z for z in strayed) / len(strayed)) ** 0.5 < 1.8
    assert max(abs(z) for z in strayed) < 4
    assert all(share.errors["x"] == share.error > 0 for share in found.shares.values())


def test_scores_that_are_no_numbers_give_no_credit() -> None:
    with pytest.raises(PlaitError, match="sums to nan"):
        shapley([1, 2], lambda coalition: {"x": float("nan") if coalition else 0.5})


def test_an_organisation_gains_what_its_contributions_do() -> None:
    rows = [
        {"organisation": "shop", "value": 0.02},
        {"organisation": "film", "value": -0.01},
        {"organisation": "shop", "value": 0.03},
    ]
    assert gained(rows) == {"shop": pytest.approx(0.05), "film": -0.01}
