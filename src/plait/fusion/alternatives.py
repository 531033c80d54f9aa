# SPDX-License-Identifier: Apache-2.0
"""Where models cannot be fused as a recipe says: the level that they allow instead."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.pretrained import HEADS, head_names

OUTPUTS = "outputs: average the models' predictions ('method: ensemble'); they share their labels"
WEIGHTS = "weights: merge them ('merge_method'); they have one architecture"
DISTILLATION = (
    "distillation: teach one model from the predictions of the others ('method: distill')"
)
HEADED = (
    "distillation: teach one model the tasks of all, each with its head ('method: distill'; name "
    "the 'tasks' of each model)"
)
ADAPTERS = (
    "adapters: train each contribution as a LoRA on one base and fuse those; weights of models "
    "that are no classifiers can be fused in no other way"
)
_SHAPE = ("model_type", "hidden_size", "dim", "d_model", "n_embd", "num_hidden_layers", "n_layers")


def instead_of(level: str, models: Sequence[tuple[Path, Mapping[str, Any]]]) -> str | None:
    """Return the cheapest other level that some models allow, None if there is none.

    Args:
        level: what cannot be: `weights`, `mixture`, `outputs` or `distillation`.
        models: the folder of each and what its config.json says.
    """
    alike = len({tuple(str(config.get(key)) for key in _SHAPE) for _, config in models}) == 1
    alike = alike and all(config.get("model_type") for _, config in models)
    labels = [_labels(folder, config) for folder, config in models]
    if not all(labels):
        if level in ("weights", "mixture"):
            return WEIGHTS if alike and level == "mixture" else ADAPTERS
        return WEIGHTS if alike else None
    if len(set(labels)) > 1:
        return None if level == "distillation" else HEADED
    if level != "outputs":
        return OUTPUTS
    return WEIGHTS if alike else DISTILLATION


def read_models(folders: Sequence[Path]) -> list[tuple[Path, Mapping[str, Any]]]:
    """Return folders with what their config.json say; nothing where there is none."""
    return [(folder, _read(folder / "config.json")) for folder in folders]


def _labels(folder: Path, config: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of a classifier's classes, of all its heads together."""
    told = [config.get("label2id")]
    if folder.is_dir():
        told = [_read(folder / HEADS / n / "config.json").get("label2id") for n in _heads(folder)]
        told = told or [config.get("label2id")]
    names = [str(name).lower() for one in told if isinstance(one, Mapping) for name in one]
    return frozenset(names) if len(names) > 1 else frozenset()


def _heads(folder: Path) -> tuple[str, ...]:
    try:
        return head_names(folder)
    except (BadInput, OSError):
        return ()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
