# SPDX-License-Identifier: Apache-2.0
"""The rule that chooses: the default, unless another point is clearly better.

The best point of many looks better than it is, because luck took part in the choice. So the gain is
measured by cross-validation: each fold's view takes its best without the fold, and what it took is
judged on the fold. The best point on all items is taken only if that gain is more than so many
standard errors above nothing (one, as in Breiman et al., "Classification and Regression Trees",
1984), with documents drawn whole and both models on the same documents. Where nothing is to be
gained, the gain outside the folds is as often below zero as above, so that luck alone passes the
rule one time in six at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from plait.fusion.search.folds import Floats, FoldedTask, Mask, direction, score, task_score
from plait.fusion.search.successive_halving import SuccessiveHalving, Trial

if TYPE_CHECKING:
    from plait.evaluation.bootstrap import Sample

RESAMPLES = 2_000


@dataclass(frozen=True)
class Gain:
    """A difference to the default: its value, a 95% interval, and whether it counts as clear."""

    effect: float
    low: float
    high: float
    clear: bool


@dataclass(frozen=True)
class FoldChoice:
    """What a view took without a fold, and how that and the default did on the fold."""

    chosen: Trial
    score: float
    default: float


@dataclass(frozen=True)
class Choice:
    """The chosen point, the best one, and the honest estimate of what choosing gained."""

    chosen: Trial
    best: Trial
    default: Trial
    best_gain: Gain
    """The best point's gain on the items that it was chosen on: flattered by the choice."""
    gain: Gain
    """The gain outside the folds."""
    score: float
    """The score outside the folds of what each view took."""
    default_score: float
    folds: tuple[FoldChoice, ...]
    tasks: dict[str, tuple[float, float]]
    """By task, the score outside the folds and the default's."""


def choose(
    halving: SuccessiveHalving, default: Trial, standard_errors: float, seed: int = 0
) -> Choice:
    """Choose in every fold and then on all items."""
    folds = []
    for fold in range(halving.folds):
        chosen = best_of(halving, fold)
        held = halving.held_out(fold)
        folds.append(
            FoldChoice(chosen, score(chosen.outcomes, held), score(default.outcomes, held))
        )
    tables = [
        out_of_fold(folded, place, [one.chosen for one in folds])
        for place, folded in enumerate(halving.folded_tasks)
    ]
    defaults = [default.outcomes.table(place) for place in range(len(halving.folded_tasks))]
    gain = gain_between(halving.folded_tasks, tables, defaults, standard_errors, seed)
    best = best_of(halving, halving.all_items)
    everything = halving.masks(halving.all_items)
    best_gain = gain_of(best, default, halving.folded_tasks, everything, standard_errors, seed)
    chosen = best if gain.clear else default
    own = _scores(halving.folded_tasks, tables)
    base = [task_score(default.outcomes, i, mask) for i, mask in enumerate(everything)]
    names = [folded.task.name for folded in halving.folded_tasks]
    return Choice(
        chosen,
        best,
        default,
        best_gain,
        gain,
        float(np.mean(own)),
        float(np.mean(base)),
        tuple(folds),
        dict(zip(names, zip(own, base, strict=True), strict=True)),
    )


def best_of(halving: SuccessiveHalving, view: int) -> Trial:
    """Return what scores best in a view; of equals the first, and the default before all others."""
    return max(halving.fully_measured(view), key=lambda trial: trial.scores[view][-1])


def gain_of(
    one: Trial,
    other: Trial,
    folded_tasks: Sequence[FoldedTask],
    masks: Sequence[Mask],
    standard_errors: float,
    seed: int,
) -> Gain:
    """Return how much better one trial is than another on some groups."""
    mine = [one.outcomes.table(i)[mask] for i, mask in enumerate(masks)]
    theirs = [other.outcomes.table(i)[mask] for i, mask in enumerate(masks)]
    return gain_between(folded_tasks, mine, theirs, standard_errors, seed)


def interval_of(trial: Trial, seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of a trial's score on all items."""
    from plait.evaluation import bootstrap
    from plait.evaluation.metrics import metric

    folded_tasks = trial.outcomes.folded_tasks
    tables = [trial.outcomes.table(i)[:, None] for i in range(len(folded_tasks))]
    kind = metric(folded_tasks[0].task.metric)
    return bootstrap.interval(
        samples_of(folded_tasks, tables, seed),
        lambda scores: scores[..., 0],
        bounds=(kind.low, kind.high),
    )


def gain_between(
    folded_tasks: Sequence[FoldedTask],
    mine: Sequence[Floats],
    theirs: Sequence[Floats],
    standard_errors: float,
    seed: int,
) -> Gain:
    """Return how much better one set of tables is than another, group by group."""
    from plait.evaluation import bootstrap

    if all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True)):
        return Gain(0.0, 0.0, 0.0, False)
    tables = [np.stack([a, b], axis=1) for a, b in zip(mine, theirs, strict=True)]
    better = (
        bootstrap.as_difference(0, 1)
        if direction(folded_tasks) > 0
        else bootstrap.as_difference(1, 0)
    )
    found = bootstrap.deviations(samples_of(folded_tasks, tables, seed), better)
    confidence = NormalDist().cdf(standard_errors)
    return Gain(found.effect, found.lower(0.975), found.upper(0.975), found.lower(confidence) > 0)


def samples_of(
    folded_tasks: Sequence[FoldedTask], tables: Sequence[Floats], seed: int
) -> list[Sample]:
    """Draw the groups of every task again and again; tables are [groups, models, ...]."""
    from plait.evaluation import bootstrap
    from plait.evaluation.measures import Additive
    from plait.evaluation.metrics import metric
    from plait.evaluation.types import task_type

    found = []
    for folded, table in zip(folded_tasks, tables, strict=True):
        task = folded.task
        resolution = task_type(task.type).resolution(len(task.items), table, task.metric)
        measure = Additive(table, metric(task.metric), resolution)
        found.append(bootstrap.resample(measure, resamples=RESAMPLES, seed=seed, key=task.name))
    return found


def out_of_fold(folded: FoldedTask, place: int, chosen: Sequence[Trial]) -> Floats:
    """Return the counts of each group as the choice made without its fold has them."""
    made = chosen[0].outcomes.table(place).copy()
    for fold, trial in enumerate(chosen):
        inside = folded.folds == fold
        made[inside] = trial.outcomes.table(place)[inside]
    return made


def _scores(folded_tasks: Sequence[FoldedTask], tables: Sequence[Floats]) -> list[float]:
    from plait.evaluation.metrics import metric

    return [
        float(metric(folded.task.metric)(table.sum(axis=0)))
        for folded, table in zip(folded_tasks, tables, strict=True)
    ]
