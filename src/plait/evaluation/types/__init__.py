# SPDX-License-Identifier: Apache-2.0
"""The types of tasks: how each reads its items, runs a model and measures what it did."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from plait.errors import BadInput
from plait.evaluation.types.base import Answers, TaskType, Values
from plait.recipes.tasks import KINDS

__all__ = ["Answers", "TaskType", "Values", "task_type"]

_MODULES = {
    "text-classification": "classification",
    "image-classification": "classification",
    "audio-classification": "classification",
    "multimodal-classification": "classification",
    "token-classification": "tokens",
    "regression": "regression",
    "retrieval": "retrieval",
    "ranking": "ranking",
    "generation": "generation",
    "language-modeling": "language",
    "lm-eval": "harness",
}


@cache
def task_type(name: str) -> TaskType:
    """Return a type of task by its name in `plait.yaml`.

    Raises:
        BadInput: if there is none of that name.
    """
    if name not in _MODULES:
        raise BadInput(f"There is no type of task '{name}'; use one of {', '.join(KINDS)}.")
    module = import_module(f"plait.evaluation.types.{_MODULES[name]}")
    made: TaskType = module.TYPE(name)
    return made
