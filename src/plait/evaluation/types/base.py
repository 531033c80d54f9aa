# SPDX-License-Identifier: Apache-2.0
"""What every type of task knows: to read its items, to run a model on them, to measure what it did.

A type keeps one record for each item that a model answered. From the records of one or several
models and a metric it makes a measure, from which scores, intervals and comparisons follow without
knowing the type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Progress
from plait.evaluation.measures import Additive, Measure
from plait.evaluation.metrics import Floats, Integers, metric
from plait.evaluation.tasks import Task
from plait.recipes.project import TaskSpec
from plait.recipes.tasks import KINDS

About = Mapping[str, Any]


class Record(Protocol):
    """What a model made of one item."""

    @property
    def id(self) -> str:
        """Of the item."""

    @property
    def group(self) -> str:
        """Items of one group are not independent."""


@dataclass(frozen=True)
class Answers:
    """A model's records on one task, with what they share; `kept` is not written to files."""

    records: tuple[Any, ...]
    about: About = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Values:
    """One item's values by metric, in the order of the answers' `about["metrics"]`."""

    id: str
    group: str
    values: tuple[float, ...]


class TaskType(ABC):
    """One type of task."""

    name: str

    @abstractmethod
    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read a task's items of one split.

        Raises:
            BadInput: naming the file, the row and the column.
        """

    @abstractmethod
    def open(self, folder: Path) -> Any:
        """Load what runs a model folder on this type; nothing of the folder is executed.

        Raises:
            BadInput: if it is no such model.
        """

    @abstractmethod
    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Run a model on tasks of this type and return its records by task.

        Raises:
            BadInput: if the model cannot do it, or answers with what is no number.
        """

    @abstractmethod
    def table(self, records: Sequence[Any], name: str, about: About) -> Floats:
        """Return what a metric needs of the records, summed over their groups, [groups, ...].

        Groups are in order of appearance.
        """

    @abstractmethod
    def row(self, record: Any) -> list[Any]:
        """Return a record as plain values, id and group first."""

    @abstractmethod
    def record(self, row: Sequence[Any]) -> Any:
        """Read back what `row` gave."""

    def truth(self, record: Any) -> Any:
        """Return what the item's right answer is, by which two runs are told to be of one set."""
        return None

    def check_about(self, about: About, records: Sequence[Any]) -> None:
        """Refuse what does not fit the records (a file may say anything).

        Raises:
            ValueError: saying what.
        """
        if not isinstance(about, Mapping):
            raise ValueError("about is no mapping")

    def common(self, abouts: Sequence[About]) -> About:
        """Return what several models' records share, for one table over them."""
        return abouts[0]

    def metrics(self, about: About) -> tuple[str, ...]:
        """Return the metrics that the records can be scored by, besides the task's own."""
        return KINDS[self.name].metrics

    def resolution(self, items: int, table: Floats, name: str) -> float:
        """Return the difference in score that one item makes.

        ``table`` has [groups, models, ...], what the metric needs.
        """
        return 1.0 / items

    def smallest_class(self, records: Sequence[Any], about: About) -> int | None:
        """Return the number of items of the rarest class, where there are classes."""
        return None

    def measure(
        self, answers: Sequence[Sequence[Any]], abouts: Sequence[About], name: str
    ) -> Measure:
        """Return one or several models' records as a measure for a metric."""
        about = self.common(abouts)
        table = np.stack([self.table(records, name, about) for records in answers], axis=1)
        resolution = self.resolution(len(answers[0]), table, name)
        return Additive(table, metric(name), resolution)


class Scored(TaskType):
    """A type whose metrics are means of a value of each item."""

    def table(self, records: Sequence[Any], name: str, about: About) -> Floats:
        """Return the sum of the values and their number, [groups, 2]."""
        names = self.metrics(about)
        if name not in names:
            raise BadInput(f"There is no {name} of these items; there is {', '.join(names)}.")
        place = names.index(name)
        values = np.array([record.values[place] for record in records], dtype=np.float64)
        return by_group(np.stack([values, np.ones(len(records))], axis=1), group_numbers(records))

    def row(self, record: Values) -> list[Any]:
        """Return a record as plain values."""
        return [record.id, record.group, *record.values]

    def record(self, row: Sequence[Any]) -> Values:
        """Read back what `row` gave."""
        return Values(str(row[0]), str(row[1]), tuple(finite(value) for value in row[2:]))

    def check_about(self, about: About, records: Sequence[Values]) -> None:
        """Refuse records without a value for each metric."""
        names = [str(name) for name in about["metrics"]]
        for name in names:
            metric(name)
        if any(len(record.values) != len(names) for record in records):
            raise ValueError("not one value for each metric")

    def metrics(self, about: About) -> tuple[str, ...]:
        """Return the metrics that there is a value for."""
        return tuple(about["metrics"])


def group_numbers(records: Sequence[Record]) -> Integers:
    """Return the number of each record's group, in order of appearance."""
    names: dict[str, int] = {}
    return np.array([names.setdefault(record.group, len(names)) for record in records], dtype=int)


def by_group(rows: Floats, groups: Integers) -> Floats:
    """Return the sums of rows [items, ...] over groups, [groups, ...]."""
    count = int(groups.max()) + 1 if len(groups) else 0
    flat = rows.reshape(len(rows), -1)
    out = np.zeros((count, flat.shape[1]))
    np.add.at(out, groups, flat)
    return out.reshape(count, *rows.shape[1:])


def worst_swing(sums: Floats, counts: Floats, items: int) -> float:
    """Return what one item makes of a mean without bounds, from [groups, models] sums and counts.

    Of two models, as much as the group where they differ most has for each of its items; of one,
    as much as the group that strays most from the mean.
    """
    means = sums / np.maximum(counts, 1e-300)
    if means.shape[1] == 1:
        apart = means[:, 0] - sums.sum() / max(float(counts.sum()), 1e-300)
    else:
        apart = means[:, 0] - means[:, 1]
    return float(np.abs(apart).max()) / items


def finite(value: Any) -> float:
    """Return a finite number.

    Raises:
        ValueError: if it is none.
    """
    number = float(value)
    if not np.isfinite(number):
        raise ValueError("a value is not a number")
    return number


def ability(model: Any, method: str, kind: str) -> Any:
    """Return a model's method that a type of task needs.

    Raises:
        BadInput: if it has none.
    """
    found = getattr(model, method, None)
    if not callable(found):
        raise BadInput(
            f"A task of type {kind} needs a model with '{method}'; {type(model).__name__} has none."
        )
    return found
