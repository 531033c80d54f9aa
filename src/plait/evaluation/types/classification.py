# SPDX-License-Identifier: Apache-2.0
"""Classification of texts, images, sounds, or several of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Predictor, Progress, offset
from plait.evaluation.headed import ForTasks
from plait.evaluation.metrics import Floats, counts
from plait.evaluation.tasks import Label, Task, load_labelled
from plait.evaluation.types.base import About, Answers, TaskType, ability, finite, group_numbers
from plait.recipes.project import TaskSpec

MAX_CLASSES = 10_000
DIGITS = 8
"""Of probabilities that are kept: single precision has no more."""


@dataclass(frozen=True, slots=True)
class ItemScore:
    """What a model made of one item; labels are numbers of classes."""

    id: str
    group: str
    label: int
    predicted: int
    probability: float
    """The probability that the model gave to the true label."""
    confidence: float | None = None
    """The probability of the label that it chose."""
    brier: float | None = None
    """The sum over the classes of squared differences of probability and truth."""


class Classification(TaskType):
    """One class of several for each item."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read texts, images or sounds with their labels."""
        return load_labelled(spec, folder, split)

    def open(self, folder: Path) -> Any:
        """Load a classifier, of whatever kind."""
        from plait.evaluation.predictors import load_predictor

        return load_predictor(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Run a classifier; with heads for several tasks, each task is judged with its own."""
        if not isinstance(model, ForTasks):
            ability(model, "predict", self.name)
            return _judge(model, tasks, progress)
        total, done = sum(len(task.items) for task in tasks), 0
        found: dict[str, Answers] = {}
        for task in tasks:
            own = model.for_task(task.name)
            found |= _judge(own, [task], offset(progress, done, total))
            done += len(task.items)
        return found

    def table(self, records: Sequence[ItemScore], name: str, about: About) -> Floats:
        """Return how many items have, were given, and rightly, each class, [groups, 3, classes]."""
        label = np.array([record.label for record in records])
        predicted = np.array([record.predicted for record in records])
        return counts(label, predicted, group_numbers(records), int(about["classes"]))

    def row(self, record: ItemScore) -> list[Any]:
        """Return a record as plain values."""
        plain: list[Any] = [record.id, record.group, record.label, record.predicted]
        more = (record.probability, record.confidence, record.brier)
        return plain + [value for value in more if value is not None]

    def record(self, row: Sequence[Any]) -> ItemScore:
        """Read back what `row` gave."""
        made = ItemScore(
            str(row[0]), str(row[1]), int(row[2]), int(row[3]), *(finite(v) for v in row[4:7])
        )
        if made.label < 0 or made.predicted < 0:
            raise ValueError("a label below zero")
        return made

    def truth(self, record: ItemScore) -> int:
        """Return the number of the item's class."""
        return record.label

    def check_about(self, about: About, records: Sequence[ItemScore]) -> None:
        """Refuse classes that there are not."""
        classes = int(about["classes"])
        if not 1 <= classes <= MAX_CLASSES:
            raise ValueError("number of classes")
        if any(max(record.label, record.predicted) >= classes for record in records):
            raise ValueError("a label beyond the classes")

    def common(self, abouts: Sequence[About]) -> About:
        """Return the most classes that one of the models has."""
        return {"classes": max(int(about["classes"]) for about in abouts)}

    def resolution(self, items: int, table: Floats, name: str) -> float:
        """Return what one item of the smallest class makes."""
        true = table[:, 0, 0].sum(axis=0)
        present = true[true > 0]
        return 1.0 / (len(present) * float(present.min()))

    def smallest_class(self, records: Sequence[ItemScore], about: About) -> int:
        """Return the number of items of the rarest class."""
        counted = np.bincount([record.label for record in records])
        return int(counted[counted > 0].min())


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


def _judge(
    predictor: Predictor, tasks: Sequence[Task], progress: Progress | None
) -> dict[str, Answers]:
    """Run one predictor on tasks, all items in one run."""
    labels: Mapping[str, dict[Label, int]] = {
        task.name: class_of_labels(task, predictor.labels) for task in tasks
    }
    samples = [item.sample for task in tasks for item in task.items]
    probabilities = np.asarray(predictor.predict(samples, progress))
    if probabilities.shape != (len(samples), len(predictor.labels)):
        raise BadInput(
            f"The model answered with probabilities of shape {list(probabilities.shape)} for "
            f"{len(samples)} items and {len(predictor.labels)} labels."
        )
    if not np.isfinite(probabilities).all():
        raise BadInput("The model's probabilities have values that are not numbers (NaN).")
    found: dict[str, Answers] = {}
    start = 0
    for task in tasks:
        part = probabilities[start : start + len(task.items)]
        start += len(task.items)
        true = np.array([labels[task.name][item.label] for item in task.items])
        rows = np.arange(len(part))
        chosen, given = part.argmax(axis=1), part[rows, true]
        wide = part.astype(np.float64)
        brier = (wide**2).sum(axis=1) - 2 * wide[rows, true] + 1
        records = tuple(
            ItemScore(
                item.id,
                item.group,
                int(true[k]),
                int(chosen[k]),
                round(float(given[k]), DIGITS),
                round(float(part[k, chosen[k]]), DIGITS),
                round(float(brier[k]), DIGITS),
            )
            for k, item in enumerate(task.items)
        )
        about = {"classes": len(predictor.labels), "labels": list(predictor.labels)}
        found[task.name] = Answers(records, about, {"probabilities": part})
    return found


TYPE = Classification
