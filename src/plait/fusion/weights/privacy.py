# SPDX-License-Identifier: Apache-2.0
"""What files of statistics say of the texts that they are about, for reports and checks."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from plait.fusion.weights import methods
from plait.fusion.weights.checkpoints import STATISTICS, Checkpoint
from plait.fusion.weights.safetensors import MAX_HEADER
from plait.recipes.fusion import FusionRecipe

_KEYS = ("texts", "kinds", "privacy", "epsilon", "delta", "clipping")
_MOST = 300  # characters of one statement
UNSTATED = "not stated: count on no guarantee"


def read_statement(file: Path) -> dict[str, str]:
    """Return what a file of statistics states: texts, kinds, privacy (see `plait statistics`)."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(min(length, MAX_HEADER)))
    told = header.get("__metadata__")
    found = {k: str(told[k])[:_MOST] for k in _KEYS if isinstance(told, dict) and k in told}
    return {"privacy": UNSTATED} | found


def statements(recipe: FusionRecipe, models: Mapping[str, Checkpoint]) -> dict[str, dict[str, str]]:
    """Return what is stated of the statistics that a recipe's method reads, by model."""
    method = methods.get(recipe.method)
    if method.statistics is None or method.learns:
        return {}
    return {
        reference: read_statement(model.folder / STATISTICS)
        for reference, model in models.items()
        if model.statistics
    }


def statistics_notes(recipe: FusionRecipe, models: Mapping[str, Checkpoint]) -> list[str]:
    """Return a sentence for each model whose owner publishes statistics that are used."""
    return [
        f"Statistics of '{reference}': of {told.get('texts', 'an unknown number of')} texts; "
        f"{told['privacy']}."
        for reference, told in statements(recipe, models).items()
    ]
