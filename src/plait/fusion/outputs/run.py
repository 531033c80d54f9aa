# SPDX-License-Identifier: Apache-2.0
"""Running a recipe of an output ensemble: members run once, weights chosen, one model written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import BadInput, PlaitError
from plait.evaluation import Evaluation, Task, compare, evaluate, load_predictor
from plait.evaluation.index import write_card as write_results
from plait.fusion.datasets import lacking_split, load_tasks
from plait.fusion.outputs.calibration import log_loss
from plait.fusion.outputs.card import write_card
from plait.fusion.outputs.choosing import Fit, fitter, out_of_fold, shares
from plait.fusion.outputs.curve import PLOT, curve, plot
from plait.fusion.outputs.items import Floats, Outputs, combined, gather
from plait.fusion.outputs.members import (
    Member,
    answers,
    check_present,
    find_members,
    log_probabilities,
)
from plait.fusion.outputs.options import Settings, parse
from plait.fusion.outputs.saving import save
from plait.fusion.places import check_out, hash_folder, new_folder, write_report
from plait.fusion.results import FusionResult, Progress
from plait.fusion.software import software
from plait.fusion.weights.finite import refuse_unfinite

if TYPE_CHECKING:
    from plait.evaluation.tasks import Sample
    from plait.fusion.levels import Work

VERIFIED_ITEMS = 16
"""Items on which the written folder is run again, and must answer as it did in memory."""
TOLERANCE = 1e-4


def run(data: Mapping[str, Any], folder: Path, out: Path, work: Work) -> FusionResult:
    """Choose an ensemble's weights as a recipe says, and write it to the new folder `out`.

    Raises:
        BadInput: naming what is wrong with the recipe, a model or the data.
        Cancelled: if `work.cancelled` says so; nothing is left behind.
        MissingExtra: if torch, transformers, scipy or scikit-learn is not installed.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    settings = parse(data, folder)
    recipe = settings.recipe
    check_out(out, work.overwrite)
    members = find_members(settings, work.resolve)
    refuse_unfinite({member.name: member.folder for member in members})
    with new_folder(out, overwrite=work.overwrite) as place:
        tasks = _tasks(settings, recipe.splits.validation)
        outputs = _run_members(settings, members, tasks, work)
        fit, search, results = choose(settings, members, tasks, outputs, work)
        test, scores = _test(settings, members, fit, work)
        results |= test
        save(place, members, fit, settings.max_length)
        _verify_written(place, tasks, fit, outputs, work)
        if search.get("points") or search.get("curves"):
            (place / PLOT).write_text(plot(search), "utf-8")
        write_card(place, settings, members, fit, search, results)
        if scores is not None:
            write_results(place, scores, recipe.tasks, name="Output ensemble")
        inputs = {member.name: hash_folder(member.folder) for member in members}
        hashes = hash_folder(place)
        report = {"search": search, "results": results}
        write_report(
            place,
            {
                "schema": 1,
                "recipe": dict(data),
                "inputs": inputs,
                "outputs": hashes,
                "software": software("torch", "transformers", "numpy", "scipy", "scikit-learn"),
            }
            | report,
        )
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return FusionResult(
        out,
        inputs,
        hashes,
        time.monotonic() - started,
        time.process_time() - cpu_started,
        size,
        report=report,
    )


