# SPDX-License-Identifier: Apache-2.0
"""Intervals cover, bad models do not slip through, and unlike things are not compared."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.evaluation import Evaluation, ItemScore, compare, judge, measures, results
from plait.evaluation.bootstrap import as_difference, holm, plus_one, resample, student
from plait.evaluation.results import score_items, summarise
from plait.evaluation.types import task_type
from plait.recipes.project import GateSpec, TaskSpec

from .simulated import simulate, true_difference


def ungrouped(evaluation: Evaluation) -> Evaluation:
    """Forget which document an item is from."""
    return summarise(
        evaluation.split,
        {
            name: score_items(
                task.metric, tuple(replace(i, group=i.id) for i in task.items), {"classes": 2}
            )
            for name, task in evaluation.tasks.items()
        },
    )


@pytest.fixture
def single_scores_without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spend next to nothing on the intervals of single models, which nothing here looks at."""
    monkeypatch.setattr(results, "RESAMPLES", 2)
    monkeypatch.setattr(measures, "LEAST", 2)


@pytest.mark.usefixtures("single_scores_without_intervals")
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    skills = (1.6, 1.3)
    truth = true_difference(skills)
    worlds, covered, naive = 150, 0, 0
    for _ in range(worlds):
        a, b = simulate(random, skills, documents=25)
        difference = compare(a, b, resamples=1_000).average
        covered += difference.low <= truth <= difference.high
        alone = compare(ungrouped(a), ungrouped(b), resamples=1_000).average
        naive += alone.low <= truth <= alone.high
    # 95% of 150 is 142.5 with a standard deviation of 2.7
    assert 0.90 <= covered / worlds <= 0.99
    # the same intervals without documents promise too much: what clustering is for
    assert naive / worlds < 0.90


@pytest.mark.usefixtures("single_scores_without_intervals")
def test_a_model_that_is_worse_by_the_margin_rarely_passes() -> None:
    random = np.random.default_rng(1)
    skills = (1.1, 1.6)
    margin = -true_difference(skills)
    assert 0.04 < margin < 0.15
    specs = [TaskSpec("only", "d", margin=margin)]
    gate = GateSpec(margin=1.0, minimum_gain=-1.0)  # the task alone decides
    worlds, passed = 150, 0
    for _ in range(worlds):
        a, b = simulate(random, skills, documents=40)
        passed += judge(compare(a, b, resamples=1_000), gate, specs).verdict == "passes"
    # nominal 5%: 7.5 with a standard deviation of 2.7
    assert passed / worlds <= 0.09
    assert passed > 0  # the bound is not merely timid


@pytest.mark.usefixtures("single_scores_without_intervals")
def right_and_wrong(n: int, lost: int) -> tuple[tuple[ItemScore, ...], tuple[ItemScore, ...]]:
    """A model that is always right, and one that has the first items wrong."""
    label = [k % 2 for k in range(n)]
    return tuple(
        tuple(
            ItemScore(str(k), str(k), label[k], 1 - label[k] if k < wrong else label[k], 0.5)
            for k in range(n)
        )
        for wrong in (lost, 0)
    )  # type: ignore[return-value]


@pytest.mark.parametrize(("n", "lost"), [(240, 0), (240, 1), (240, 6), (100, 12), (1_000, 20)])
def test_of_items_that_are_right_or_wrong_the_bound_is_clopper_and_pearsons(
    n: int, lost: int
) -> None:
    stats = pytest.importorskip("scipy.stats")
    worse, better = right_and_wrong(n, lost)
    measure = task_type("text-classification").measure(
        [worse, better], [{"classes": 2}] * 2, "accuracy"
    )
    found = plus_one([resample(measure, resamples=40_000, bounds=True)], as_difference(0, 1)).lower(
        0.95
    )
    exact = float(stats.beta.ppf(0.95, lost + 1, n - lost))
    assert found == pytest.approx(-exact, rel=0.03)
    # widened for the number of groups, so never closer than chance makes the draws
    assert -found > 0.985 * exact


def test_of_several_tasks_one_has_the_group_more() -> None:
    worse, better = right_and_wrong(120, 12)
    measure = task_type("text-classification").measure(
        [worse, better], [{"classes": 2}] * 2, "accuracy"
    )
    samples = [resample(measure, key=name, bounds=True) for name in "abcd"]
    alone = plus_one(samples[:1], as_difference(0, 1))
    together = plus_one(samples, as_difference(0, 1))
    assert together.effect == pytest.approx(alone.effect)
    reach = {n: one.effect - one.lower(0.95) for n, one in ((1, alone), (4, together))}
    assert reach[4] == pytest.approx(reach[1] / 2, rel=0.15)


def test_what_was_drawn_without_bounds_has_none() -> None:
    worse, better = right_and_wrong(40, 3)
    measure = task_type("text-classification").measure(
        [worse, better], [{"classes": 2}] * 2, "accuracy"
    )
    with pytest.raises(ValueError, match="without bounds"):
        plus_one([resample(measure)], as_difference(0, 1))


