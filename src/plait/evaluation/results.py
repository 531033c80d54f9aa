# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found: scores with intervals, and every single item's outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation import bootstrap, metrics
from plait.evaluation.classifier import Predictor, Progress, offset
from plait.evaluation.headed import ForTasks
from plait.evaluation.measures import Measure
from plait.evaluation.tasks import Task
from plait.evaluation.types import task_type
from plait.evaluation.types.classification import ItemScore, class_of_labels

__all__ = [
    "Average",
    "Evaluation",
    "ItemScore",
    "TaskResult",
    "class_of_labels",
    "evaluate",
    "score_items",
    "summarise",
]

SCHEMA = 2
MAX_ITEMS = 1_000_000
RESAMPLES = 2_000
"""For intervals of single scores, which decide nothing; comparisons take more."""


@dataclass(frozen=True)
class TaskResult:
    """A model's score on one task, with its interval (bootstrap over groups)."""

    metric: str
    score: float
    interval: tuple[float, float]
    n: int
    groups: int
    items: tuple[Any, ...] = field(repr=False)
    """A record for each item, as its type of task keeps it: `ItemScore` of classification."""
    about: Mapping[str, Any] = field(default_factory=lambda: {"classes": 2}, repr=False)
    """What the items share: the number of classes and their names, the tags, …"""
    type: str = "text-classification"
    seen: bool = True
    scores: Mapping[str, float] = field(default_factory=dict)
    """Every metric that the items can be scored by."""
    kept: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What is in memory alone: probabilities [items, classes] of classification."""

    @property
    def classes(self) -> int:
        """How many classes the model has, in classification."""
        return int(self.about.get("classes", 0))

    def table(self) -> metrics.Floats:
        """Return what the metric needs of each group, [groups, ...], in order of appearance.

        The metric of a sum over groups is the metric of their items.

        Raises:
            BadInput: if the metric is no function of sums (Spearman's correlation).
        """
        return task_type(self.type).table(self.items, self.metric, self.about)

    def measure(self, name: str | None = None) -> Measure:
        """Return the items as a measure, by the task's metric or another of `scores`."""
        return task_type(self.type).measure([self.items], [self.about], name or self.metric)


@dataclass(frozen=True)
class Average:
    """A mean over tasks, each weighing the same, with its interval."""

    score: float
    interval: tuple[float, float]
    tasks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"score": self.score, "interval": list(self.interval), "tasks": list(self.tasks)}


@dataclass(frozen=True)
class Evaluation:
    """A model's results on some tasks; the average is over tasks, each weighing the same.

    Tasks in units that do not mix are left out of it: see `averaged`.
    """

    split: str
    tasks: Mapping[str, TaskResult]
    average: float
    average_interval: tuple[float, float]
    averaged: tuple[str, ...] = ()
    """The tasks that the average is over."""
    seen: Average | None = None
    """Over the tasks of contributors, where there are others too."""
    unseen: Average | None = None
    """Over the tasks that no contributor owns."""

    def to_json(self, *, items: bool = True) -> dict[str, Any]:
        """Return plain values; without ``items``, only what may be shown of a private data set."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "split": self.split,
            "average": self.average,
            "average_interval": list(self.average_interval),
            "averaged": list(self.averaged),
            "tasks": {name: _plain(task, items) for name, task in self.tasks.items()},
        }
        if self.seen is not None and self.unseen is not None:
            data |= {"seen": self.seen.to_json(), "unseen": self.unseen.to_json()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read back what `to_json` wrote with its items; scores are computed from them again.

        Raises:
            BadInput: if it is not such a value.
        """
        try:
            results = {str(name): _result(task) for name, task in data["tasks"].items()}
            return summarise(str(data["split"]), results)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BadInput(
                f"This is not an evaluation with its items ({type(error).__name__}: {error})."
            ) from None


def evaluate(
    model: Path | str | Predictor | ForTasks | Any,
    tasks: Sequence[Task],
    split: str = "test",
    progress: Progress | None = None,
) -> Evaluation:
    """Run a model on every item of the tasks and score it.

    ``model`` is a model's folder or something that predicts (what a type of task asks of it, its
    module in `plait.evaluation.types` says); with heads for several tasks, each task is judged with
    its own. ``split`` says in the result which split the tasks were loaded from.

    Raises:
        BadInput: if there is no task, a task has a label that the model lacks, or the model cannot
            do what a type of task asks.
    """
    if not tasks:
        raise BadInput("There is no task to evaluate on; name at least one in plait.yaml.")
    by_type: dict[Any, list[Task]] = {}
    for task in tasks:
        by_type.setdefault(type(task_type(task.type)), []).append(task)
    total, done = sum(len(task.items) for task in tasks), 0
    found: dict[str, TaskResult] = {}
    for same in by_type.values():
        kind = task_type(same[0].type)
        runner = kind.open(Path(model)) if isinstance(model, str | Path) else model
        answers = kind.run(runner, same, offset(progress, done, total))
        done += sum(len(task.items) for task in same)
        for task in same:
            one = answers[task.name]
            found[task.name] = score_items(
                task.metric, one.records, one.about, task.type, seen=task.seen, kept=one.kept
            )
    return summarise(split, {task.name: found[task.name] for task in tasks})


