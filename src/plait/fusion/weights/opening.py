# SPDX-License-Identifier: Apache-2.0
"""From the references of a recipe to opened models: folders found, adapters put on their bases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from plait.errors import BadInput
from plait.fusion.resolve import resolve_model
from plait.fusion.weights.adapters import adapt, is_adapter
from plait.fusion.weights.checkpoints import Checkpoint, open_checkpoint
from plait.recipes.fusion import FusionRecipe
from plait.recipes.references import split_adapter

Resolver = Callable[[str], Path]
Folders = Mapping[str, tuple[Path, ...]]


def find_folders(recipe: FusionRecipe, resolve: Resolver | None) -> Folders:
    """Return the folders of each model that a recipe names: its own, and its adapter's if it has.

    Each reference is resolved once.
    """
    return find_models(recipe.references(), resolve)


def find_models(references: Iterable[str], resolve: Resolver | None) -> Folders:
    """Return the folders of each of these models, as `find_folders`."""
    find = resolve or resolve_model
    known: dict[str, Path] = {}

    def folder(reference: str) -> Path:
        if reference not in known:
            known[reference] = Path(find(reference))
        return known[reference]

    return {
        reference: tuple(folder(part) for part in split_adapter(reference) if part)
        for reference in references
    }


def open_models(folders: Folders) -> dict[str, Checkpoint]:
    """Open the models that were found; headers are read, weights are not.

    Raises:
        BadInput: as `open_checkpoint` and `adapt`.
    """
    opened: dict[Path, Checkpoint] = {}
    models = {}
    for reference, (folder, *adapters) in folders.items():
        if is_adapter(folder) and not (folder / "model.safetensors").is_file():
            raise BadInput(
                f"'{reference}' is an adapter (LoRA), not a whole model; name it with its base, "
                f"as 'base+{reference}'."
            )
        if folder not in opened:
            opened[folder] = open_checkpoint(folder)
        models[reference] = opened[folder]
        for adapter in adapters:
            models[reference] = adapt(models[reference], adapter)
    return models
