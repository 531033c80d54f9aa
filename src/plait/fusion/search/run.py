# SPDX-License-Identifier: Apache-2.0
"""A search from recipe to recipe, and the fusion of what it chose."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput, Cancelled
from plait.fusion import weights
from plait.fusion.places import check_out, new_folder, scratch_folder, write_report
from plait.fusion.results import REPORT, FusionResult, Progress
from plait.fusion.search.candidates import Candidate
from plait.fusion.search.card import write_card
from plait.fusion.search.choosing import Choice, choose
from plait.fusion.search.closed_form import closed_form
from plait.fusion.search.folds import Measure, fold_tasks, rungs
from plait.fusion.search.journal import Journal, journal_path, search_key
from plait.fusion.search.report import describe
from plait.fusion.search.sampling import INITIAL_SHARE, ViewSampler, initial_candidates
from plait.fusion.search.space import Space, build_space
from plait.fusion.search.successive_halving import SuccessiveHalving
from plait.fusion.weights.opening import Resolver, find_folders
from plait.fusion.weights.plan import donor_of
from plait.recipes.fusion import FusionRecipe
from plait.recipes.references import split_adapter

if TYPE_CHECKING:
    from plait.evaluation import Task

PLOT = "plait_search.svg"
"""The picture of a search's curve in the fused model's folder."""

MAX_TOKENS = 128
"""Of a text, in a guess of what measuring takes."""
Load = Callable[[Candidate], Measure]


@dataclass(frozen=True)
class SearchResult:
    """What a search chose: the recipe to fuse, which can be run by itself, and the report."""

    recipe: FusionRecipe
    report: Mapping[str, Any]
    choice: Choice


def search(
    recipe: FusionRecipe,
    folder: Path = Path(),
    *,
    resolve: Resolver | None = None,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    journal: Journal | None = None,
    scratch: Path | None = None,
) -> SearchResult:
    """Choose a recipe's coefficients by cross-validation on its tasks' validation items.

    Only the validation split is read. The same recipe, models and data give the same choice.

    Args:
        recipe: with `search` and `tasks`.
        folder: where relative paths of data sets start.
        resolve: turns a model reference into a folder.
        threads: how many threads to use.
        progress: called with the candidates done and in all.
        cancelled: asked often; the work stops when it returns true.
        journal: keeps what is measured, and has what an earlier run measured.
        scratch: an existing folder for what is on disk meanwhile (default: the system's).

    Raises:
        BadInput: naming what is wrong with the search, a model or the data.
        Cancelled: if `cancelled` returned true.
        MissingExtra: if a package that it needs is not installed.
    """
    from plait.fusion.datasets import load_tasks
    from plait.fusion.search.candidate_model import CandidateModel

    space = prepare(recipe)
    loaded = load_tasks(recipe.tasks, folder, recipe.splits.validation)
    spec = space.spec
    started = space.apply(space.default)
    done = 0

    def tell() -> None:
        if progress is not None:
            progress(Progress("searching", min(done, spec.budget), spec.budget))

    def tick(*_: int) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("The search was cancelled; nothing of it was kept.")

    with CandidateModel(
        started, resolve, threads=threads, cancelled=cancelled, scratch=scratch
    ) as model:
        if journal is not None:
            journal.begin(search_key(recipe, model.models, loaded))

        def load(candidate: Candidate) -> Measure:
            nonlocal done
            tick()
            tell()
            done += 1
            return lambda tasks: measure(candidate, tasks)

        def measure(candidate: Candidate, tasks: Sequence[Task]) -> Mapping[str, Any]:
            known = None if journal is None else journal.find(candidate, tasks)
            if known is not None:
                return known
            model.load(space.apply(candidate))
            found = model.measure(tasks, tick)
            if journal is not None:
                journal.keep(candidate, tasks, found)
            return found

        solved = closed_form(space, model.models)
        first = [solved] if solved else []
        halving, choice = explore(space, loaded, load, recipe.seed, first=first)
    chosen = space.apply(choice.chosen.candidate)
    report = describe(space, halving, choice, recipe.splits.validation, chosen)
    report["work"]["tensors"] = model.made
    report["work"]["taken_up"] = 0 if journal is None else journal.taken_up
    report["closed_form"] = None
    if solved in halving.trials:
        report["closed_form"] = list(halving.trials).index(solved)
    return SearchResult(chosen, report, choice)


def prepare(recipe: FusionRecipe) -> Space:
    """Work out what a recipe's search varies, before anything is read.

    Raises:
        BadInput: naming what is wrong with it.
    """
    if recipe.search is None:
        raise BadInput("The recipe has no 'search'; add one, for example 'search: {budget: 40}'.")
    if not recipe.tasks:
        raise BadInput(
            "A search needs 'tasks', data sets to measure on, as in plait.yaml; add for example "
            "'tasks: [{name: shop, dataset: data/shop}]'."
        )
    return build_space(recipe, recipe.search)


def check(recipe: FusionRecipe, folder: Path, resolve: Resolver | None) -> weights.CheckReport:
    """Say whether a recipe with a search can be run, as `plait.fusion.check` does.

    Raises:
        BadInput: if the search itself cannot be, or a model is not found.
    """
    from plait.fusion.datasets import lacking_split

    space = prepare(recipe)
    report = weights.check_recipe(space.apply(space.default), resolve=resolve)
    split = recipe.splits.validation
    lacking = lacking_split(recipe.tasks, folder, split)
    if lacking is not None:
        report.problems.append(
            f"The search measures on the split '{split}', which the data set of task '{lacking}' "
            "lacks."
        )
        report.instead = report.instead or (
            "weights: the recipe without 'search'; 'merge_method: regmean_plusplus' needs texts "
            "without labels alone"
        )
    if lacking is None:
        _add_cost(recipe, space, folder, report, resolve)
    methods = ", ".join(space.dimensions)
    report.notes.append(
        f"Before it is written, at most {space.spec.budget} candidates are fused in memory and "
        f"measured on the split '{split}' ({methods}; {space.size()} numbers vary)."
    )
    return report


def _add_cost(
    recipe: FusionRecipe,
    space: Space,
    folder: Path,
    report: weights.CheckReport,
    resolve: Resolver | None,
) -> None:
    """Add to what the one fusion costs what the candidates before it do, at most."""
    from plait.fusion.datasets import load_tasks
    from plait.fusion.forecast import RUNTIME, STARTING, model_size, seconds, tokens_of

    cost = report.cost
    if cost is None:
        return
    try:
        tasks = load_tasks(recipe.tasks, folder, recipe.splits.validation)
    except BadInput as error:
        report.problems.append(error.message)
        return
    model = model_size(find_folders(recipe, resolve)[donor_of(recipe)][0])
    texts = (item.text for task in tasks for item in task.items)
    each = cost.cpu_seconds + seconds(model.work, tokens_of(texts, MAX_TOKENS))
    report.cost = replace(
        cost,
        # a candidate is in memory, with a copy of the tensors that the next may take over
        memory_bytes=RUNTIME + 8 * model.parameters + cost.memory_bytes,
        cpu_seconds=cost.cpu_seconds + space.spec.budget * each + STARTING,
    )


def explore(
    space: Space,
    tasks: list[Task],
    load: Load,
    seed: int = 0,
    first: Sequence[Candidate] = (),
) -> tuple[SuccessiveHalving, Choice]:
    """Measure the default and then other candidates, at most the budget, and choose.

    Args:
        space: what may vary.
        tasks: validation items.
        load: makes a candidate the model that is measured.
        seed: of folds and proposals.
        first: candidates that were found without looking at an item, measured after the default.
    """
    spec = space.spec
    folded_tasks = fold_tasks(tasks, spec.folds, seed)
    halving = SuccessiveHalving(folded_tasks, rungs(folded_tasks, spec.subset), spec.folds, load)
    default = halving.evaluate(space.default, never_dropped=True)
    for candidate in first[: spec.budget - 1]:
        halving.evaluate(candidate)
    rest = spec.budget - len(halving.trials)
    drawn = rest if spec.sampler != "tpe" else min(rest, round(INITIAL_SHARE * spec.budget))
    for candidate in initial_candidates(space, drawn, seed):
        halving.evaluate(candidate)
    if spec.sampler == "tpe":
        _propose(space, halving, spec.budget, seed)
    return halving, choose(halving, default, spec.standard_errors, seed)


def _propose(space: Space, halving: SuccessiveHalving, budget: int, seed: int) -> None:
    """Let each view propose in turn; that of all items sees what the others proposed as well."""
    left = budget - len(halving.trials)
    if left <= 0:
        return
    samplers = [
        ViewSampler(space, view, seed + view, len(halving.rows))
        for view in range(halving.folds + 1)
    ]
    for turn in range(left):
        view = turn % len(samplers)
        sampler = samplers[view]
        for trial in halving.trials.values():
            sampler.tell(trial)
        halving.evaluate(sampler.ask(), sorted({view, halving.all_items}))


def run(
    recipe: FusionRecipe,
    folder: Path,
    out: Path,
    *,
    resolve: Resolver | None = None,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    overwrite: bool = False,
    out_shard_size: int | None = None,
) -> FusionResult:
    """Search a recipe's coefficients, then fuse what was chosen into the new folder `out`.

    The folder holds what fusing the chosen recipe by itself gives, the report of the search (under
    `search` in its `plait_fusion.json`), the plot of its curve, and a card. What is measured is
    kept in a hidden file beside `out` until that is there: a search that was killed goes on where
    it was.

    Raises:
        BadInput: as `search` and `plait.fusion.weights.fuse`.
        Conflict: if `out` is there already, or another run searches for it.
        Cancelled: if `cancelled` returned true; nothing is left behind.
    """
    from plait.fusion.search.plot import plot

    clock, cpu = time.monotonic(), time.process_time()
    check_out(out, overwrite)
    with (
        Journal(journal_path(out)) as journal,
        new_folder(out, overwrite=overwrite) as place,
    ):
        with scratch_folder(out) as scratch:
            found = search(
                recipe,
                folder,
                resolve=resolve,
                threads=threads,
                progress=progress,
                cancelled=cancelled,
                journal=journal,
                scratch=scratch,
            )
        made = weights.fuse(
            found.recipe,
            place / "fused",
            resolve=resolve,
            threads=threads,
            progress=progress,
            cancelled=cancelled,
            out_shard_size=out_shard_size,
        )
        for path in sorted((place / "fused").iterdir()):
            path.rename(place / path.name)
        (place / "fused").rmdir()
        report = json.loads((place / REPORT).read_text("utf-8"))
        write_report(place, report | {"search": found.report})
        (place / PLOT).write_text(plot(found.report), "utf-8")
        parts = find_folders(recipe, resolve)
        sources = {
            name: one
            for reference, folders in parts.items()
            for name, one in zip(filter(None, split_adapter(reference)), folders, strict=True)
        }
        write_card(place, recipe, found.report, sources, folder)
    return replace(
        made,
        out=out.resolve(),
        seconds=time.monotonic() - clock,
        cpu_seconds=time.process_time() - cpu,
        resumed=journal.taken_up > 0,
        report={"search": found.report},
    )
