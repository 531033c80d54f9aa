# SPDX-License-Identifier: Apache-2.0
"""Merged weights: every method at its usual values, then the best one's coefficients searched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

from plait.errors import BadInput
from plait.fusion.auto import recipes
from plait.fusion.auto.experiment import Experiment
from plait.fusion.auto.rows import Row, mean_score
from plait.fusion.auto.screening import dropped
from plait.fusion.results import FusionResult
from plait.fusion.search.folds import Outcomes, rungs

FEWEST_TRIALS = 4
SCREENING, SEARCHING = 0.4, 0.4
"""Shares of what is left that the first look at all methods, and the search, may take."""
SLOWER: Mapping[str, float] = {
    "tsv_m": 30, "iso_c": 30, "iso_cts": 50, "wudi": 300, "knots_ties": 50, "dare_ties": 5,
}  # fmt: skip
"""How many times the work of an average some methods are, roughly: to guess before it is known."""


def merge_weights(experiment: Experiment) -> str | None:
    """Measure merges by every method, if the models can be merged, then search the best."""
    from plait.fusion.levels import check

    first = recipes.merge("linear", experiment.facts, experiment.recipe)
    if experiment.facts.base is not None:
        first["base_model"] = str(experiment.facts.base)  # to see whether they come from one base
    report = check(first, resolve=experiment.work.resolve)
    if not report.fits:
        return " ".join(report.problems)
    size = experiment.facts.base_size or next(iter(experiment.facts.sizes.values()))
    most = experiment.recipe.budget.bytes
    if most is not None and size.bytes > most:
        return f"the result would have {size.bytes:,} bytes, above the budget of {most:,}"
    unit = report.cost.cpu_seconds if report.cost else 0.0
    _screen(experiment, unit)
    merged = [row for row in experiment.rows if row.level == "weights"]
    ranked = sorted(merged, key=lambda row: -experiment.sign * mean_score(row, experiment.decks))
    for row in ranked[: experiment.settings.searched] if experiment.settings.search else []:
        _search(experiment, row)
    return None if merged else "no method of weights could be tried"


def _screen(experiment: Experiment, unit: float) -> None:
    """Merge by every method at its usual values; with a budget, drop clearly weak ones early."""
    limit = experiment.cpu.spent + SCREENING * experiment.cpu.left
    made: dict[str, tuple[dict[str, Any], FusionResult, Outcomes]] = {}
    rounds = rungs(experiment.decks, None)
    if experiment.cpu.budget is None:
        rounds = rounds[-1:]
    count = len(experiment.settings.methods)
    for number, method in enumerate(experiment.settings.methods):
        experiment.tell("Merging weights", number, count)
        try:
            data = recipes.merge(method, experiment.facts, experiment.recipe)
            guess = _guess(experiment, method, unit) + experiment.seconds * experiment.items
            reason = experiment.cpu.refuses(guess)
            if reason is None and experiment.cpu.spent + guess > limit and made:
                reason = f"about {guess:,.0f} CPU-seconds are kept for more promising levels"
            if reason:
                experiment.skip(method, "weights", reason)
                continue
            made[method] = (
                data,
                experiment.fuse(data, f"merge-{method}"),
                Outcomes(experiment.decks),
            )
        except BadInput as error:
            experiment.skip(method, "weights", error.message)
    seconds = dict.fromkeys(made, 0.0)
    for place, row in enumerate(rounds):
        for method, (_, result, outcomes) in made.items():
            started = time.process_time()
            predictor = experiment.load(result.out)
            outcomes.extend(row, lambda tasks, p=predictor: experiment.tables(p, tasks))  # type: ignore[misc]
            seconds[method] += time.process_time() - started
        if place + 1 < len(rounds) and len(made) > 3:
            left = experiment.seconds * experiment.items * len(made)
            weak = dropped(
                {method: found[2] for method, found in made.items()},
                experiment.decks,
                row,
                short=experiment.cpu.spent + left > limit,
                seed=experiment.recipe.seed,
            )
            for method, reason in weak.items():
                experiment.skip(method, "weights", reason)
                del made[method]
    for method, (data, result, outcomes) in made.items():
        tables = [outcomes.table(i) for i in range(len(experiment.decks))]
        data_needed = "unlabelled texts" if method in recipes.LEARNING else "none"
        experiment.rows.append(
            experiment.row(method, data, result, data_needed, tables, seconds[method])
        )
    for folder in experiment.scratch.glob("merge-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _search(experiment: Experiment, row: Row) -> None:
    """Search the coefficients of a method by cross-validation."""
    from plait.fusion.search import search
    from plait.fusion.search.choosing import out_of_fold
    from plait.recipes.fusion import dump_recipe, parse_recipe

    each = row.make_seconds + experiment.seconds * experiment.items / 2
    trials = experiment.settings.search
    if experiment.cpu.budget is not None:
        trials = min(trials, int(SEARCHING * experiment.cpu.left / max(each, 1e-9)))
    name = f"{row.name}, searched"
    if trials < FEWEST_TRIALS:
        experiment.skip(
            name, "weights", experiment.cpu.refuses(FEWEST_TRIALS * each) or "no time left"
        )
        return
    spec = {"budget": trials, "folds": experiment.settings.folds}
    data = recipes.searched(row.recipe, experiment.facts, experiment.recipe, spec)
    started = time.process_time()
    try:
        found = search(
            parse_recipe(data),
            resolve=experiment.work.resolve,
            threads=experiment.work.threads,
            progress=experiment.work.progress,
            cancelled=experiment.work.cancelled,
        )
    except BadInput as error:
        experiment.skip(name, "weights", error.message)
        return
    chosen = [fold.chosen for fold in found.choice.folds]
    tables = [out_of_fold(deck, place, chosen) for place, deck in enumerate(experiment.decks)]
    plain = {k: v for k, v in dump_recipe(found.recipe).items() if k != "search"}
    experiment.rows.append(
        Row(
            name,
            "weights",
            plain,
            "labelled validation items",
            tables,
            row.bytes,
            row.cost,
            time.process_time() - started,
            found={"search": dict(found.report)},
        )
    )


def _guess(experiment: Experiment, method: str, unit: float) -> float:
    """Guess a fusion's CPU-seconds from those of an average."""
    values = recipes.LEARNING.get(method)
    if values is None:
        return unit * SLOWER.get(method, 3)
    texts = values.get("texts", 0) * 2 + values.get("steps", 0) * values.get("batch", 0) * 3
    return float(unit * 10 + experiment.seconds * texts * len(experiment.facts.members))
