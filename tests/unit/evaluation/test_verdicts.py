# SPDX-License-Identifier: Apache-2.0
"""The gate's three verdicts, on differences written down by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plait.evaluation import Comparison, Difference, judge
from plait.recipes.project import GateSpec, TaskSpec

GATE = GateSpec(margin=0.02)


def difference(effect: float, reach: float, p: float = 1.0, n: int = 400) -> Difference:
    """A difference whose one-sided bound is ``reach`` below it."""
    return Difference(
        effect=effect,
        low=effect - 1.2 * reach,
        high=effect + 1.2 * reach,
        lower=effect - reach,
        upper=effect + reach,
        p=p,
        p_adjusted=p,
        n=n,
        groups=n,
        smallest_class=n // 2,
    )


def comparison(average: Difference, **tasks: Difference) -> Comparison:
    return Comparison(tasks, average, 0.95)


def specs(*names: str, role: str = "protected", margin: float = 0.05) -> list[TaskSpec]:
    return [TaskSpec(name, f"{name}/data", role=role, margin=margin) for name in names]


GAIN = difference(0.03, 0.01, p=0.001)


def test_a_gain_passes_and_says_how_much() -> None:
    judged = judge(comparison(GAIN, a=GAIN, b=difference(-0.01, 0.03)), GATE, specs("a", "b"))
    assert judged.verdict == "passes"
    assert "+3.0 points" in judged.reason
    assert judged.tasks["b"].note == (
        "b changes by −1.0 points; at 95% confidence it loses at most 4.0 points, "
        "and 5.0 points are allowed."
    )


def test_one_significant_loss_beyond_its_margin_regresses() -> None:
    lost = difference(-0.08, 0.02, p=0.001)
    judged = judge(comparison(GAIN, a=GAIN, b=lost), GATE, specs("a", "b"))
    assert judged.verdict == "regresses"
    assert judged.reason == "B changes by −8.0 points, a significant loss; 5.0 points are allowed."
    assert judged.tasks["a"].verdict == "passes"


def test_a_loss_that_items_cannot_tell_is_not_enough_data_and_says_how_many_would() -> None:
    unsure = difference(-0.01, 0.08, p=0.7, n=100)
    judged = judge(comparison(GAIN, a=GAIN, b=unsure), GATE, specs("a", "b"))
    assert judged.verdict == "not enough data"
    # the bound lies 1.64 standard errors away; 1.64 + 0.84 of them must fit into the margin
    assert judged.tasks["b"].needed == 585
    assert "about 585 items would tell" in judged.reason
    assert judged.tasks["b"].detectable == pytest.approx(0.121, abs=1e-3)


def test_items_that_are_enough_are_not_blamed() -> None:
    unsure = difference(-0.03, 0.03, p=0.2, n=1_000)
    judged = judge(comparison(GAIN, a=GAIN, b=unsure), GATE, specs("a", "b"))
    assert judged.verdict == "not enough data"
    assert judged.tasks["b"].needed is None
    assert "one that loses nothing would pass on these 1,000 items" in judged.reason


def test_a_target_is_planned_for_the_smallest_effect_worth_having() -> None:
    found = difference(0.001, 0.02, p=0.5, n=1_000)
    gate = replace(GATE, smallest_effect=0.01)
    judged = judge(comparison(GAIN, a=found), gate, specs("a", role="target"))
    assert judged.tasks["a"].needed == 9_141  # 1,000 * (3.02 / 1.0) ** 2
    easier = judge(comparison(GAIN, a=found), GATE, specs("a", role="target"))
    assert easier.tasks["a"].needed == 2_286


def test_a_pass_that_is_hardly_worth_having_says_so() -> None:
    small = difference(0.004, 0.005, p=0.2)
    judged = judge(comparison(small, a=small), GATE, specs("a"))
    assert judged.verdict == "passes"
    assert "less than the 2.0 points worth having" in judged.reason


@pytest.mark.parametrize("power", [0.6, 0.9])
def test_as_many_items_as_are_asked_for_pass_with_the_chance_that_was_asked_for(
    power: float,
) -> None:
    """Plan from one measurement, then measure again on that many items, often."""
    random = np.random.default_rng(3)

    def bound(n: int) -> float:
        return float(0.0 - 1.6449 * 0.4 / np.sqrt(n))

    few = difference(0.0, -bound(100), n=100)
    gate = replace(GATE, power=power)
    needed = judge(comparison(GAIN, a=few), gate, specs("a")).tasks["a"].needed
    assert needed is not None
    drawn = random.normal(0.0, 0.4, size=(4_000, needed)).mean(axis=1)
    passed = np.mean(drawn + bound(needed) > -0.05)
    assert passed == pytest.approx(power, abs=0.03)


def test_significance_is_adjusted_over_the_tasks_that_decide() -> None:
    borderline = difference(-0.04, 0.035, p=0.03)
    alone = judge(comparison(GAIN, a=borderline), GATE, specs("a"))
    assert alone.tasks["a"].verdict == "regresses"
    quiet = {name: difference(0.0, 0.01) for name in "bcd"}
    among = judge(comparison(GAIN, a=borderline, **quiet), GATE, specs("a", "b", "c", "d"))
    assert among.tasks["a"].verdict == "not enough data"


def test_a_small_loss_within_the_margin_passes_even_if_certain() -> None:
    certain = difference(-0.01, 0.005, p=0.0001)
    assert judge(comparison(GAIN, a=certain), GATE, specs("a")).verdict == "passes"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (difference(0.03, 0.01, p=0.001), "passes"),
        (difference(0.01, 0.03, p=0.5), "not enough data"),
        (difference(-0.04, 0.01, p=0.001), "regresses"),
    ],
)
def test_a_target_must_gain(found: Difference, verdict: str) -> None:
    judged = judge(comparison(GAIN, a=found), GATE, specs("a", role="target"))
    assert judged.tasks["a"].verdict == judged.verdict == verdict


def test_a_watched_task_decides_nothing() -> None:
    tasks = [*specs("a"), *specs("b", role="watched")]
    lost = difference(-0.3, 0.02, p=0.001)
    judged = judge(comparison(GAIN, a=GAIN, b=lost), GATE, tasks)
    assert judged.tasks["b"].verdict == "regresses"
    assert judged.verdict == "passes"


@pytest.mark.parametrize(
    ("average", "verdict"),
    [
        (difference(0.005, 0.02), "passes"),
        (difference(0.005, 0.03), "not enough data"),  # may truly be -2.5 points
        (difference(-0.001, 0.01), "not enough data"),  # no gain
        (difference(-0.03, 0.01, p=0.001), "regresses"),
    ],
)
def test_the_average_must_gain_and_surely_not_lose(average: Difference, verdict: str) -> None:
    judged = judge(comparison(average, a=GAIN), GATE, specs("a"))
    assert judged.average.verdict == judged.verdict == verdict


def test_a_demanded_gain_must_be_there() -> None:
    judged = judge(comparison(GAIN, a=GAIN), replace(GATE, minimum_gain=0.05), specs("a"))
    assert judged.verdict == "not enough data"


def test_too_few_documents_or_items_of_a_label_are_never_enough() -> None:
    few = replace(GAIN, groups=19)
    judged = judge(comparison(GAIN, a=few), GATE, specs("a"))
    assert judged.verdict == "not enough data"
    assert "19 documents are too few" in judged.reason
    rare = replace(GAIN, smallest_class=4)
    assert "rarest label" in judge(comparison(GAIN, a=rare), GATE, specs("a")).reason


def test_what_was_not_measured_is_not_enough_data() -> None:
    judged = judge(comparison(GAIN, a=GAIN), GATE, specs("a", "b"))
    assert judged.verdict == "not enough data"
    assert judged.reason == "B was not measured."


def test_nothing_decides_without_a_task() -> None:
    judged = judge(comparison(GAIN, a=GAIN), GATE, specs("a", role="watched"))
    assert judged.verdict == "not enough data"
    assert "No task decides" in judged.reason


def test_plain_values_for_the_report() -> None:
    plain = judge(comparison(GAIN, a=GAIN), GATE, specs("a")).to_json()
    assert plain["verdict"] == "passes"
    assert plain["tasks"]["a"] == {
        "role": "protected",
        "margin": 0.05,
        "verdict": "passes",
        "note": "a changes by +3.0 points, a gain.",
        "needed": None,
        "detectable": pytest.approx(0.0151, abs=1e-4),
    }