def choose(
    settings: Settings,
    members: Sequence[Member],
    tasks: Sequence[Task],
    outputs: Outputs,
    work: Work,
) -> tuple[Fit, dict[str, Any], dict[str, Any]]:
    """Choose temperatures and weights on validation items, and say how well that went.

    Returns:
        The choice on all items; the report of the search; and the scores outside the folds.
    """
    fit = fitter(settings)
    fits, logs, ready = out_of_fold(outputs, fit, work.cancelled, _stage(work, "choosing weights"))
    chosen = fit(outputs)
    equal = np.full(len(members), 1 / len(members))
    kind = "probabilities" if settings.combine == "stacking" else settings.combine
    labels, split = members[0].labels, settings.recipe.splits.validation

    def scored(values: Floats) -> Evaluation:
        return evaluate(FixedAnswers(labels, values), tasks, split)

    ensemble = scored(logs)
    default = scored(combined(ready, equal, kind))
    alone = {
        member.name: scored(np.where(there[:, None], rows, -np.log(len(labels))))
        for member, rows, there in zip(members, outputs.logs, outputs.present.T, strict=True)
    }
    best = max(alone, key=lambda name: alone[name].average)
    search: dict[str, Any] = {
        "parameter": "alpha" if len(members) == 2 else "weights",
        "members": [member.name for member in members],
        "combine": chosen.kind,
        "split": split,
        "metrics": sorted(set(outputs.metrics)),
        "items": len(outputs),
        "documents": int(outputs.groups.max() + 1),
        "rule": chosen.rule,
        "rules": chosen.tried,
        "temperatures": _temperatures(members, outputs, chosen),
        "out_of_fold": {
            "score": ensemble.average,
            "interval": list(ensemble.average_interval),
            "equal_weights": default.average,
            "members": {name: found.average for name, found in alone.items()},
            "folds": [
                {"rule": f.rule, "weights": w} for f, w in zip(fits, shares(fits), strict=True)
            ],
        },
        "gain": _gain("equal weights", ensemble, default),
        "gain_over_best_member": _gain(best, ensemble, alone[best]),
    }
    if settings.combine != "stacking":
        search |= {"weights": chosen.weights.tolist()}
        search |= {"chosen": chosen.weights.tolist(), "default": equal.tolist()}
        if chosen.weights.ndim == 1:
            search |= _curves(settings, members, ready, chosen.weights)
    results = {
        "validation": {
            "out_of_fold": ensemble.to_json(items=False),
            "members": {name: found.to_json(items=False) for name, found in alone.items()},
        }
    }
    return chosen, search, results


def _curves(
    settings: Settings, members: Sequence[Member], ready: Outputs, weights: Floats
) -> dict[str, Any]:
    if len(members) == 2:
        name = f"alpha (share of {members[0].name})"
        found = curve(ready, settings.combine, weights, 0, settings.grid, name)
        return found | {"parameter": "alpha", "axis": name}
    return {
        "curves": [
            curve(ready, settings.combine, weights, i, settings.grid, f"share of {member.name}")
            for i, member in enumerate(members)
        ]
    }


def _temperatures(members: Sequence[Member], outputs: Outputs, fit: Fit) -> dict[str, Any]:
    """Return each member's temperature, and its log loss on the items before and after."""
    after = outputs.calibrated(fit.temperatures)
    found = {}
    for place, member in enumerate(members):
        here = outputs.present[:, place]
        labels = outputs.labels[here]
        found[member.name] = {
            "temperature": float(fit.temperatures[place]),
            "log_loss": log_loss(outputs.logs[place][here], labels),
            "calibrated": log_loss(after.logs[place][here], labels),
        }
    return found


def _gain(over: str, one: Evaluation, other: Evaluation) -> dict[str, Any]:
    found = compare(one, other).average
    return {"over": over, "effect": found.effect, "low": found.low, "high": found.high}


def _tasks(settings: Settings, split: str) -> list[Task]:
    tasks = load_tasks(settings.recipe.tasks, settings.recipe.folder, split)
    if settings.metric is None:
        return tasks
    return [replace(task, metric=settings.metric) for task in tasks]


def _run_members(
    settings: Settings, members: Sequence[Member], tasks: Sequence[Task], work: Work
) -> Outputs:
    """Run every member on the tasks' items, one after the other."""
    logs, present = _answers(settings, members, tasks, work)
    recipe = settings.recipe
    return gather(logs, present, tasks, members[0].labels, settings.folds, recipe.seed)


