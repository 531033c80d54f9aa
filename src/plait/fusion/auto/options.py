# SPDX-License-Identifier: Apache-2.0
"""What a recipe of `method: auto` may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights import methods as weight_methods
from plait.recipes._reading import choice, texts
from plait.recipes.levels import LevelRecipe, Option, parse_level

LEVELS = ("members", "weights", "outputs", "distillation")

METHODS = (
    "task_arithmetic",
    "tsv_m",
    "ties",
    "iso_c",
    "wudi",
    "regmean_plusplus",
    "iso_cts",
    "linear",
    "dare_ties",
    "adamerging",
    "model_stock",
)
"""Methods of weights in order of promise; the first ones are tried though the budget be small."""
WITHOUT_BASE = ("linear", "regmean_plusplus", "karcher")

OPTIONS = (
    Option("levels", None, f"a list of those that may be tried; default: {', '.join(LEVELS)}"),
    Option("methods", None, "a list of methods of weights to try, in this order"),
    Option("folds", 5, "parts of the validation items, by document", "whole", low=2, high=50),
    Option(
        "confidence", 0.95, "how sure it must be that a costlier one is better", "number",
        low=0.5, high=0.9999,
    ),
    Option("search", 20, "candidates of a search over coefficients; 0: none", "whole", high=10_000),
    Option("searched", 1, "how many of the best methods are searched", "whole", high=50),
    Option("student", None, "a smaller model that may be taught in place of the members", "any"),
    Option("labels", False, "let students learn from the training split's labels too", "flag"),
    Option(
        "tune_heads", None, "train students' heads; default: only where all tasks share one",
        "flag",
    ),
    Option("epochs", 3, "epochs of a distillation", "whole", low=1, high=1_000),
    Option("learning_rate", 1e-4, "of a distillation", "number", low=1e-9, high=1),
    Option("texts_per_task", None, "most training texts of a task that students learn on", "whole",
           low=1, high=10**7),
    Option("max_length", 128, "the most tokens of a text", "whole", low=1, high=8_192),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """A recipe's parameters, read; see `OPTIONS`."""

    levels: tuple[str, ...]
    methods: tuple[str, ...]
    folds: int
    confidence: float
    search: int
    searched: int
    student: str | None
    labels: bool
    tune_heads: bool | None
    epochs: int
    learning_rate: float
    texts_per_task: int | None
    max_length: int
    owned: Mapping[str, tuple[str, ...]]


def parse(data: Mapping[str, Any], folder: Path) -> tuple[LevelRecipe, Settings]:
    """Read a recipe with `method: auto`.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    recipe = parse_level(data, OPTIONS, folder=folder, member_keys=("tasks",), members=(2, 100))
    if not recipe.tasks:
        raise BadInput(
            "'method: auto' needs 'tasks': the data sets whose validation items everything is "
            "measured on."
        )
    values = dict(recipe.parameters)
    levels = _words(values.pop("levels"), "levels", LEVELS) or LEVELS
    known = weight_methods.names()
    usual = METHODS if recipe.base_model else WITHOUT_BASE
    names = _words(values.pop("methods"), "methods", known) or usual
    student = values["student"]
    if student is not None and (not isinstance(student, str) or not student.strip()):
        raise BadInput("parameters.student must name a model's folder or repository.")
    owned = {
        member.name: _words(member.extra["tasks"], "tasks", tuple(t.name for t in recipe.tasks))
        for member in recipe.models
        if "tasks" in member.extra
    }
    return recipe, Settings(levels=levels, methods=names, owned=owned, **values)


def _words(value: object, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(choice(word, key, known) for word in texts(value, key, most=100))
