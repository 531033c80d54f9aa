# SPDX-License-Identifier: Apache-2.0
"""Running `method: auto`: measure, choose, make what was chosen, and only then look at the test."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput
from plait.evaluation.index import write_card as write_results
from plait.evaluation.predictors import load_predictor
from plait.evaluation.results import Evaluation, evaluate
from plait.fusion.auto.budget import CpuBudget
from plait.fusion.auto.experiment import Experiment
from plait.fusion.auto.facts import Facts, gather_facts
from plait.fusion.auto.options import Settings, parse
from plait.fusion.auto.plot import PLOT, plot
from plait.fusion.auto.rows import Row, choose, mark_front, outside
from plait.fusion.auto.stages import measure_levels
from plait.fusion.auto.table import describe, write_card
from plait.fusion.datasets import lacking_split, load_tasks, repositories
from plait.fusion.places import check_out, hash_folder, new_folder, scratch_folder, write_report
from plait.fusion.provenance import sources_head
from plait.fusion.results import REPORT, FusionResult
from plait.fusion.software import software
from plait.fusion.weights.checkpoints import STATISTICS
from plait.fusion.weights.finite import refuse_unfinite
from plait.recipes.levels import LevelRecipe

if TYPE_CHECKING:
    from plait.fusion.levels import Work


def run(data: Mapping[str, Any], folder: Path, out: Path, work: Work) -> FusionResult:
    """Measure every level that is possible within the budget, and write the one chosen to `out`.

    Raises:
        BadInput: naming what is wrong with the recipe, a model or the data; or if nothing that was
            measured fits into the budget.
        Cancelled: if `work.cancelled` says so; nothing is left behind.
        MissingExtra: if a package that it needs is not installed.
    """
    recipe, settings = parse(data, folder)
    check_out(out, work.overwrite)
    started, cpu = time.monotonic(), CpuBudget(recipe.budget.cpu_seconds)
    facts = gather_facts(recipe, settings, work.resolve)
    refuse_unfinite({m.name: m.folder for m in facts.members})
    out = out.resolve()
    with scratch_folder(out) as scratch:
        experiment = Experiment(recipe, settings, facts, scratch, work, cpu)
        measure_levels(experiment)
        usable = [row for row in experiment.rows if row.usable is None]
        if not usable:
            raise BadInput(_nothing(experiment))
        mark_front(experiment.rows, experiment.sign)
        arguments = (experiment.decks, settings.confidence, recipe.seed)
        decision = choose(experiment.rows, *arguments)
        honest = outside(usable, experiment.decks, settings.folds, settings.confidence, recipe.seed)
        found = describe(experiment, decision, honest)
        with new_folder(out, overwrite=work.overwrite) as place:
            _make(decision.row, place, scratch, work)
            results, scores = _test(recipe, settings, place, work)
            write_card(place, found, results, _sources(recipe, settings, facts))
            if scores is not None:
                write_results(place, scores, recipe.tasks, name="Chosen fusion")
            (place / PLOT).write_text(plot(found), "utf-8")
            outputs = hash_folder(place)
            inputs = {member.name: hash_folder(member.folder) for member in facts.members}
            if facts.base is not None:
                inputs["base_model"] = hash_folder(facts.base)
            report = {"auto": found, "results": results}
            write_report(
                place,
                {
                    "schema": 1,
                    "recipe": dict(data),
                    "inputs": inputs,
                    "outputs": outputs,
                    "software": software("torch", "transformers", "numpy", "scipy", "scikit-learn"),
                }
                | report,
            )
            size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return FusionResult(
        out, inputs, outputs, time.monotonic() - started, cpu.spent, size, report=report
    )


def _sources(recipe: LevelRecipe, settings: Settings, facts: Facts) -> dict[str, Any]:
    """Return what the card says of data sets, base models and licence: all that was to be had."""
    used = zip(recipe.models, facts.members, strict=True)
    models = {source.model: member.folder for source, member in used}
    for reference, place in ((recipe.base_model, facts.base), (settings.student, facts.student)):
        if reference is not None and place is not None:
            models[reference] = place
    data = repositories((spec.dataset for spec in recipe.tasks), recipe.folder)
    return ({"datasets": data} if data else {}) | sources_head(models, recipe.folder)


def _make(row: Row, place: Path, scratch: Path, work: Work) -> None:
    """Put the chosen model into its folder: copied, moved, or made by its recipe."""
    from plait.fusion.levels import fuse

    made = row.found.get("folder")
    if made is not None:
        source = Path(made)
    elif row.level == "members":
        source = Path(row.recipe["model"])
    else:
        source = scratch / "chosen"
        fuse(
            row.recipe,
            source,
            resolve=work.resolve,
            threads=work.threads,
            progress=work.progress,
            cancelled=work.cancelled,
        )
    left_out = shutil.ignore_patterns(STATISTICS, REPORT, "README.md", ".*")
    shutil.copytree(source, place, dirs_exist_ok=True, ignore=left_out)


def _test(
    recipe: LevelRecipe, settings: Settings, place: Path, work: Work
) -> tuple[dict[str, Any], Evaluation | None]:
    """Score what was made on the test split, if every task has one. Everything is chosen by now."""
    split = recipe.splits.test
    if split is None or lacking_split(recipe.tasks, recipe.folder, split):
        return {}, None
    tasks = load_tasks(recipe.tasks, recipe.folder, split)
    predictor = load_predictor(place, threads=work.threads, max_length=settings.max_length)
    scores = evaluate(predictor, tasks, split)
    return {"test": scores.to_json(items=False)}, scores


def _nothing(experiment: Experiment) -> str:
    told = [f"{row.name}: {row.usable}" for row in experiment.rows]
    told += [f"{one.name}: {one.reason}" for one in experiment.skipped]
    told += [f"{level}: {why}" for level, why in experiment.levels.items() if why]
    return (
        "Nothing that was measured can be taken. Raise the budget, or name a smaller model under "
        "parameters.student. " + "; ".join(told[:12]) + "."
    )
