# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.collaboration.merging.credit import MAX_EXACT, shapley, subsets


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


@settings(max_examples=40, deadline=None)
@given(st.integers(1, MAX_EXACT + 2), st.randoms(use_true_random=False))
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
    shapley(many, score)
    assert len(asked) == len(set(asked)) < 2 ** len(many)
