# SPDX-License-Identifier: Apache-2.0
"""The levels of fusion, and the one entry to all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from plait.errors import BadInput
from plait.fusion import weights
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights import methods as weight_methods
from plait.fusion.weights.opening import Resolver
from plait.recipes.fusion import FusionRecipe, hint
from plait.recipes.levels import read_level

METHODS = {
    "ensemble": "outputs",
    "stacking": "outputs",
    "feature_fusion": "features",
    "distill": "distillation",
    "auto": "auto",
}
"""Methods above the weights, and the folder of `plait.fusion` that holds each."""


@dataclass(frozen=True)
class Work:
    """How a recipe is run: the same for every level."""

    resolve: Resolver | None = None
    threads: int | None = None
    progress: Callable[[Progress], None] | None = None
    cancelled: Callable[[], bool] | None = None
    overwrite: bool = False


class Level(Protocol):
    """What a level's folder offers; its module imports torch only when one of these is called."""

    def run(self, data: Mapping[str, Any], folder: Path, out: Path, work: Work) -> FusionResult:
        """Run a recipe's plain values; relative paths start at `folder`."""

    def check(
        self, data: Mapping[str, Any], folder: Path, resolve: Resolver | None
    ) -> weights.CheckReport:
        """Say whether the recipe can be run, before anything long is done."""


def fuse(
    recipe: str | Path | Mapping[str, Any] | FusionRecipe,
    out: Path | str,
    *,
    resolve: Resolver | None = None,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    overwrite: bool = False,
    out_shard_size: int | None = None,
) -> FusionResult:
    """Run a recipe of any level into the new folder `out`, which appears when it is whole.

    Args:
        recipe: a file, YAML text or mapping: with `merge_method`, weights in mergekit's language;
            with `method`, another level. A recipe of weights with `search` chooses its
            coefficients first.
        out: the folder to make; it must not exist, or be empty, unless `overwrite`.
        resolve: turns a model reference into a folder (default: a folder, else the hub's client).
        threads: how many threads to use (default: one for each core).
        progress: called now and then, perhaps from another thread.
        cancelled: asked often; the work stops when it returns true.
        overwrite: replace `out` if an earlier fusion made it.
        out_shard_size: of weights, the most bytes in one file (default: one file).

    Raises:
        BadInput: a sentence that names what is wrong with the recipe, a model or the data.
        Conflict: if `out` is there already, or another run is making it.
        Cancelled: if `cancelled` returned true.
        MissingExtra: if the level needs packages that are not installed.
    """
    found = None if isinstance(recipe, FusionRecipe) else read_level(recipe)
    if found is not None:
        data, folder = found
        work = Work(resolve, threads, progress, cancelled, overwrite)
        return level_of(data["method"]).run(data, folder, Path(out), work)
    return weights.fuse(
        recipe,
        out,
        resolve=resolve,
        threads=threads,
        progress=progress,
        cancelled=cancelled,
        overwrite=overwrite,
        out_shard_size=out_shard_size,
    )


def check(
    recipe: str | Path | Mapping[str, Any], *, resolve: Resolver | None = None
) -> weights.CheckReport:
    """Say whether a recipe of any level can be run, and what speaks against it, before it is.

    Raises:
        BadInput: if the recipe itself cannot be read or its models not be found.
    """
    found = read_level(recipe)
    if found is not None:
        data, folder = found
        return level_of(data["method"]).check(data, folder, resolve)
    return weights.check_recipe(recipe, resolve=resolve)


def level_of(method: object) -> Level:
    """Return the level that has a method.

    Raises:
        BadInput: if there is none, with the name nearest to it.
    """
    name = str(method)
    if name not in METHODS:
        if name in weight_methods.names():
            raise BadInput(
                f"'{name}' fuses weights; write 'merge_method: {name}' in place of 'method'."
            )
        raise BadInput(
            f"There is no method '{name[:60]}'{hint(name, METHODS)} Methods: {', '.join(METHODS)}; "
            "those of weights are written with 'merge_method'."
        )
    level: Level = import_module(f"plait.fusion.{METHODS[name]}")
    return level