def _answers(
    settings: Settings, members: Sequence[Member], tasks: Sequence[Task], work: Work
) -> tuple[list[Floats], Any]:
    logs, there = [], []
    for member in members:
        step = _stage(work, f"running {member.name}")
        found = answers(member, tasks, settings.max_length, work.threads, step, work.cancelled)
        logs.append(found[0])
        there.append(found[1])
    present = np.stack(there, axis=1)
    check_present(present, tasks, members)
    return logs, present


def _test(
    settings: Settings, members: Sequence[Member], fit: Fit, work: Work
) -> tuple[dict[str, Any], Evaluation | None]:
    """Score members and ensemble on the test items, where every task has some.

    Everything is chosen by now.
    """
    recipe = settings.recipe
    split = recipe.splits.test
    if split is None or lacking_split(recipe.tasks, recipe.folder, split) is not None:
        return {}, None
    tasks = _tasks(settings, split)
    logs, present = _answers(settings, members, tasks, work)
    outputs = gather(logs, present, tasks, members[0].labels, 1, recipe.seed)
    labels = members[0].labels
    kind = "probabilities" if settings.combine == "stacking" else settings.combine
    equal = np.full(len(members), 1 / len(members))
    values = {
        member.name: np.where(there[:, None], rows, -np.log(len(labels)))
        for member, rows, there in zip(members, outputs.logs, outputs.present.T, strict=True)
    }
    found = {
        name: evaluate(FixedAnswers(labels, rows), tasks, split) for name, rows in values.items()
    }
    ready = outputs.calibrated(fit.temperatures)
    ensemble = evaluate(FixedAnswers(labels, fit.predict(outputs)), tasks, split)
    default = evaluate(FixedAnswers(labels, combined(ready, equal, kind)), tasks, split)
    best = max(found, key=lambda name: found[name].average)
    report = {
        "test": ensemble.to_json(items=False)
        | {
            "members": {name: one.to_json(items=False) for name, one in found.items()},
            "equal_weights": default.to_json(items=False),
            "gain": _gain("equal weights", ensemble, default),
            "gain_over_best_member": _gain(best, ensemble, found[best]),
        }
    }
    return report, ensemble


class FixedAnswers:
    """Answers that are there already, as a predictor."""

    def __init__(self, labels: tuple[str, ...], logs: Floats) -> None:
        self.labels = labels
        self._logs = logs

    def predict(self, samples: Sequence[Sample], progress: Any = None) -> Any:
        """Return probabilities [samples, classes]."""
        assert len(samples) == len(self._logs), "the items that were asked about"
        return np.exp(self._logs).astype(np.float32)


def _verify_written(
    place: Path, tasks: Sequence[Task], fit: Fit, outputs: Outputs, work: Work
) -> None:
    """Refuse to hand out a folder that does not answer as the members did.

    Raises:
        PlaitError: if it does not.
    """
    samples = [item.sample for task in tasks for item in task.items]
    chosen = np.unique(np.linspace(0, len(samples) - 1, VERIFIED_ITEMS).round().astype(int))
    mask = np.zeros(len(samples), dtype=bool)
    mask[chosen] = True
    predictor = load_predictor(place, threads=work.threads)
    try:
        made = log_probabilities(predictor, [samples[i] for i in chosen])
    except BadInput as error:
        raise PlaitError(f"The ensemble cannot be run as it was written: {error}") from error
    apart = float(np.abs(np.exp(made) - np.exp(fit.predict(outputs.rows(mask)))).max())
    if apart > TOLERANCE:
        raise PlaitError(
            f"The ensemble as it was written answers differently from its members (by {apart:.2g} "
            "in a probability); one of the models has a tokenizer or weights that transformers "
            "does not save as it reads them."
        )


def _stage(work: Work, stage: str) -> Any:
    if work.progress is None:
        return None
    tell = work.progress
    return lambda done, total: tell(Progress(stage, done, total))
