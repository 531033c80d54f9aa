# SPDX-License-Identifier: Apache-2.0
"""Language modelling: how probable a model finds texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Progress
from plait.evaluation.metrics import Floats
from plait.evaluation.tasks import Task, group_of, read_split, text_in
from plait.evaluation.types.base import (
    About,
    Answers,
    Scored,
    Values,
    ability,
    by_group,
    group_numbers,
    worst_swing,
)
from plait.recipes.project import TaskSpec
from plait.recipes.tasks import KINDS


@dataclass(frozen=True, slots=True)
class Passage:
    """A text."""

    text: str
    group: str
    id: str

    @property
    def label(self) -> str:
        """Nothing: there are no classes."""
        return ""


class LanguageModeling(Scored):
    """The likelihood of texts; a record has the negative log-likelihood, the tokens, the bytes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read texts."""
        text = spec.columns.text or "text"
        items = tuple(
            Passage(text_in(row, text, where), group_of(row, spec, where, identity), identity)
            for row, where, identity in read_split(spec, folder, split, (text, spec.columns.group))
        )
        return Task(spec.name, spec.metric, items, (), spec.type, spec.seen)

    def open(self, folder: Path) -> Any:
        """Load a causal language model."""
        from plait.evaluation.runners import LanguageModel

        return LanguageModel.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Ask the model how likely texts are: `likelihoods(texts, progress)` [texts, 2].

        That is: the negative log-likelihood in nats, and the tokens that it is of.
        """
        likelihoods = ability(model, "likelihoods", self.name)
        items = [item for task in tasks for item in task.items]
        said = np.asarray(likelihoods([item.text for item in items], progress), dtype=float)
        if said.shape != (len(items), 2):
            raise BadInput(
                f"The model answered with likelihoods of shape {list(said.shape)} for "
                f"{len(items)} texts."
            )
        if not np.isfinite(said).all():
            raise BadInput("The model's likelihoods have values that are not numbers (NaN).")
        found: dict[str, Answers] = {}
        start = 0
        for task in tasks:
            part = said[start : start + len(task.items)]
            start += len(task.items)
            if part[:, 1].sum() < 1:
                raise BadInput(f"Task '{task.name}': no text has a token to predict.")
            found[task.name] = Answers(
                tuple(
                    Values(
                        item.id,
                        item.group,
                        (float(loss), float(tokens), float(len(item.text.encode()))),
                    )
                    for item, (loss, tokens) in zip(task.items, part, strict=True)
                )
            )
        return found

    def table(self, records: Sequence[Values], name: str, about: About) -> Floats:
        """Return the sums of loss, tokens and bytes, [groups, 3]."""
        rows = np.array([record.values for record in records], dtype=np.float64)
        return by_group(rows, group_numbers(records))

    def truth(self, record: Values) -> float:
        """Return the text's bytes."""
        return record.values[2]

    def metrics(self, about: About) -> tuple[str, ...]:
        """Return the metrics of the type."""
        return KINDS[self.name].metrics

    def check_about(self, about: About, records: Sequence[Values]) -> None:
        """Refuse records without their three numbers."""
        if any(len(record.values) != 3 or record.values[2] <= 0 for record in records):
            raise ValueError("not loss, tokens and bytes")

    def resolution(self, items: int, table: Floats, name: str) -> float:
        """Return what one item makes of the mean loss, in the metric's unit."""
        by = 1 if name == "perplexity" else 2
        swing = worst_swing(table[:, :, 0], table[:, :, by], items)
        total = table.sum(axis=0)
        if name == "perplexity":  # exp's slope is its value
            return swing * float(np.exp(total[:, 0] / np.maximum(total[:, 1], 1)).max())
        return swing / float(np.log(2))


TYPE = LanguageModeling
