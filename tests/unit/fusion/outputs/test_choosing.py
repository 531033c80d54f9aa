# SPDX-License-Identifier: Apache-2.0
"""Choosing weights: the exact curve, the rules, and scores outside the folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from plait.errors import BadInput, Cancelled
from plait.fusion.outputs.choosing import (
    coordinate_ascent,
    fit_stacking,
    fitter,
    least_loss,
    out_of_fold,
)
from plait.fusion.outputs.curve import curve, plot
from plait.fusion.outputs.items import Outputs, score
from plait.fusion.outputs.line_search import steps
from plait.fusion.outputs.options import parse


def outputs(
    seed: int,
    *,
    members: int = 2,
    n: int = 60,
    classes: int = 3,
    skill: tuple[float, ...] = (1.5, 0.5, 0.0, 0.0),
    metric: str = "balanced_accuracy",
    tasks: int = 1,
) -> Outputs:
    """Answers of members with given skills, in documents of two."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    logits = random.normal(size=(members, n, classes))
    for member in range(members):
        logits[member, np.arange(n), labels] += skill[member]
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    groups = np.arange(n) // 2
    return Outputs(
        logs,
        np.ones((n, members), dtype=bool),
        labels,
        groups,
        np.arange(n) * tasks // n,
        groups % 5,
        (metric,) * tasks,
    )


def settings_of(**parameters: Any) -> Any:
    recipe = {
        "method": parameters.pop("method", "ensemble"),
        "models": ["a/a", "b/b", "c/c"][: parameters.pop("members", 2)],
        "tasks": [{"name": "t", "dataset": "d/d"}],
    }
    return parse(recipe | {"parameters": parameters} if parameters else recipe, Path())


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.sampled_from(["accuracy", "balanced_accuracy", "macro_f1"]),
    st.integers(1, 2),
    st.booleans(),
)
def test_the_steps_are_the_score_everywhere(
    seed: int, classes: int, metric: str, tasks: int, rounded: bool
) -> None:
    made = outputs(seed, n=24, classes=classes, metric=metric, tasks=tasks)
    one, other = np.exp(made.logs)
    if rounded:  # many ties
        one, other = one.round(1), other.round(1)
    found = steps(one, other, made)
    assert found.edges[0] == 0 and found.edges[-1] == 1
    assert len(found.scores) == len(found.edges) - 1
    middles = (found.edges[1:] + found.edges[:-1]) / 2
    wide = np.diff(found.edges) > 1e-9
    for place, value in zip(middles[wide], found.scores[wide], strict=True):
        mixed = (place * one + (1 - place) * other).argmax(1)
        if rounded and _tied(place * one + (1 - place) * other):
            continue
        assert score(mixed, made) == pytest.approx(value)
    places = np.linspace(0.001, 0.999, 50)
    clear = np.abs(places[:, None] - found.edges).min(1) > 1e-6
    by_hand = [score((p * one + (1 - p) * other).argmax(1), made) for p in places]
    if not rounded:
        assert found.at(places)[clear] == pytest.approx(np.array(by_hand)[clear])


def _tied(values: Any) -> bool:
    top = np.sort(values, axis=1)
    return bool((top[:, -1] - top[:, -2] < 1e-9).any())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["probabilities", "logits"]))
def test_no_share_on_a_fine_grid_beats_the_exact_best(seed: int, kind: str) -> None:
    made = outputs(seed)
    values = np.exp(made.logs) if kind == "probabilities" else made.logs
    best = coordinate_ascent(made, kind, np.array([0.5, 0.5]))
    reached = score(np.tensordot(best, values, 1).argmax(1), made)
    grid = [
        score((a * values[0] + (1 - a) * values[1]).argmax(1), made)
        for a in np.linspace(0.0005, 0.9995, 400)
    ]
    assert reached >= max(grid) - 1e-9


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from(["probabilities", "logits"]))
def test_climbing_is_never_worse_than_where_it_starts(seed: int, kind: str) -> None:
    made = outputs(seed, members=4)
    values = np.exp(made.logs) if kind == "probabilities" else made.logs
    start = least_loss(made, kind)
    best = coordinate_ascent(made, kind, start)
    assert best.sum() == pytest.approx(1) and (best >= 0).all()
    before, after = (score(np.tensordot(w, values, 1).argmax(1), made) for w in (start, best))
    assert after >= before - 1e-9


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_the_least_loss_is_least(kind: str) -> None:
    from plait.fusion.outputs.choosing import _loss
    from plait.fusion.outputs.items import combined

    made = outputs(3, members=3, n=200, skill=(1.5, 1.0, 0.0))
    best = least_loss(made, kind)
    lowest = _loss(combined(made, best, kind), made)
    random = np.random.default_rng(0)
    for other in (np.ones(3), *random.dirichlet(np.ones(3), 20)):
        assert lowest <= _loss(combined(made, other, kind), made) + 1e-7
    by_class = least_loss(made, kind, penalty=0.001)
    assert _loss(combined(made, by_class, kind), made) <= lowest + 1e-6
    held = least_loss(made, kind, penalty=1e6)
    assert np.abs(held - best[:, None]).max() < 0.02


