# SPDX-License-Identifier: Apache-2.0
"""Merged weights: every method at its usual values, then the best one's coefficients searched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.auto import recipes
from plait.fusion.auto.contest import Contest
from plait.fusion.auto.rows import Row, mean_score
from plait.fusion.results import FusionResult
from plait.fusion.search.items import Outcomes, rungs, score

FEWEST_TRIALS = 4
SCREENING, SEARCHING = 0.4, 0.4
"""Shares of what is left that the first look at all methods, and the search, may take."""
SLOWER: Mapping[str, float] = {
    "tsv_m": 30, "iso_c": 30, "iso_cts": 50, "wudi": 300, "knots_ties": 50, "dare_ties": 5,
}  # fmt: skip
"""How many times the work of an average some methods are, roughly: to guess before it is known."""


def merge_weights(contest: Contest) -> str | None:
    """Measure merges by every method, if the models can be merged, then search the best."""
    from plait.fusion.levels import check

    first = recipes.merge("linear", contest.facts, contest.recipe)
    if contest.facts.base is not None:
        first["base_model"] = str(contest.facts.base)  # to see whether they come from one base
    report = check(first, resolve=contest.work.resolve)
    if not report.fits:
        return " ".join(report.problems)
    weight = contest.facts.base_weight or next(iter(contest.facts.weights.values()))
    most = contest.recipe.budget.bytes
    if most is not None and weight.bytes > most:
        return f"the result would have {weight.bytes:,} bytes, above the budget of {most:,}"
    unit = report.cost.cpu_seconds if report.cost else 0.0
    _screen(contest, unit)
    merged = [row for row in contest.rows if row.level == "weights"]
    ranked = sorted(merged, key=lambda row: -contest.sign * mean_score(row, contest.decks))
    for row in ranked[: contest.settings.searched] if contest.settings.search else []:
        _search(contest, row)
    return None if merged else "no method of weights could be tried"


def _screen(contest: Contest, unit: float) -> None:
    """Merge by every method at its usual values; with a budget, drop the weak ones early."""
    limit = contest.clock.spent + SCREENING * contest.clock.left
    made: dict[str, tuple[dict[str, Any], FusionResult, Outcomes]] = {}
    rounds = rungs(contest.decks, None)
    if contest.clock.budget is None:
        rounds = rounds[-1:]
    count = len(contest.settings.methods)
    for number, method in enumerate(contest.settings.methods):
        contest.tell("Merging weights", number, count)
        try:
            data = recipes.merge(method, contest.facts, contest.recipe)
            guess = _guess(contest, method, unit) + contest.seconds * contest.items
            reason = contest.clock.refuses(guess)
            if reason is None and contest.clock.spent + guess > limit and made:
                reason = f"about {guess:,.0f} CPU-seconds are kept for more promising levels"
            if reason:
                contest.skip(method, "weights", reason)
                continue
            made[method] = (data, contest.fuse(data, f"merge-{method}"), Outcomes(contest.decks))
        except BadInput as error:
            contest.skip(method, "weights", error.message)
    seconds = dict.fromkeys(made, 0.0)
    for place, row in enumerate(rounds):
        for method, (_, result, outcomes) in made.items():
            started = time.process_time()
            predictor = contest.load(result.out)
            outcomes.reach(row, lambda tasks, p=predictor: contest.tables(p, tasks))  # type: ignore[misc]
            seconds[method] += time.process_time() - started
        if place + 1 < len(rounds) and len(made) > 3:
            made = _better_half(contest, made, row)
    for method, (data, result, outcomes) in made.items():
        tables = [outcomes.table(i) for i in range(len(contest.decks))]
        data_needed = "unlabelled texts" if method in recipes.LEARNING else "none"
        contest.rows.append(contest.row(method, data, result, data_needed, tables, seconds[method]))
    for folder in contest.scratch.glob("merge-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _better_half(contest: Contest, made: dict[str, Any], row: Sequence[int]) -> dict[str, Any]:
    masks = [np.ones(len(deck), dtype=bool) for deck in contest.decks]
    scores = {m: contest.sign * score(found[2], masks, row) for m, found in made.items()}
    ranked = sorted(made, key=lambda method: -scores[method])
    kept = set(ranked[: max(3, -(-len(ranked) // 2))])
    for method in made:
        if method not in kept:
            contest.skip(
                method,
                "weights",
                f"it scored {contest.sign * scores[method]:.3f} on the first documents of each "
                "task, and half of the methods more",
            )
    return {method: found for method, found in made.items() if method in kept}


def _search(contest: Contest, row: Row) -> None:
    """Search the coefficients of a method by cross-validation."""
    from plait.fusion.search import search
    from plait.fusion.search.choosing import out_of_fold
    from plait.recipes.fusion import dump_recipe, parse_recipe

    each = row.make_seconds + contest.seconds * contest.items / 2
    trials = contest.settings.search
    if contest.clock.budget is not None:
        trials = min(trials, int(SEARCHING * contest.clock.left / max(each, 1e-9)))
    name = f"{row.name}, searched"
    if trials < FEWEST_TRIALS:
        contest.skip(name, "weights", contest.clock.refuses(FEWEST_TRIALS * each) or "no time left")
        return
    spec = {"budget": trials, "folds": contest.settings.folds}
    data = recipes.searched(row.recipe, contest.facts, contest.recipe, spec)
    started = time.process_time()
    try:
        found = search(
            parse_recipe(data),
            resolve=contest.work.resolve,
            threads=contest.work.threads,
            progress=contest.work.progress,
            cancelled=contest.work.cancelled,
        )
    except BadInput as error:
        contest.skip(name, "weights", error.message)
        return
    chosen = [fold.chosen for fold in found.choice.folds]
    tables = [out_of_fold(deck, place, chosen) for place, deck in enumerate(contest.decks)]
    plain = {k: v for k, v in dump_recipe(found.recipe).items() if k != "search"}
    contest.rows.append(
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


def _guess(contest: Contest, method: str, unit: float) -> float:
    """Guess a fusion's CPU-seconds from those of an average."""
    values = recipes.LEARNING.get(method)
    if values is None:
        return unit * SLOWER.get(method, 3)
    texts = values.get("texts", 0) * 2 + values.get("steps", 0) * values.get("batch", 0) * 3
    return float(unit * 10 + contest.seconds * texts * len(contest.facts.members))
