# SPDX-License-Identifier: Apache-2.0
"""The recipes of candidates: each runs by itself through `plait.fusion.fuse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.errors import BadInput
from plait.fusion.auto.facts import Facts
from plait.fusion.auto.options import Settings
from plait.fusion.search import Candidate, default_values, recipe_of
from plait.fusion.weights import methods as weight_methods
from plait.recipes.levels import LevelRecipe

LEARNING: Mapping[str, Mapping[str, Any]] = {
    "adamerging": {"steps": 60, "rate": 0.01, "batch": 8},
    "regmean_plusplus": {"texts": 64},
}
"""Less work than these methods' defaults, which are made for larger budgets."""


def merge(method: str, facts: Facts, recipe: LevelRecipe) -> dict[str, Any]:
    """Return a recipe that merges all members with a method's usual values.

    Raises:
        BadInput: if the method cannot be used here, saying why.
    """
    found = weight_methods.get(method)
    least, most = found.models
    count = len(facts.members)
    if count < least or (most is not None and count > most):
        raise BadInput(f"it fuses {least} to {most or 'any number of'} models, not {count}")
    if found.base == "required" and facts.base is None:
        raise BadInput("it needs 'base_model'")
    values = default_values(method, count) | dict(LEARNING.get(method, {}))
    made = recipe_of(Candidate.of(method, **values), str(facts.base), facts.references)
    if facts.base is None or found.base == "unused":
        del made["base_model"]
        del made["tokenizer_source"]
    if method in LEARNING:
        _add_tasks(made, facts, recipe)
    return made


def searched(made: Mapping[str, Any], facts: Facts, recipe: LevelRecipe, spec: Any) -> Any:
    """Return a recipe of weights that searches its coefficients on the validation items."""
    return dict(made) | {
        "tasks": list(facts.tasks),
        "splits": _splits(recipe),
        "search": spec,
        "seed": recipe.seed,
    }


def ensemble(facts: Facts, recipe: LevelRecipe, settings: Settings, weights: str) -> dict[str, Any]:
    """Return a recipe of an ensemble of all members, with `weights` (or `stacking`)."""
    parameters: dict[str, Any] = {"folds": settings.folds, "max_length": settings.max_length}
    if weights != "stacking":
        parameters["weights"] = weights
    return {
        "method": "stacking" if weights == "stacking" else "ensemble",
        "models": [{"name": m.name, "model": str(m.folder)} for m in facts.members],
        "tasks": list(facts.tasks),
        "splits": _splits(recipe),
        "parameters": parameters,
        "seed": recipe.seed,
    }


def distil(
    facts: Facts,
    recipe: LevelRecipe,
    settings: Settings,
    student: str | Mapping[str, Any],
    texts_per_task: int | None,
) -> dict[str, Any]:
    """Return a recipe that teaches a student what the members answer."""
    by_task = all(any(t["name"] in m.tasks for m in facts.members) for t in facts.tasks)
    tuned = settings.tune_heads if settings.tune_heads is not None else not facts.several
    parameters: dict[str, Any] = {
        "student": student,
        "teacher_weights": "task" if by_task else "confidence",
        "labels": settings.labels,
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        # what is measured next decides whether the student is better than what it started as
        "stop_by": "nothing",
        "tune_heads": tuned,
        "max_length": settings.max_length,
    }
    if texts_per_task is not None:
        parameters["texts_per_task"] = texts_per_task
    return {
        "method": "distill",
        "models": [
            {
                "name": m.name,
                "model": str(m.folder),
                **({"tasks": list(m.tasks)} if m.tasks else {}),
            }
            for m in facts.members
        ],
        "tasks": list(facts.tasks),
        "splits": _splits(recipe),
        "parameters": parameters,
        "seed": recipe.seed,
    }


def _add_tasks(made: dict[str, Any], facts: Facts, recipe: LevelRecipe) -> None:
    """Say whose task is whose, for methods that learn from unlabelled texts."""
    if facts.trainable is not None and made["merge_method"] == "regmean_plusplus":
        raise BadInput(f"the task '{facts.trainable}' has no split '{recipe.splits.train}'")
    for entry, member in zip(made["models"], facts.members, strict=True):
        if len(member.tasks) != 1:
            raise BadInput(f"'{member.name}' does not own one task: name it under 'tasks'")
        entry["task"] = member.tasks[0]
    owned = {member.tasks[0] for member in facts.members}
    made["tasks"] = [task for task in facts.tasks if task["name"] in owned]
    made["splits"] = _splits(recipe)


def _splits(recipe: LevelRecipe) -> dict[str, Any]:
    """Name the splits that a candidate may see: all but the test's."""
    return {"train": recipe.splits.train, "validation": recipe.splits.validation, "test": None}
