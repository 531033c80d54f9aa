# SPDX-License-Identifier: Apache-2.0
"""Which texts belong to which model, and which task's head to look at them with."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from plait.errors import BadInput
from plait.evaluation.texts import load_texts
from plait.fusion.datasets import data_folder
from plait.recipes.fusion import FusionRecipe, Source, hint
from plait.recipes.parameters import short
from plait.recipes.project import TaskSpec
from plait.recipes.references import split_adapter

T = TypeVar("T")


def check_tasks(recipe: FusionRecipe) -> None:
    """Refuse a recipe that has no texts to learn from, or whose models are not whole.

    Raises:
        BadInput: saying what to write.
    """
    if recipe.slices or recipe.modules:
        raise BadInput(f"The method '{recipe.method}' learns from whole models: give 'models'.")
    if not recipe.tasks:
        raise BadInput(
            f"The method '{recipe.method}' learns from texts: the recipe needs 'tasks', like "
            "'- {name: shop, dataset: data/shop}'. Labels are not read."
        )


def task_of(source: Source, recipe: FusionRecipe) -> TaskSpec:
    """Return the task that a model was made for: its `task`, or the one of the model's name.

    Raises:
        BadInput: naming the model, if that is no task of the recipe.
    """
    known = {task.name: task for task in recipe.tasks}
    name = source.task
    if name is None:
        first, adapter = split_adapter(source.model)
        reference = (adapter or first).partition("@")[0]
        name = Path(reference).name
    if name not in known:
        raise BadInput(
            f"The model '{short(source.model)}' needs a task of its own, with texts like those "
            f"that it was trained on: there is no task '{short(name)}'{hint(name, known)} Write "
            f"'task: …' beside the model; tasks: {', '.join(known)}."
        )
    return known[name]


def read_texts(task: TaskSpec, recipe: FusionRecipe, split: str, folder: Path) -> list[str]:
    """Return the texts of a task's train or validation split; labels are not read.

    Raises:
        BadInput: as `load_texts`.
    """
    name = recipe.splits.train if split == "train" else recipe.splits.validation
    return [text for text, _ in load_texts(task, data_folder(task, folder), name)]


def spread(texts: list[T], count: int) -> list[T]:
    """Return `count` of the texts, evenly over all, which may be sorted by label."""
    if len(texts) <= count:
        return texts
    return [texts[place * len(texts) // count] for place in range(count)]
