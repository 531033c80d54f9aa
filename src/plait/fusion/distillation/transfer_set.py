# SPDX-License-Identifier: Apache-2.0
"""The texts that a student learns on, with a label where one is known and wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plait.errors import BadInput
from plait.evaluation.tasks import Label, Task, load_task
from plait.evaluation.texts import load_texts
from plait.fusion.datasets import data_folder
from plait.fusion.distillation.options import Settings
from plait.recipes.levels import LevelRecipe

HELD_OUT = 0.1
"""Share of the groups that tell when to stop, where there is no labelled validation split."""


@dataclass(frozen=True)
class Example:
    """One text; `task` is "" where it belongs to none; `label` None where none is used."""

    text: str
    task: str
    label: Label | None
    group: str


def gather(recipe: LevelRecipe, settings: Settings, head: str | None = None) -> list[Example]:
    """Read the training texts of every task, and the texts without labels.

    Args:
        recipe: names tasks and splits.
        settings: say whether labels are read, and how many texts.
        head: a task that texts without one are given to (None: there is no such thing).

    Raises:
        BadInput: naming the data set and what is wrong with it.
    """
    found: list[Example] = []
    for spec in recipe.tasks:
        folder = data_folder(spec, recipe.folder)
        split = recipe.splits.train
        if settings.labels:
            task = _labelled(load_task(spec, folder, split))
            examples = [Example(i.text, spec.name, i.label, i.group) for i in task.items]
        else:
            rows = load_texts(spec, folder, split)
            examples = [Example(text, spec.name, None, group) for text, group in rows]
        found += limit(examples, settings.texts_per_task, recipe.seed, spec.name)
    for source in settings.texts:
        texts = load_texts(source.spec, data_folder(source.spec, recipe.folder), source.split)
        name = source.task or (head or "")
        examples = [Example(text, name, None, f"{source.spec.name}:{g}") for text, g in texts]
        found += limit(examples, settings.texts_per_task, recipe.seed, source.spec.name)
    return found


def limit(examples: list[Example], most: int | None, seed: int, key: str) -> list[Example]:
    """Keep at most so many examples, drawn at random; they stay in order."""
    if most is None or len(examples) <= most:
        return examples
    digest = hashlib.sha256(f"{seed}|{key}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    chosen = sorted(random.permutation(len(examples))[:most].tolist())
    return [examples[i] for i in chosen]


def hold_out(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Split examples into those to learn on and those that tell when to stop, by groups.

    Raises:
        BadInput: if there are too few groups.
    """
    groups = sorted(
        {(example.task, example.group) for example in examples},
        key=lambda g: hashlib.sha256(f"{seed}|{g[0]}|{g[1]}".encode()).digest(),
    )
    if len(groups) < 2:
        raise BadInput(
            "There is one group of texts alone; a distillation without validation items needs two "
            "or more, to see when to stop."
        )
    kept = set(groups[: max(1, round(HELD_OUT * len(groups)))])
    held = [example for example in examples if (example.task, example.group) in kept]
    return [example for example in examples if (example.task, example.group) not in kept], held


def _labelled(task: Task) -> Task:
    if any(not item.text for item in task.items):
        raise BadInput(f"Task '{task.name}' has items without a text; a distillation needs texts.")
    return task
