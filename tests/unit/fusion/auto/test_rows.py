# SPDX-License-Identifier: Apache-2.0
"""The rule that takes a row: what costs more must be better by more than noise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from plait.evaluation.tasks import Item, Task
from plait.fusion.auto.rows import Row, choose, classes, mark_front, measure, outside
from plait.fusion.search.folds import FoldedTask, fold_tasks


def decks(count: int = 80) -> list[FoldedTask]:
    items = tuple(Item(f"text {i}", i % 2, f"document {i}", f"v:{i}") for i in range(count))
    return fold_tasks([Task("one", "accuracy", items, (0, 1))], 5, 0)


def row(name: str, right: float, *, size: int = 100, cost: float = 1.0, count: int = 80) -> Row:
    """Return a row that answers the first share of the documents rightly."""
    table = np.zeros((count, 3, 2))
    for place in range(count):
        label = place % 2
        said = label if place < right * count else 1 - label
        table[place, 0, label] += 1
        table[place, 1, said] += 1
        table[place, 2, label] += said == label
    return Row(name, "weights", {}, "none", [table], size, cost, 1.0)


def taken(*rows: Row) -> str:
    return choose(rows, decks(), 0.95, 0).row.name


def test_the_best_of_one_cost_is_taken_whatever_the_margin() -> None:
    assert taken(row("a", 0.80), row("b", 0.81), row("c", 0.79)) == "b"
    assert taken(row("a", 0.81), row("b", 0.81)) == "a"


def test_what_costs_more_must_be_clearly_better() -> None:
    cheap = row("cheap", 0.80)
    assert taken(cheap, row("dear", 0.82, size=200, cost=2)) == "cheap"
    assert taken(cheap, row("dear", 0.99, size=200, cost=2)) == "dear"
    assert taken(row("dear", 0.99, size=200, cost=2), cheap) == "dear"


def test_each_step_up_is_compared_with_what_was_taken_before() -> None:
    found = choose([row("a", 0.5), row("b", 0.9, cost=2), row("c", 0.92, cost=3)], decks(), 0.95, 0)
    assert found.row.name == "b"
    assert [(one.name, other.name, gain.clear) for one, other, gain in found.steps] == [
        ("b", "a", True),
        ("c", "b", False),
    ]


def test_what_cannot_be_taken_is_not() -> None:
    best = row("best", 1.0)
    best.usable = "too large"
    assert taken(best, row("other", 0.6)) == "other"


def test_sizes_and_costs_nearly_alike_are_one_class() -> None:
    rows = [row("a", 0.5), row("b", 0.5, size=102), row("c", 0.5, size=200), row("d", 0.5, cost=2)]
    assert [[one.name for one in group] for group in classes(rows)] == [["a", "b"], ["c"], ["d"]]


def test_a_single_choice_is_its_own_honest_estimate() -> None:
    only = row("only", 0.75)
    found = decks()
    measure(only, found, 0)
    score, names = outside([only], found, 5, 0.95, 0)
    assert names == ["only"] * 5
    assert score == pytest.approx(only.score) == pytest.approx(0.75)
    assert only.low < 0.75 < only.high


def test_choosing_among_noise_does_not_look_better_outside_the_folds() -> None:
    """Of many rows that guess, the best looks good on the items that it was chosen on alone."""
    random = np.random.default_rng(0)
    found = decks()
    rows = []
    for number in range(40):
        table = np.zeros((80, 3, 2))
        for place, said in enumerate(random.integers(0, 2, 80)):
            label = place % 2
            table[place, 0, label] += 1
            table[place, 1, said] += 1
            table[place, 2, label] += said == label
        rows.append(Row(f"r{number}", "weights", {}, "none", [table], 1, 1.0, 0.0))
        measure(rows[-1], found, 0)
    best = max(one.score for one in rows)
    score, _ = outside(rows, found, 5, 0.95, 0)
    assert best > 0.57
    assert score < best - 0.02


scores = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([50, 100, 300]), st.sampled_from([0.5, 1.0, 3.0])),
    min_size=1,
    max_size=8,
)


@given(scores)
@settings(max_examples=60, deadline=None)
def test_the_front_is_what_nothing_beats(given: list[tuple[int, int, float]]) -> None:
    rows = [row(str(i), s / 10, size=size, cost=cost) for i, (s, size, cost) in enumerate(given)]
    for one, (share, _, _) in zip(rows, given, strict=True):
        one.score = share / 10
    mark_front(rows)
    assert any(one.front for one in rows)
    for one in rows:
        better = [
            other
            for other in rows
            if other.score >= one.score
            and other.bytes <= one.bytes
            and other.cost <= one.cost
            and (other.score, other.bytes, other.cost) != (one.score, one.bytes, one.cost)
        ]
        assert one.front == (not better)
