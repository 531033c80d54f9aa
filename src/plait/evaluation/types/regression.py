# SPDX-License-Identifier: Apache-2.0
"""Regression: a number for each text, or pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Progress
from plait.evaluation.measures import Measure, Ranked
from plait.evaluation.metrics import Floats
from plait.evaluation.tasks import Task, group_of, number_in, read_split, text_in
from plait.evaluation.types.base import (
    About,
    Answers,
    TaskType,
    ability,
    by_group,
    finite,
    group_numbers,
    worst_swing,
)
from plait.recipes.project import TaskSpec

Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class ValueItem:
    """A text, or a pair, with its true number."""

    text: str
    value: float
    group: str
    id: str
    pair: str | None = None

    @property
    def label(self) -> str:
        """Nothing: there are no classes."""
        return ""

    @property
    def sample(self) -> Text:
        """What a model reads of it."""
        return self.text if self.pair is None else (self.text, self.pair)


@dataclass(frozen=True, slots=True)
class Value:
    """What a model made of one item."""

    id: str
    group: str
    target: float
    predicted: float


class Regression(TaskType):
    """A number for each item."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read texts (or pairs) with their numbers."""
        named = spec.columns
        text = named.text or "text"
        columns = (text, named.pair, named.label, named.group)
        items = tuple(
            ValueItem(
                text_in(row, text, where),
                number_in(row[named.label], named.label, where),
                group_of(row, spec, where, identity),
                identity,
                None if named.pair is None else text_in(row, named.pair, where),
            )
            for row, where, identity in read_split(spec, folder, split, columns)
        )
        if len({item.value for item in items}) < 2:
            raise BadInput(
                f"Task '{spec.name}': every item of split '{split}' has the same number in column "
                f"'{named.label}'; there is nothing to tell apart."
            )
        return Task(spec.name, spec.metric, items, (), spec.type, spec.seen)

    def open(self, folder: Path) -> Any:
        """Load a sequence classification model with one output."""
        from plait.evaluation.runners import Regressor

        return Regressor.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Ask the model for the number of every item: `values(samples, progress)`."""
        values = ability(model, "values", self.name)
        said = np.asarray(
            values([item.sample for task in tasks for item in task.items], progress), dtype=float
        )
        count = sum(len(task.items) for task in tasks)
        if said.shape != (count,):
            raise BadInput(
                f"The model answered with numbers of shape {list(said.shape)} for {count} items."
            )
        if not np.isfinite(said).all():
            raise BadInput("The model's predictions have values that are not numbers (NaN).")
        found: dict[str, Answers] = {}
        start = 0
        for task in tasks:
            part = said[start : start + len(task.items)]
            start += len(task.items)
            found[task.name] = Answers(
                tuple(
                    Value(item.id, item.group, item.value, float(value))
                    for item, value in zip(task.items, part, strict=True)
                )
            )
        return found

    def table(self, records: Sequence[Value], name: str, about: About) -> Floats:
        """Return the sums of errors and their number, or moments n, x, y, xx, yy, xy."""
        x = np.array([record.target for record in records])
        y = np.array([record.predicted for record in records])
        one = np.ones(len(records))
        if name == "spearman":
            raise BadInput(
                "Spearman's correlation is no function of sums over items; choose by pearson."
            )
        if name in ("mse", "mae"):
            error = (x - y) ** 2 if name == "mse" else np.abs(x - y)
            columns = [error, one]
        else:
            columns = [one, x, y, x * x, y * y, x * y]
        return by_group(np.stack(columns, axis=1), group_numbers(records))

    def measure(
        self, answers: Sequence[Sequence[Any]], abouts: Sequence[About], name: str
    ) -> Measure:
        """Return one or several models' records as a measure."""
        if name != "spearman":
            return super().measure(answers, abouts, name)
        return Ranked(
            np.array([record.target for record in answers[0]]),
            np.array([[record.predicted for record in records] for records in answers]),
            group_numbers(answers[0]),
            0.0,
        )

    def row(self, record: Value) -> list[Any]:
        """Return a record as plain values."""
        return [record.id, record.group, record.target, record.predicted]

    def record(self, row: Sequence[Any]) -> Value:
        """Read back what `row` gave."""
        return Value(str(row[0]), str(row[1]), finite(row[2]), finite(row[3]))

    def truth(self, record: Value) -> float:
        """Return the true number."""
        return record.target

    def resolution(self, items: int, table: Floats, name: str) -> float:
        """Return what one item makes of an error; correlations vary with every item drawn."""
        if name in ("mse", "mae"):
            return worst_swing(table[:, :, 0], table[:, :, 1], items)
        return 0.0


TYPE = Regression
