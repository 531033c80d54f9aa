# SPDX-License-Identifier: Apache-2.0
"""Along the straight line between two models: is there a hill between them, or a valley?

Models that training led into one basin can be averaged; between others the loss rises (Goodfellow
et al. 1412.6544; Frankle et al., "Linear Mode Connectivity and the Lottery Ticket", 1912.05671).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.charts import Flag, Line, Spot, line_chart, stacked, standalone
from plait.errors import BadInput, Cancelled
from plait.fusion.results import Progress
from plait.fusion.weights.opening import Resolver
from plait.recipes.fusion import FusionRecipe, Source
from plait.recipes.project import TaskSpec

BEYOND = 0.25
"""How far past either model the line goes."""
POINTS = 13
SMALLEST = 1e-12


def measure_path(
    first: str,
    second: str,
    tasks: Sequence[TaskSpec],
    folder: Path = Path(),
    *,
    split: str = "validation",
    points: int = POINTS,
    beyond: float = BEYOND,
    resolve: Resolver | None = None,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Measure score and loss of (1 - t) first + t second, for t from -beyond to 1 + beyond.

    Args:
        first: the model at t = 0.
        second: the model at t = 1.
        tasks: what is measured.
        folder: where relative paths of data sets start.
        split: the items' split.
        points: how many, both ends included; t = 0 and t = 1 are always among them.
        beyond: how far past either model the line goes.
        resolve: turns a model reference into a folder.
        threads: how many threads to use.
        progress: called with the points done and in all.
        cancelled: asked often; the work stops when it returns true.

    Returns:
        Plain values: for each task the score with its 95% interval and, where it is of classes,
        the loss (mean of -log of the true label's probability) at each t; and the barrier, by how
        much the loss rises above the line between its ends (1912.05671).

    Raises:
        BadInput: if the models do not fit each other or the tasks.
        Cancelled: if `cancelled` returned true.
    """
    from plait.evaluation.results import score_items
    from plait.fusion.datasets import load_tasks
    from plait.fusion.search.candidate_model import CandidateModel

    if not tasks:
        raise BadInput("Name at least one task to measure along the line.")
    if not 3 <= points <= 1_000 or not 0 <= beyond <= 10:
        raise BadInput("A line needs 3 to 1,000 points, and may go 0 to 10 beyond its ends.")
    loaded = load_tasks(tasks, folder, split)
    places = sorted({0.0, 1.0, *(round(float(t), 4) for t in _places(points, beyond))})
    found: dict[str, list[dict[str, Any]]] = {task.name: [] for task in loaded}

    def tick(*_: int) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("The measuring was cancelled.")

    with CandidateModel(
        _between(first, second, 0.0), resolve, threads=threads, cancelled=cancelled
    ) as m:
        for done, t in enumerate(places):
            tick()
            if progress is not None:
                progress(Progress("measuring", done, len(places)))
            m.load(_between(first, second, t))
            for name, answers in m.run(loaded, tick).items():
                task = next(one for one in loaded if one.name == name)
                scored = score_items(task.metric, answers.records, answers.about, task.type)
                found[name].append(
                    {
                        "t": t,
                        "score": round(scored.score, 6),
                        "low": round(scored.interval[0], 6),
                        "high": round(scored.interval[1], 6),
                        "loss": _loss(answers.records),
                    }
                )
    return {
        "first": first,
        "second": second,
        "split": split,
        "tasks": {
            task.name: {
                "metric": task.metric,
                "items": len(task.items),
                "points": found[task.name],
                "barrier": _barrier(found[task.name]),
            }
            for task in loaded
        },
    }


def draw_path(data: Mapping[str, Any]) -> str:
    """Draw what `measure_path` found: loss and score over t, each task a line.

    Returns:
        A stand-alone SVG file.
    """
    names = (_short(str(data["first"])), _short(str(data["second"])))
    flags = [Flag(0.0, names[0]), Flag(1.0, names[1])]
    told = f"Along the line from {names[0]} to {names[1]}, on the {data['split']} items."
    tasks = data["tasks"]
    parts = []
    if all(point["loss"] is not None for task in tasks.values() for point in task["points"]):
        lines = [
            Line(name, [Spot(p["t"], p["loss"]) for p in task["points"]], place % 4)
            for place, (name, task) in enumerate(tasks.items())
        ]
        parts.append(
            (
                "Loss",
                line_chart(
                    lines,
                    ident="loss",
                    title="Loss along the line",
                    description=told,
                    flags=flags,
                    show=lambda value: f"{value:.3g}",
                ),
            )
        )
    lines = [
        Line(
            name, [Spot(p["t"], p["score"], p["low"], p["high"]) for p in task["points"]], place % 4
        )
        for place, (name, task) in enumerate(tasks.items())
    ]
    metrics = ", ".join(sorted({task["metric"] for task in tasks.values()}))
    parts.append(
        (
            f"Score ({metrics.replace('_', ' ')}, %)",
            line_chart(
                lines,
                ident="score",
                title="Score along the line",
                description=told,
                flags=[] if parts else flags,
                across=f"t: (1 \N{MINUS SIGN} t) {names[0]} + t {names[1]}",
                show=lambda value: f"{100 * value:.3g}",
            ),
        )
    )
    return standalone(
        stacked(parts, ident="path", title="Along the line between two models", description=told)
    )


def _places(points: int, beyond: float) -> list[float]:
    return [float(t) for t in np.linspace(-beyond, 1 + beyond, points)]


def _between(first: str, second: str, t: float) -> FusionRecipe:
    return FusionRecipe(
        "linear",
        models=(
            Source(first, parameters={"weight": 1 - t}),
            Source(second, parameters={"weight": t}),
        ),
        parameters={"normalize": False},
        dtype="float32",
    )


def _loss(records: Sequence[Any]) -> float | None:
    given = [getattr(record, "probability", None) for record in records]
    if any(one is None for one in given):
        return None
    logs = [-math.log(max(float(one), SMALLEST)) for one in given if one is not None]
    return round(float(np.mean(logs)), 6)


def _barrier(points: Sequence[Mapping[str, Any]]) -> float | None:
    losses = {float(p["t"]): float(p["loss"]) for p in points if p["loss"] is not None}
    if len(losses) < len(points):
        return None
    ends = losses[0.0], losses[1.0]
    return round(
        max(loss - (1 - t) * ends[0] - t * ends[1] for t, loss in losses.items() if 0 <= t <= 1), 6
    )


def _short(reference: str) -> str:
    return reference.rstrip("/").rsplit("/", 1)[-1]
