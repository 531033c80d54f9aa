# SPDX-License-Identifier: Apache-2.0
"""What training will take, foretold from a few items that each encoder is tried on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from plait.evaluation.tasks import Item
from plait.fusion.features.encoders import build, find_encoder, open_encoder
from plait.fusion.features.options import FeatureRecipe
from plait.fusion.features.sources import Source
from plait.fusion.forecast import STARTING, TRAINING
from plait.fusion.weights.opening import Resolver

TRIED = 8
"""Items that each encoder is tried on."""


def foretell(
    recipe: FeatureRecipe,
    folder: Path,
    resolve: Resolver | None,
    splits: Mapping[str, Sequence[Item]],
    labels: tuple[str, ...],
) -> float:
    """Return the CPU-seconds that a fusion takes at most: with every epoch that the recipe allows.

    Each encoder answers a few items, evenly of the training split. A frozen one sees every item
    once, a tuned one in every epoch of every stage; what heads take is small beside it.

    Args:
        recipe: the recipe.
        folder: where its relative paths start.
        resolve: as for `fuse`.
        splits: the items of `train`, `validation` and, if it is scored, `test`.
        labels: the classes.

    Raises:
        BadInput: naming an encoder that cannot be opened, or a file that cannot be read.
        MissingExtra: if torch, transformers or pillow is not installed.
    """
    opened = {
        m.modality: open_encoder(m, find_encoder(m, folder, resolve), recipe["max_length"])
        for m in recipe.members
    }
    model, processor = build(recipe, opened, labels)
    total = STARTING
    for member in recipe.members:
        counts = {
            name: sum(member.modality in _kinds(item) for item in items)
            for name, items in splits.items()
        }
        cost = _each(model, processor, member.modality, splits["train"])
        once = sum(counts.values())
        if not member.tuned:
            total += cost * once
            continue
        stages = {"joint": 1, "transfer": 1, "combined": 2}[recipe["training"]]
        epoch = TRAINING * counts["train"] + counts["validation"]
        total += cost * (once + stages * recipe["epochs"] * epoch)
    return total


def _each(model: object, processor: object, modality: str, items: Sequence[Item]) -> float:
    """Return the CPU-seconds in which an encoder answers one item."""
    having = [item for item in items if modality in _kinds(item)]
    if not having:
        return 0.0
    count = min(TRIED, len(having))
    tried = [having[i * len(having) // count] for i in range(count)]
    Source(model, processor, tried[:1], [0]).remember(modality, tokens=False)  # warms up
    source = Source(model, processor, tried, [0] * count)
    started = time.process_time()
    source.remember(modality, tokens=False)
    return (time.process_time() - started) / count


def _kinds(item: Item) -> set[str]:
    return {"text"} if isinstance(item.sample, str) else set(item.sample)