@pytest.mark.usefixtures("single_scores_without_intervals")
@pytest.mark.parametrize("documents", [20, 40])
def test_few_documents_do_not_let_harm_through(documents: int) -> None:
    """Harm that documents carry is skewed: the percentile bootstrap lets 20 and 25 through here."""
    random = np.random.default_rng(documents)
    skills = (1.1, 1.6)
    margin = -true_difference(skills)
    specs = [TaskSpec("only", "d", margin=margin)]
    gate = GateSpec(margin=1.0, minimum_gain=-1.0)
    worlds, passed = 400, 0
    for _ in range(worlds):
        a, b = simulate(random, skills, documents=documents)
        passed += judge(compare(a, b, resamples=400), gate, specs).verdict == "passes"
    assert passed <= 15


def test_equal_models_are_seldom_called_worse_however_many_tasks() -> None:
    random = np.random.default_rng(2)
    names = ("a", "b", "c", "d")
    specs = [TaskSpec(name, "d", margin=0.0) for name in names]
    worlds, wrong = 60, 0
    for _ in range(worlds):
        a, b = simulate(random, (1.2, 1.2), documents=30, sentences=5, tasks=names)
        judged = judge(compare(a, b, resamples=1_000), GateSpec(), specs)
        wrong += any(task.verdict == "regresses" for task in judged.tasks.values())
    assert wrong / worlds <= 0.12


def test_pairing_tells_apart_what_two_intervals_cannot() -> None:
    a, b = simulate(np.random.default_rng(3), (1.7, 1.55), documents=300, spread=0.3)
    difference = compare(a, b).average
    assert difference.low > 0
    assert a.average_interval[0] < b.average_interval[1]


def test_the_sign_follows_the_order() -> None:
    a, b = simulate(np.random.default_rng(4), (2.0, 1.0), tasks=("x", "y"))
    forth, back = compare(a, b), compare(b, a)
    assert forth.average.effect == pytest.approx(a.average - b.average)
    assert forth.average.effect == pytest.approx(-back.average.effect)
    for name, difference in forth.tasks.items():
        assert difference.low < difference.lower < difference.effect
        assert difference.effect < difference.upper < difference.high
        assert difference.p <= difference.p_adjusted <= 2 * difference.p
        assert difference.low == pytest.approx(-back.tasks[name].high, abs=0.005)


def test_the_same_seed_gives_the_same_numbers_whatever_else_is_measured() -> None:
    a, b = simulate(np.random.default_rng(5), (1.5, 1.2), tasks=("x", "y"))
    one_a, one_b = (summarise("gate", {"x": e.tasks["x"]}) for e in (a, b))
    assert compare(a, b).tasks["x"].low == compare(one_a, one_b).tasks["x"].low
    assert compare(a, b, seed=1).tasks["x"].low != compare(a, b).tasks["x"].low


def test_models_that_never_differ_still_leave_room_for_doubt() -> None:
    a, _ = simulate(np.random.default_rng(6), (1.0, 1.0), documents=20)
    difference = compare(a, a).average
    assert difference.effect == 0
    assert -0.1 < difference.low < 0 < difference.high < 0.1


def test_refuses_other_items_tasks_or_metrics() -> None:
    a, b = simulate(np.random.default_rng(7), (1.0, 1.0), documents=12)
    task = b.tasks["only"]
    fewer = summarise("gate", {"only": score_items(task.metric, task.items[1:], {"classes": 2})})
    flipped = tuple(replace(i, label=1 - i.label) for i in task.items)
    others = [
        fewer,
        summarise("gate", {"other": task}),
        summarise("gate", {"only": score_items("accuracy", task.items, {"classes": 2})}),
        summarise("gate", {"only": score_items(task.metric, flipped, {"classes": 2})}),
    ]
    for other in others:
        with pytest.raises(BadInput, match="same"):
            compare(a, other)


def test_json_there_and_back() -> None:
    a, _ = simulate(np.random.default_rng(8), (1.0, 1.0), documents=12, tasks=("x", "y"))
    again = Evaluation.from_json(json.loads(json.dumps(a.to_json())))
    assert again.to_json() == a.to_json()
    shown = json.dumps(a.to_json(items=False))
    assert "items" not in shown
    for broken in ({}, {"tasks": []}, {"split": "s", "tasks": {"x": {"metric": "accuracy"}}}):
        with pytest.raises(BadInput, match="not an evaluation"):
            Evaluation.from_json(broken)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()),
        min_size=2,
        max_size=30,
    )
)
def test_any_items_give_ordered_bounds(rows: list[tuple[int, bool, bool, bool]]) -> None:
    def evaluation(column: int) -> Evaluation:
        items = tuple(
            ItemScore(str(k), str(row[0]), int(row[1]), int(row[column]), 0.5)
            for k, row in enumerate(rows)
        )
        return summarise("gate", {"t": score_items("macro_f1", items, {"classes": 2})})

    a, b = evaluation(2), evaluation(3)
    difference = compare(a, b, resamples=1_000).average
    assert -1 <= difference.low <= difference.effect <= difference.high <= 1
    assert 0 < difference.p <= 1
    low, high = a.average_interval
    assert 0 <= low <= a.average <= high <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_never_below_the_raw_value(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]


def test_students_quantiles_are_the_tables() -> None:
    for freedom, value in ((5, 2.571), (10, 2.228), (30, 2.042), (1e9, 1.960)):
        assert student(0.975, freedom) == pytest.approx(value, abs=0.005)


def test_ten_thousand_items_take_moments() -> None:
    a, b = simulate(np.random.default_rng(9), (1.0, 1.1), documents=2_000, sentences=5)
    started = time.process_time()
    compare(a, b)
    assert time.process_time() - started < 10
