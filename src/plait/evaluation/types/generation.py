# SPDX-License-Identifier: Apache-2.0
"""Generation: a model's answer to a prompt, greedily decoded, against one reference or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Progress, offset
from plait.evaluation.metrics import Floats
from plait.evaluation.metrics.sums import CHRF_ORDER
from plait.evaluation.metrics.texts import chrf_counts, exact_match, rouge_l, token_f1
from plait.evaluation.tasks import Task, group_of, list_in, read_split, text_in
from plait.evaluation.types.base import (
    About,
    Answers,
    Scored,
    Values,
    ability,
    by_group,
    group_numbers,
)
from plait.recipes.project import TaskSpec

MEANS = ("exact_match", "token_f1", "rouge_l")
MAX_REFERENCES = 100


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with what would be right to answer."""

    text: str
    references: tuple[str, ...]
    group: str
    id: str

    @property
    def label(self) -> str:
        """Nothing: there are no classes."""
        return ""


class Generation(Scored):
    """Answers to prompts; a record has the means' values, then chrF's counts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read prompts with their references, a text or a list of texts."""
        named = spec.columns
        text = named.text or "prompt"
        items = []
        for row, where, identity in read_split(
            spec, folder, split, (text, named.label, named.group)
        ):
            wanted: list[Any] = [row[named.label]]
            if isinstance(wanted[0], list):
                wanted = list_in(row, named.label, where, "texts")
            if len(wanted) > MAX_REFERENCES:
                raise BadInput(f"{where} has more than {MAX_REFERENCES} references.")
            references = tuple(text_in({named.label: one}, named.label, where) for one in wanted)
            group = group_of(row, spec, where, identity)
            items.append(Prompt(text_in(row, text, where), references, group, identity))
        about = {"max_new_tokens": spec.max_new_tokens}
        return Task(spec.name, spec.metric, tuple(items), (), spec.type, spec.seen, about)

    def open(self, folder: Path) -> Any:
        """Load a causal language model."""
        from plait.evaluation.runners import LanguageModel

        return LanguageModel.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Ask the model for answers: `generate(prompts, max_new_tokens, progress)`."""
        generate = ability(model, "generate", self.name)
        total, done = sum(len(task.items) for task in tasks), 0
        found: dict[str, Answers] = {}
        for task in tasks:
            prompts = [item.text for item in task.items]
            most = int(task.about["max_new_tokens"])
            answers = list(generate(prompts, most, offset(progress, done, total)))
            done += len(prompts)
            if len(answers) != len(prompts):
                raise BadInput(f"The model gave {len(answers)} answers to {len(prompts)} prompts.")
            records = tuple(
                Values(
                    item.id,
                    item.group,
                    (
                        exact_match(answer, item.references),
                        token_f1(answer, item.references),
                        rouge_l(answer, item.references),
                        *chrf_counts(answer, item.references),
                    ),
                )
                for item, answer in zip(task.items, answers, strict=True)
            )
            found[task.name] = Answers(records, {"metrics": list(MEANS)}, {"answers": answers})
        return found

    def table(self, records: Sequence[Values], name: str, about: About) -> Floats:
        """Return the sum of the values and their number; of chrF, its counts."""
        if name != "chrf":
            return super().table(records, name, about)
        counts = np.array([record.values[len(MEANS) :] for record in records], dtype=np.float64)
        return by_group(counts, group_numbers(records))

    def metrics(self, about: About) -> tuple[str, ...]:
        """Return the metrics of the type."""
        return (*MEANS, "chrf")

    def check_about(self, about: About, records: Sequence[Values]) -> None:
        """Refuse records without their values."""
        if any(len(record.values) != len(MEANS) + 3 * CHRF_ORDER for record in records):
            raise ValueError("not one value for each metric")


TYPE = Generation
