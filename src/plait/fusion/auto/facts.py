# SPDX-License-Identifier: Apache-2.0
"""What is known of the models before any is run: folders, labels, sizes, whose tasks are whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.fusion.auto.options import Settings
from plait.fusion.datasets import data_folder, lacking_split, model_folder
from plait.fusion.distillation.teachers import Teacher, find_teachers, several_heads
from plait.fusion.forecast import ModelSize, model_size
from plait.fusion.weights.opening import Resolver
from plait.recipes.levels import LevelRecipe
from plait.recipes.project import dump_tasks


@dataclass(frozen=True)
class Facts:
    """All that candidates are planned from."""

    members: tuple[Teacher, ...]
    sizes: Mapping[str, ModelSize]
    base: Path | None
    base_size: ModelSize | None
    student: Path | None
    several: bool
    """Whether each task has a head, and members, of its own."""
    tasks: tuple[dict[str, Any], ...]
    """The tasks as a recipe names them, with the folders of their data sets."""
    trainable: str | None
    """The task that has no training texts, if one has none."""

    @property
    def references(self) -> list[str]:
        """The members' folders as recipes name them."""
        return [str(member.folder) for member in self.members]

    @property
    def single(self) -> float:
        """Parameters that one prediction of one member uses, on average."""
        found = [size.work for size in self.sizes.values()]
        return max(1.0, sum(found) / len(found))


def gather_facts(recipe: LevelRecipe, settings: Settings, resolve: Resolver | None) -> Facts:
    """Find the models and read their headers; no weights are read.

    Raises:
        BadInput: if a model or a data set is not found, or is not what it should be.
    """
    members = find_teachers(recipe, settings.owned, resolve)
    base = recipe.base_model and model_folder(recipe.base_model, recipe.folder, resolve)
    student = settings.student and model_folder(settings.student, recipe.folder, resolve)
    entries = dump_tasks(recipe.tasks)
    for entry, spec in zip(entries, recipe.tasks, strict=True):
        entry["dataset"] = str(data_folder(spec, recipe.folder).resolve())
    return Facts(
        tuple(members),
        {member.name: model_size(member.folder) for member in members},
        Path(base).resolve() if base else None,
        model_size(Path(base)) if base else None,
        Path(student).resolve() if student else None,
        several_heads(members),
        tuple(entries),
        lacking_split(recipe.tasks, recipe.folder, recipe.splits.train),
    )


def owners(members: Sequence[Teacher], task: str) -> list[Teacher]:
    """Return the members that own a task."""
    return [member for member in members if task in member.tasks]
