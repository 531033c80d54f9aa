# SPDX-License-Identifier: Apache-2.0
"""Recipes of several documents: fusions whose results are models of later ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from plait.fusion.resolve import resolve_model
from plait.fusion.results import REPORT
from plait.fusion.weights.checksums import hash_files
from plait.fusion.weights.opening import Resolver, find_folders, open_models
from plait.recipes.fusion import FusionRecipe, dump_recipe

Run = Callable[[FusionRecipe, Path, Resolver], None]


def run_stages(
    stages: Sequence[tuple[str | None, FusionRecipe]],
    out: Path,
    resolve: Resolver | None,
    run: Run,
) -> Resolver:
    """Make every stage but the last beside `out`; return what finds them by name.

    What an interrupted run made is used again if its recipe and inputs are the same.
    """
    folder = stages_folder(out)
    made: dict[str, Path] = {}
    find = resolve or resolve_model

    def found(reference: str) -> Path:
        return made[reference] if reference in made else find(reference)

    for name, recipe in stages[:-1]:
        assert name is not None
        place = folder / name
        if not _is_made(place, recipe, found):
            run(recipe, place, found)
        made[name] = place
    return found


def stages_folder(out: Path) -> Path:
    """Return where the stages that lead to `out` lie."""
    return out.parent / f".{out.name}.stages"


def remove_stages(out: Path) -> None:
    """Remove the stages that led to `out`."""
    shutil.rmtree(stages_folder(out), ignore_errors=True)


def _is_made(place: Path, recipe: FusionRecipe, find: Resolver) -> bool:
    try:
        report = json.loads((place / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if report.get("recipe") != dump_recipe(recipe):
        return False
    models = open_models(find_folders(recipe, find))
    hashes = hash_files([p for m in models.values() for p in m.files])
    now: Mapping[str, Mapping[str, str]] = {
        reference: {p.name: hashes[p] for p in model.files} for reference, model in models.items()
    }
    return bool(report.get("inputs") == now)
