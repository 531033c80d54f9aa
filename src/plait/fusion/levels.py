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
from plait.fusion.datasets import data_folder, refuse_scored_on_seen
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights import methods as weight_methods
from plait.fusion.weights.opening import Resolver
from plait.recipes._reading import is_text
from plait.recipes.fusion import FusionRecipe, hint, load_stages
from plait.recipes.levels import parse_splits, read_level
from plait.recipes.mixture import read_mixture
from plait.recipes.project import parse_tasks
from plait.recipes.references import split_adapter

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
        level = level_of(data["method"])
        seen = _scored_on_seen(data, folder)
        if seen is not None:
            raise seen
        return level.run(data, folder, Path(out), work)
    resolve = beside(recipe, resolve)
    asked = searched(recipe)
    if asked is not None:
        from plait.fusion import search

        return search.run(
            asked,
            folder_of(recipe),
            Path(out),
            resolve=resolve,
            threads=threads,
            progress=progress,
            cancelled=cancelled,
            overwrite=overwrite,
            out_shard_size=out_shard_size,
        )
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
        report = level_of(data["method"]).check(data, folder, resolve)
        seen = _scored_on_seen(data, folder)
        if seen is not None and seen.message not in report.problems:
            report.problems.append(seen.message)
        return report
    resolve = beside(recipe, resolve)
    asked = searched(recipe)
    if asked is not None:
        from plait.fusion import search

        return search.check(asked, folder_of(recipe), resolve)
    return weights.check_recipe(recipe, resolve=resolve)


def _scored_on_seen(data: Mapping[str, Any], folder: Path) -> BadInput | None:
    """Return what speaks against a recipe's test split; None too if the level will say worse."""
    options = import_module(f"plait.fusion.{METHODS[data['method']]}.options")
    try:
        options.parse(data, folder)
        specs, splits = parse_tasks(data.get("tasks"), "tasks"), parse_splits(data.get("splits"))
        for spec in specs:
            data_folder(spec, folder)
    except BadInput:
        return None
    try:
        refuse_scored_on_seen(specs, folder, splits)
    except BadInput as error:
        return error
    return None


def searched(recipe: str | Path | Mapping[str, Any] | FusionRecipe) -> FusionRecipe | None:
    """Return a recipe of weights if it asks for a search of its coefficients, else None.

    Raises:
        BadInput: if it cannot be read, or is one of several documents that ask for it.
    """
    if read_mixture(recipe) is not None:
        return None
    stages = [stage for _, stage in load_stages(recipe)]
    if all(stage.search is None for stage in stages):
        return None
    if len(stages) > 1:
        raise BadInput(
            "A recipe of several documents cannot be searched: fuse the earlier ones first, and "
            "search the last by itself."
        )
    return stages[0]


def beside(
    recipe: str | Path | Mapping[str, Any] | FusionRecipe, resolve: Resolver | None
) -> Resolver | None:
    """Return a resolver that finds models beside a recipe's file too, if it names any there."""
    folder = folder_of(recipe)
    if folder == Path():
        return resolve
    mixture = read_mixture(recipe)
    stages = [mixture] if mixture else [stage for _, stage in load_stages(recipe)]
    named = {part for stage in stages for part in stage.references()}
    parts = {part for name in named for part in split_adapter(name) if part}
    if not any((folder / part).exists() and not Path(part).exists() for part in parts):
        return resolve
    from plait.fusion.datasets import model_folder

    return lambda reference: model_folder(reference, folder, resolve)


def folder_of(recipe: str | Path | Mapping[str, Any] | FusionRecipe) -> Path:
    """Return where a recipe's relative paths start: its own folder, else where we are."""
    written = isinstance(recipe, str) and is_text(recipe)
    return Path(recipe).parent if isinstance(recipe, str | Path) and not written else Path()


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