def score_items(
    metric: str,
    items: tuple[Any, ...],
    about: Mapping[str, Any],
    kind: str = "text-classification",
    *,
    seen: bool = True,
    kept: Mapping[str, Any] | None = None,
) -> TaskResult:
    """Score one task's items, with a 95% interval.

    Args:
        metric: the task's.
        items: a record for each item.
        about: what they share, as `{"classes": 2}`.
        kind: the type of task.
        seen: whether a contributor owns the task.
        kept: what stays in memory.
    """
    type_ = task_type(kind)
    measure = type_.measure([items], [about], metric)
    names = dict.fromkeys((metric, *type_.metrics(about)))
    scores = {
        name: float(type_.measure([items], [about], name).estimate()[0])
        for name in names
        if not name.endswith("@k")
    }
    found = metrics.metric(metric)
    low, high = bootstrap.interval(
        [bootstrap.resample(measure, resamples=RESAMPLES)], _alone, bounds=(found.low, found.high)
    )
    return TaskResult(
        metric=metric,
        score=scores[metric],
        interval=(low, high),
        n=len(items),
        groups=measure.groups,
        items=tuple(items),
        about=dict(about),
        type=kind,
        seen=seen,
        scores=scores,
        kept=kept or {},
    )


def summarise(split: str, results: Mapping[str, TaskResult]) -> Evaluation:
    """Average task results, each task weighing the same, with a 95% interval."""
    samples = {
        name: bootstrap.resample(result.measure(), resamples=RESAMPLES, key=name)
        for name, result in results.items()
    }
    averaged = averaged_tasks({name: result.metric for name, result in results.items()})

    def mean(names: Sequence[str]) -> Average:
        kinds = [metrics.metric(results[name].metric) for name in names]
        bounds = (min(one.low for one in kinds), max(one.high for one in kinds))
        low, high = bootstrap.interval([samples[name] for name in names], _alone, bounds=bounds)
        return Average(float(np.mean([results[n].score for n in names])), (low, high), tuple(names))

    seen = [name for name in averaged if results[name].seen]
    unseen = [name for name in averaged if not results[name].seen]
    both = bool(seen and unseen)
    average = mean(averaged)
    return Evaluation(
        split,
        dict(results),
        average.score,
        average.interval,
        averaged,
        mean(seen) if both else None,
        mean(unseen) if both else None,
    )


def averaged_tasks(names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tasks that an average is over, from their metrics.

    Shares of the best (accuracy, F1, nDCG, …) can be averaged. A mean squared error or a perplexity
    is in a unit of its own: where there are no shares, the average is over the tasks that have the
    first task's metric.
    """
    shares = tuple(name for name, metric in names.items() if metrics.metric(metric).share)
    first = next(iter(names.values()))
    return shares or tuple(name for name, metric in names.items() if metric == first)


def _alone(scores: Any) -> Any:
    return scores[..., 0]


def _plain(task: TaskResult, items: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "metric": task.metric,
        "score": task.score,
        "interval": list(task.interval),
        "n": task.n,
        "groups": task.groups,
        "type": task.type,
        "seen": task.seen,
        "scores": dict(task.scores),
    }
    if task.classes:
        data["classes"] = task.classes
        if all(item.confidence is not None and item.brier is not None for item in task.items):
            from plait.evaluation.calibration import calibration

            data["calibration"] = calibration(task).to_json()
    if items:
        kind = task_type(task.type)
        data["about"] = dict(task.about)
        data["items"] = [kind.row(item) for item in task.items]
    return data


def _result(data: Mapping[str, Any]) -> TaskResult:
    kind = task_type(str(data["type"]))
    rows = data["items"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ITEMS:
        raise ValueError("no items, or too many")
    about = dict(data["about"])
    items = tuple(kind.record(row) for row in rows)
    kind.check_about(about, items)
    return score_items(str(data["metric"]), items, about, kind.name, seen=bool(data["seen"]))
