# SPDX-License-Identifier: Apache-2.0
"""The curve of a search over weights: the score for every share of a member, kept and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from plait.charts import Flag, Line, Spot, line_chart, standalone
from plait.errors import BadInput
from plait.evaluation import bootstrap, metrics
from plait.evaluation.measures import Additive
from plait.fusion.outputs.choosing import line_values
from plait.fusion.outputs.items import Floats, Outputs, score
from plait.recipes.fusion import hint

_CELLS = 4_000_000
PLOT = "alpha.svg"


def curve(
    outputs: Outputs, kind: str, weights: Floats, member: int, points: int, name: str
) -> dict[str, Any]:
    """Return the score for every share of a member from 0 to 1, the others sharing the rest.

    Args:
        outputs: calibrated answers.
        kind: what is averaged.
        weights: chosen ones, [members].
        member: whose share is varied.
        points: how many values are kept.
        name: what the share is called.

    Returns:
        Plain values: points with the score, a 95% interval (bootstrap over documents) and every
        fold's score; the chosen share, and that of equal weights.
    """
    one, other = line_values(outputs, kind, weights, member)
    values = np.linspace(0.0, 1.0, points)
    predicted = np.stack([(v * one + (1 - v) * other).argmax(axis=1) for v in values])
    low, high = _intervals(predicted, outputs)
    folds = [outputs.folds == fold for fold in np.unique(outputs.folds)]
    parts = [(here, outputs.rows(here)) for here in folds]
    found = [
        {
            "value": round(float(value), 6),
            "score": score(row, outputs),
            "low": float(low[place]),
            "high": float(high[place]),
            "folds": [score(row[here], part) for here, part in parts],
        }
        for place, (value, row) in enumerate(zip(values, predicted, strict=True))
    ]
    return {
        "parameter": name,
        "points": found,
        "chosen": float(weights[member] / weights.sum()),
        "default": 1 / outputs.members,
    }


def _intervals(predicted: Any, outputs: Outputs) -> tuple[Floats, Floats]:
    """Return lower and upper ends [points] of the mean over tasks of each point's score."""
    samples: list[list[bootstrap.Sample]] = []
    for task in np.unique(outputs.tasks):
        here = outputs.tasks == task
        _, groups = np.unique(outputs.groups[here], return_inverse=True)
        scorer = metrics.metric(outputs.metrics[task])
        batch = max(1, _CELLS // (3 * outputs.classes * int(groups.max() + 1)))
        parts = []
        for start in range(0, len(predicted), batch):
            tables = [
                metrics.counts(outputs.labels[here], row[here], groups, outputs.classes)
                for row in predicted[start : start + batch]
            ]
            # intervals of single scores need no resolution: nothing is decided by them
            measure = Additive(np.stack(tables, axis=1), scorer, 0.0)
            parts.append(bootstrap.resample(measure, resamples=1_000, key=str(task)))
        samples.append(parts)
    ends = []
    for batched in zip(*samples, strict=True):
        for place in range(len(batched[0].estimate)):
            chosen = partial(_score_of, place)
            ends.append(bootstrap.interval(list(batched), chosen, bounds=(0.0, 1.0)))
    found = np.array(ends)
    return found[:, 0], found[:, 1]


def _score_of(place: int, scores: Any) -> Any:
    return scores[..., place]


def plot(report: Mapping[str, Any], parameter: str | None = None) -> str:
    """Draw the curves of an ensemble's search from its report, as a stand-alone SVG file.

    Args:
        report: what is under `search` in the report of an ensemble.
        parameter: draw this curve alone, of one of several models: "share of NAME".

    Raises:
        BadInput: if there is no such curve.
    """
    curves = report.get("curves") or [report]
    if parameter is not None:
        names = [str(one["parameter"]) for one in curves]
        if parameter not in names:
            raise BadInput(
                f"The ensemble has no curve of '{parameter[:60]}'{hint(parameter, names)} It has: "
                f"{', '.join(names)}."
            )
        curves = [curves[names.index(parameter)]]
    lines = [
        Line(
            str(one["parameter"]),
            [Spot(p["value"], p["score"], p["low"], p["high"]) for p in one["points"]]
            if len(curves) == 1
            else [Spot(p["value"], p["score"]) for p in one["points"]],
            (3, 0, 1, 2)[place % 4],
        )
        for place, one in enumerate(curves[:4])
    ]
    flags = []
    if len(curves) == 1:
        chosen, default = curves[0]["chosen"], curves[0]["default"]
        if abs(chosen - default) < 0.02:
            flags.append(Flag(chosen, "chosen (as equal)"))
        else:
            flags += [Flag(default, "equal"), Flag(chosen, f"chosen {chosen:.2f}")]
    told = " and ".join(report["metrics"])
    return standalone(
        line_chart(
            lines,
            ident="alpha",
            title=f"{told} over the share of a model",
            description=(
                f"Validation items, each by temperatures chosen without its fold; bands are 95% "
                f"intervals. Models: {', '.join(report['members'])}."
            ),
            across=str(curves[0].get("axis", curves[0]["parameter"]))
            if len(curves) == 1
            else "share of the model",
            up=f"{told}, %",
            flags=flags,
            show=lambda value: f"{100 * value:.1f}",
        )
    )
