# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found: scores with intervals, and every single item's outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation import bootstrap, metrics
from plait.evaluation.classifier import Predictor, Progress, offset
from plait.evaluation.headed import ForTasks
from plait.evaluation.predictors import load_predictor
from plait.evaluation.tasks import Label, Task

MAX_CLASSES = 10_000
RESAMPLES = 2_000
"""For intervals of single scores, which decide nothing; comparisons take more."""


@dataclass(frozen=True, slots=True)
class ItemScore:
    """What a model made of one item; labels are numbers of classes."""

    id: str
    group: str
    label: int
    predicted: int
    probability: float
    """The probability that the model gave to the true label."""


@dataclass(frozen=True)
class TaskResult:
    """A model's score on one task, with its interval (bootstrap over groups)."""

    metric: str
    score: float
    interval: tuple[float, float]
    n: int
    groups: int
    items: tuple[ItemScore, ...] = field(repr=False)
    classes: int = 2

    def table(self) -> metrics.Floats:
        """Return the counts of each group, [groups, 3, classes], groups in order of appearance."""
        names: dict[str, int] = {}
        groups = np.array([names.setdefault(i.group, len(names)) for i in self.items])
        labels = np.array([i.label for i in self.items])
        predicted = np.array([i.predicted for i in self.items])
        return metrics.counts(labels, predicted, groups, self.classes)


@dataclass(frozen=True)
class Evaluation:
    """A model's results on some tasks; the average is over tasks, each weighing the same."""

    split: str
    tasks: Mapping[str, TaskResult]
    average: float
    average_interval: tuple[float, float]

    def to_json(self, *, items: bool = True) -> dict[str, Any]:
        """Return plain values; without ``items``, only what may be shown of a private data set."""
        return {
            "schema": 1,
            "split": self.split,
            "average": self.average,
            "average_interval": list(self.average_interval),
            "tasks": {
                name: {
                    "metric": task.metric,
                    "score": task.score,
                    "interval": list(task.interval),
                    "n": task.n,
                    "groups": task.groups,
                    "classes": task.classes,
                }
                | (
                    {
                        "items": [
                            [i.id, i.group, i.label, i.predicted, round(i.probability, 6)]
                            for i in task.items
                        ]
                    }
                    if items
                    else {}
                )
                for name, task in self.tasks.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read back what `to_json` wrote with its items; scores are computed from them again.

        Raises:
            BadInput: if it is not such a value.
        """
        try:
            results = {
                str(name): score_items(
                    str(task["metric"]), _items(task["items"]), _count(task["classes"])
                )
                for name, task in data["tasks"].items()
            }
            return summarise(str(data["split"]), results)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BadInput(
                f"This is not an evaluation with its items ({type(error).__name__}: {error})."
            ) from None


def evaluate(
    model: Path | str | Predictor | ForTasks,
    tasks: Sequence[Task],
    split: str = "test",
    progress: Progress | None = None,
) -> Evaluation:
    """Run a model on every item of the tasks and score it.

    ``model`` is a model's folder or something that predicts; with heads for several tasks, each
    task is judged with its own. ``split`` says in the result which split the tasks were loaded
    from.

    Raises:
        BadInput: if there is no task, or a task has a label that the model lacks.
    """
    if not tasks:
        raise BadInput("There is no task to evaluate on; name at least one in plait.yaml.")
    predictor = load_predictor(model) if isinstance(model, str | Path) else model
    results: dict[str, TaskResult] = {}
    if isinstance(predictor, ForTasks):
        total, done = sum(len(task.items) for task in tasks), 0
        for task in tasks:
            own = predictor.for_task(task.name)
            results |= _judge(own, [task], offset(progress, done, total))
            done += len(task.items)
    else:
        results = _judge(predictor, tasks, progress)
    return summarise(split, results)


def _judge(
    predictor: Predictor, tasks: Sequence[Task], progress: Progress | None
) -> dict[str, TaskResult]:
    """Score one predictor on tasks, all items in one run."""
    labels = {task.name: class_of_labels(task, predictor.labels) for task in tasks}
    samples = [item.sample for task in tasks for item in task.items]
    probabilities = predictor.predict(samples, progress)
    results: dict[str, TaskResult] = {}
    start = 0
    for task in tasks:
        part = probabilities[start : start + len(task.items)]
        start += len(task.items)
        true = [labels[task.name][item.label] for item in task.items]
        scored = tuple(
            ItemScore(item.id, item.group, label, int(row.argmax()), float(row[label]))
            for item, label, row in zip(task.items, true, part, strict=True)
        )
        results[task.name] = score_items(task.metric, scored, len(predictor.labels))
    return results


def class_of_labels(task: Task, labels: Sequence[str]) -> dict[Label, int]:
    """Map a task's labels to a model's classes: names by name (case aside), numbers as they are.

    Raises:
        BadInput: if the model lacks one of the task's labels.
    """
    names = {name.lower(): index for index, name in enumerate(labels)}
    found: dict[Label, int] = {}
    for label in task.labels:
        index = label if isinstance(label, int) else names.get(label.lower())
        if index is None or not 0 <= index < len(labels):
            raise BadInput(
                f"Task '{task.name}' has the label '{label}', which the model does not give; "
                f"its labels are {', '.join(labels)} (0 to {len(labels) - 1})."
            )
        found[label] = index
    return found


def score_items(metric: str, items: tuple[ItemScore, ...], classes: int) -> TaskResult:
    """Score one task's items, with a 95% interval."""
    result = TaskResult(metric, 0.0, (0.0, 0.0), len(items), 0, items, classes)
    table = result.table()
    score = float(metrics.metric(metric)(table.sum(axis=0)))
    sample = bootstrap.resample(table[:, None], metrics.metric(metric), resamples=RESAMPLES)
    low, high = bootstrap.interval([sample], lambda scores: scores[..., 0], bounds=(0.0, 1.0))
    return TaskResult(metric, score, (low, high), len(items), len(table), items, classes)


def summarise(split: str, results: Mapping[str, TaskResult]) -> Evaluation:
    """Average task results, each task weighing the same, with a 95% interval."""
    samples = [
        bootstrap.resample(
            r.table()[:, None], metrics.metric(r.metric), resamples=RESAMPLES, key=name
        )
        for name, r in results.items()
    ]
    average = float(np.mean([r.score for r in results.values()]))
    low, high = bootstrap.interval(samples, lambda scores: scores[..., 0], bounds=(0.0, 1.0))
    return Evaluation(split, dict(results), average, (low, high))


def _items(rows: Sequence[Sequence[Any]]) -> tuple[ItemScore, ...]:
    made = tuple(ItemScore(str(r[0]), str(r[1]), int(r[2]), int(r[3]), float(r[4])) for r in rows)
    if not made or any(i.label < 0 or i.predicted < 0 for i in made):
        raise ValueError("no items, or a label below zero")
    if not all(math.isfinite(i.probability) for i in made):
        raise ValueError("a probability is not a number")
    return made


def _count(value: Any) -> int:
    if not 1 <= int(value) <= MAX_CLASSES:
        raise ValueError("number of classes")
    return int(value)
