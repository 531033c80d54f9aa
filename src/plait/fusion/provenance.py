# SPDX-License-Identifier: Apache-2.0
"""What a fused model's card says of where it comes from: its base models and its licence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.cards import read_head
from plait.errors import PlaitError
from plait.fusion.datasets import repositories
from plait.fusion.resolve import is_repository
from plait.fusion.weights.licences import MAX_CARD, licence_of
from plait.licences import judge
from plait.licences.cards import licence_head


def sources_head(models: Mapping[str, Path], beside: Path) -> dict[str, Any]:
    """Return `base_model` and `license` for the head of a card.

    The base models are the repositories among the models and, of one that is a folder here, those
    that its own card names. The licence is what the models' licences together leave; without one
    where a model states none, or they do not go together.

    Args:
        models: the folder of each model by the recipe's reference to it.
        beside: where the recipe's relative paths start.
    """
    bases: list[str] = []
    for reference, folder in models.items():
        bases += repositories([reference], beside) or _stated_bases(folder)
    head: dict[str, Any] = {}
    if bases:
        head["base_model"] = list(dict.fromkeys(bases))
    result = judge({r: licence_of(folder) for r, folder in models.items()}).result
    return head | (licence_head(result) if result else {})


def _stated_bases(folder: Path) -> list[str]:
    """Return the repositories that a folder's card names as its base models."""
    card = folder / "README.md"
    try:
        if card.stat().st_size > MAX_CARD:
            return []
        stated = read_head(card.read_text("utf-8", "replace")).get("base_model")
    except (OSError, PlaitError):
        return []
    named = stated if isinstance(stated, list) else [stated]
    texts = [one for one in named if isinstance(one, str)]
    return [one for one in texts if one.count("/") == 1 and is_repository(one)]