def test_a_member_that_knows_nothing_gets_little() -> None:
    made = outputs(1, n=600, skill=(2.0, 0.0))
    for parameters in ({}, {"combine": "logits"}, {"weights": "per_class"}):
        found = fitter(settings_of(**parameters))(made)
        shares = found.weights if found.weights.ndim == 1 else found.weights.mean(1)
        assert shares[0] > 0.75
        assert score(found.predict(made).argmax(1), made) > 0.7


def test_members_that_complement_each_other_gain_and_the_gain_is_outside_the_folds() -> None:
    made = outputs(2, n=900, classes=2, skill=(1.0, 1.0))
    fits, logs, _ = out_of_fold(made, fitter(settings_of()))
    assert len(fits) == 5
    both = score(logs.argmax(1), made)
    alone = [score(rows.argmax(1), made) for rows in made.logs]
    assert both > max(alone) + 0.03


def test_a_fold_does_not_see_its_own_labels() -> None:
    made = outputs(4, n=100)
    _, before, _ = out_of_fold(made, fitter(settings_of()))
    here = made.folds == 2
    spoilt = made.labels.copy()
    spoilt[here] = (spoilt[here] + 1) % 3
    from dataclasses import replace

    _, after, _ = out_of_fold(replace(made, labels=spoilt), fitter(settings_of()))
    assert np.array_equal(before[here], after[here])
    assert not np.array_equal(before[~here], after[~here])


def test_choosing_among_noise_does_not_look_better_than_it_is() -> None:
    gains = []
    for seed in range(12):
        made = outputs(seed, n=80, classes=2, skill=(0.0, 0.0))
        _, logs, _ = out_of_fold(made, fitter(settings_of()))
        gains.append(score(logs.argmax(1), made) - 0.5)
    assert abs(np.mean(gains)) < 0.05


@pytest.mark.parametrize("classes", [2, 4])
def test_stacking_uses_what_averages_cannot(classes: int) -> None:
    made = outputs(5, n=600, classes=classes, skill=(1.5, 1.5))
    turned = made.logs.copy()
    turned[1] = turned[1][:, (np.arange(classes) + 1) % classes]  # its classes are misnamed
    from dataclasses import replace

    made = replace(made, logs=turned)
    found = fit_stacking(made)
    assert found.coefficients is not None
    assert found.coefficients.shape == (classes, 2 * classes)
    assert score(found.predict(made).argmax(1), made) > 0.75
    _, logs, _ = out_of_fold(made, fit_stacking)
    plain = fitter(settings_of(weights="equal"))(made).predict(made)
    assert score(logs.argmax(1), made) > score(plain.argmax(1), made)


def test_stacking_stands_a_class_that_few_items_have() -> None:
    made = outputs(6, n=60, classes=3)
    labels = made.labels.copy()
    labels[labels == 2] = 0
    labels[:2] = 2  # one document, in one fold
    from dataclasses import replace

    made = replace(made, labels=labels)
    _, logs, _ = out_of_fold(made, fit_stacking)
    assert np.isfinite(logs).all()


def test_stacking_needs_every_answer() -> None:
    made = outputs(7)
    present = made.present.copy()
    present[3, 1] = False
    from dataclasses import replace

    with pytest.raises(BadInput, match="Stacking needs every model's output"):
        fit_stacking(replace(made, present=present))


def test_the_curve_is_kept_and_drawn() -> None:
    made = outputs(8, n=200)
    found = curve(made, "probabilities", np.array([0.7, 0.3]), 0, 21, "alpha")
    points = found["points"]
    assert [p["value"] for p in points] == pytest.approx(np.linspace(0, 1, 21))
    assert found["chosen"] == pytest.approx(0.7) and found["default"] == 0.5
    alone = [score(rows.argmax(1), made) for rows in made.logs]
    assert points[0]["score"] == pytest.approx(alone[1])
    assert points[-1]["score"] == pytest.approx(alone[0])
    for point in points:
        assert point["low"] <= point["score"] <= point["high"] and len(point["folds"]) == 5
    drawn = plot(found | {"members": ["a", "b"], "metrics": ["accuracy"]})
    assert drawn.startswith("<svg") and "chosen 0.70" in drawn


def test_choosing_stops_when_it_is_told() -> None:
    with pytest.raises(Cancelled):
        out_of_fold(outputs(1), fitter(settings_of()), lambda: True)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"weights": [0.5, -0.1]}, "numbers from 0 up"),
        ({"weights": [0.5]}, "has 1 numbers, but there are 2"),
        ({"weights": [0, 0]}, "at least one number above 0"),
        ({"weights": [float("nan"), 1]}, "numbers from 0 up"),
        ({"weights": "best"}, "search, equal, per_class"),
        ({"combine": "votes"}, "combine"),
        ({"tempratures": "none"}, "temperatures"),
        ({"folds": 1}, "folds"),
        ({"metric": "f2"}, "metric"),
        ({"method": "stacking", "combine": "logits"}, "combine"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        settings_of(**parameters)
