# SPDX-License-Identifier: Apache-2.0
"""What a search found, as plain values and as a picture: both lie in the fused model's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.fusion.search.choosing import Choice, Gain, interval_of
from plait.fusion.search.folds import FoldedTask, Mask, score
from plait.fusion.search.space import Space
from plait.fusion.search.successive_halving import SuccessiveHalving, Trial
from plait.recipes.fusion import FusionRecipe, dump_recipe
from plait.recipes.search import Range, dump_search

DIGITS = 6


def describe(
    space: Space, halving: SuccessiveHalving, choice: Choice, split: str, recipe: FusionRecipe
) -> dict[str, Any]:
    """Return all that was measured, what was chosen and why, and the honest gain."""
    trials = list(halving.trials.values())
    points = [_point(space, halving, trial) for trial in trials]
    chosen, default = trials.index(choice.chosen), trials.index(choice.default)
    best = trials.index(choice.best)
    return {
        "split": split,
        "metric": ", ".join(sorted({folded.task.metric for folded in halving.folded_tasks})),
        "tasks": [_task(folded, choice) for folded in halving.folded_tasks],
        "asked": dump_search(space.spec),
        "points": points,
        "curves": _curves(space, points, chosen, default, choice),
        "default": default,
        "best": best,
        "chosen": chosen,
        "gain": _gain(choice.gain) | {"measured": "out of fold"},
        "gain_in_sample": _gain(choice.best_gain) | {"measured": "on the items chosen on"},
        "out_of_fold": {
            "score": _round(choice.score),
            "default": _round(choice.default_score),
            "folds": [
                {
                    "chosen": trials.index(fold.chosen),
                    "score": _round(fold.score),
                    "default": _round(fold.default),
                }
                for fold in choice.folds
            ],
        },
        "reason": reason(space, choice),
        "work": {
            "candidates": len(trials),
            "items": halving.items,
            "of": len(trials) * sum(len(folded.task.items) for folded in halving.folded_tasks),
        },
        "recipe": dump_recipe(recipe),
    }


def reason(space: Space, choice: Choice) -> str:
    """Say in a sentence why the point was chosen."""
    gain = choice.gain
    measured = (
        f"{points_of(gain.effect)} points out of fold, 95% interval {points_of(gain.low)} to "
        f"{points_of(gain.high)}"
    )
    many = f"{space.spec.standard_errors:g} standard error"
    many += "" if space.spec.standard_errors == 1 else "s"
    if choice.chosen is not choice.default:
        return f"Choosing beats the default by more than {many}: {measured}."
    if choice.best is choice.default:
        return "Nothing that was tried scores higher than the default."
    return (
        f"The best point looks {points_of(choice.best_gain.effect)} points better on the items it "
        f"was chosen on, but less than {many} better on items that the choice did not see "
        f"({measured}); the default is kept."
    )


def points_of(value: float) -> str:
    """Write a difference of scores in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _point(space: Space, halving: SuccessiveHalving, trial: Trial) -> dict[str, Any]:
    view = halving.all_items
    measured = [0 if table is None else len(table) for table in trial.outcomes.tables]
    items = sum(
        len(group)
        for folded, count in zip(halving.folded_tasks, measured, strict=True)
        for group in folded.items[:count]
    )
    whole = all(
        count == len(folded) for count, folded in zip(measured, halving.folded_tasks, strict=True)
    )
    low, high = interval_of(trial) if whole else (None, None)
    return {
        "method": trial.candidate.method,
        "parameters": space.describe(trial.candidate),
        "score": _round(score(trial.outcomes, halving.masks(view), measured)),
        "low": None if low is None else _round(low),
        "high": None if high is None else _round(high),
        "folds": _fold_scores(halving, trial) if whole else [],
        "items": items,
        "whole": whole,
    }


def _fold_scores(halving: SuccessiveHalving, trial: Trial) -> list[float]:
    held: list[Sequence[Mask]] = [halving.held_out(fold) for fold in range(halving.folds)]
    return [_round(score(trial.outcomes, masks)) for masks in held]


def _curves(
    space: Space,
    points: Sequence[Mapping[str, Any]],
    chosen: int,
    default: int,
    choice: Choice,
) -> list[dict[str, Any]]:
    """Return, for each number that varies, its values with the scores of the points that had it."""
    curves = []
    for method, dimensions in space.dimensions.items():
        for one in dimensions:
            if not isinstance(one.varies, Range):
                continue
            rows = sorted(
                (
                    {
                        "value": point["parameters"][one.key],
                        **{key: point[key] for key in ("score", "low", "high", "folds", "items")},
                    }
                    for point in points
                    if point["method"] == method and one.key in point["parameters"]
                ),
                key=lambda row: (row["value"], row["score"]),
            )
            curves.append(
                {
                    "method": method,
                    "parameter": one.key,
                    "points": rows,
                    "chosen": _value(points[chosen], method, one.key),
                    "default": _value(points[default], method, one.key),
                    "gain": _gain(choice.gain),
                    "alone": len(dimensions) == 1,
                }
            )
    return curves


def _value(point: Mapping[str, Any], method: str, key: str) -> Any:
    return point["parameters"].get(key) if point["method"] == method else None


def _task(folded: FoldedTask, choice: Choice) -> dict[str, Any]:
    own, default = choice.tasks[folded.task.name]
    return {
        "name": folded.task.name,
        "metric": folded.task.metric,
        "items": len(folded.task.items),
        "groups": len(folded),
        "score": _round(own),
        "default": _round(default),
    }


def _gain(gain: Gain) -> dict[str, Any]:
    return {
        "effect": _round(gain.effect),
        "low": _round(gain.low),
        "high": _round(gain.high),
        "clear": gain.clear,
    }


def _round(value: float) -> float:
    return round(float(value), DIGITS)
