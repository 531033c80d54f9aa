# SPDX-License-Identifier: Apache-2.0
"""What a recipe of an output ensemble may say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes.levels import LevelRecipe, Option, parse_level

COMBINATIONS = ("probabilities", "logits")
WEIGHTS = ("search", "equal", "per_class")
METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
MAX_LENGTH = 128

_FOLDS = Option("folds", 5, "parts of the validation items, by document", "whole", 2, 50)
_METRIC = Option(
    "metric", None, "what is chosen by (default: each task's own)", "word", words=METRICS
)
_LENGTH = Option("max_length", MAX_LENGTH, "tokens of a text that are read", "whole", 8, 100_000)

ENSEMBLE = (
    Option("combine", "probabilities", "what is averaged", "word", words=COMBINATIONS),
    Option("weights", "search", "search, equal, per_class, or a list with one for each model"),
    Option(
        "temperatures",
        "search",
        "calibrate each model on validation items, or take its outputs as they are",
        "word",
        words=("search", "none"),
    ),
    Option("grid", 101, "points of the curve that is kept", "whole", 3, 2001),
    _FOLDS,
    _METRIC,
    _LENGTH,
)
STACKING = (_FOLDS, _METRIC, _LENGTH)


@dataclass(frozen=True)
class Settings:
    """A recipe of this level, read."""

    recipe: LevelRecipe
    combine: str
    weights: str | tuple[float, ...]
    calibrate: bool
    grid: int
    folds: int
    metric: str | None
    max_length: int


def parse(data: Mapping[str, Any], folder: Path) -> Settings:
    """Read a recipe with `method: ensemble` or `method: stacking`.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    stacked = data.get("method") == "stacking"
    options = STACKING if stacked else ENSEMBLE
    recipe = parse_level(data, options, folder=folder, member_keys=("task",), members=(2, 100))
    if not recipe.tasks:
        raise BadInput(
            "An ensemble needs 'tasks': the data sets whose validation items its weights are "
            "chosen on."
        )
    for task in recipe.tasks:
        if task.metric not in METRICS:
            raise BadInput(
                f"Task '{task.name}' is scored by {task.metric}; an ensemble is of classifiers, "
                f"which are scored by one of {', '.join(METRICS)}."
            )
    for place, member in enumerate(recipe.models):
        head = member.extra.get("task")
        if head is not None and not isinstance(head, str):
            raise BadInput(f"models[{place}].task must be the name of one of its heads.")
    found = recipe.parameters
    return Settings(
        recipe=recipe,
        combine="stacking" if stacked else found["combine"],
        weights="stacking" if stacked else _weights(found["weights"], len(recipe.models)),
        calibrate=not stacked and found["temperatures"] == "search",
        grid=101 if stacked else found["grid"],
        folds=found["folds"],
        metric=found["metric"],
        max_length=found["max_length"],
    )


def _weights(value: Any, members: int) -> str | tuple[float, ...]:
    if isinstance(value, str) and value in WEIGHTS:
        return value
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) and v >= 0
        for v in value
    )
    if not numbers:
        raise BadInput(
            f"parameters.weights must be {', '.join(WEIGHTS)}, or a list of numbers from 0 up with "
            f"one for each model, not '{str(value)[:60]}'."
        )
    if len(value) != members:
        raise BadInput(
            f"parameters.weights has {len(value)} numbers, but there are {members} models."
        )
    if sum(value) <= 0:
        raise BadInput("parameters.weights needs at least one number above 0.")
    return tuple(float(v) / math.fsum(value) for v in value)
