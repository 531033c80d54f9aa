# SPDX-License-Identifier: Apache-2.0
"""Members alone, side by side, and averaged: what costs no more than asking each of them once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.fusion.auto import recipes
from plait.fusion.auto.experiment import Experiment
from plait.fusion.auto.facts import owners
from plait.fusion.auto.rows import Row
from plait.fusion.search.folds import Floats


def measure_members(experiment: Experiment) -> str | None:
    """Measure every member: on all tasks, or each on its own where labels or heads differ."""
    return _separate(experiment) if experiment.facts.several else _alone(experiment)


def _alone(experiment: Experiment) -> str | None:
    for number, member in enumerate(experiment.facts.members):
        experiment.tell("Measuring members", number, len(experiment.facts.members))
        reason = experiment.cpu.refuses(experiment.seconds * experiment.items)
        if reason:
            experiment.skip(member.name, "members", reason)
            continue
        predictor = _Recorder(experiment.load(member.folder))
        tables, seconds = experiment.run(predictor)
        experiment.answers[member.name] = (predictor.labels, np.concatenate(predictor.recorded))
        experiment.seconds = max(experiment.seconds, seconds / experiment.items)
        size = experiment.facts.sizes[member.name]
        experiment.rows.append(
            Row(
                member.name,
                "members",
                {"model": str(member.folder)},
                "none",
                tables,
                size.bytes,
                size.work / experiment.facts.single,
                0.0,
                seconds,
            )
        )
    return None


def _separate(experiment: Experiment) -> str | None:
    """Measure every member on the tasks that it owns: all are kept, side by side."""
    tables: dict[str, Floats] = {}
    spent = 0.0
    for number, deck in enumerate(experiment.decks):
        experiment.tell("Measuring members", number, len(experiment.decks))
        name = deck.task.name
        owner = next(iter(owners(experiment.facts.members, name)), None)
        if owner is None:
            return f"no model owns the task '{name}': name it under 'tasks' of one"
        found, seconds = experiment.run(experiment.load(owner.folder), [deck])
        tables[name] = found[0]
        spent += seconds
    experiment.seconds = spent / experiment.items
    experiment.rows.append(
        Row(
            "each task's own model",
            "members",
            {"models": [str(member.folder) for member in experiment.facts.members]},
            "none",
            [tables[deck.task.name] for deck in experiment.decks],
            sum(size.bytes for size in experiment.facts.sizes.values()),
            1.0,
            0.0,
            spent,
            usable="it is several models, to be called by task, not one",
        )
    )
    return None


def average_outputs(experiment: Experiment) -> str | None:
    """Measure ensembles from what the members answered: none is asked again."""
    if experiment.facts.several:
        return "the tasks have labels or heads of their own: there is nothing to average"
    if len(experiment.answers) < 2:
        return "fewer than two members were measured"
    if len(experiment.answers) < len(experiment.facts.members):
        return "the budget was too small to measure every member"
    from plait.fusion.outputs.choosing import fitter, out_of_fold
    from plait.fusion.outputs.items import gather
    from plait.fusion.outputs.options import parse
    from plait.fusion.outputs.run import FixedAnswers

    labels = experiment.answers[experiment.facts.members[0].name][0]
    logs = []
    for member in experiment.facts.members:
        own, found = experiment.answers[member.name]
        places = {label.lower(): place for place, label in enumerate(own)}
        columns = [places[label.lower()] for label in labels]
        logs.append(found[:, columns].astype(np.float64))
    tasks = [deck.part(0, len(deck)) for deck in experiment.decks]
    present = np.ones((len(logs[0]), len(logs)), dtype=bool)
    for name, weights in (
        ("average of outputs", "equal"),
        ("weighted outputs", "search"),
        ("stacking", "stacking"),
    ):
        experiment.tell("Measuring ensembles", 0, 1)
        started = time.process_time()
        data = recipes.ensemble(experiment.facts, experiment.recipe, experiment.settings, weights)
        outputs = gather(
            logs, present, tasks, labels, experiment.settings.folds, experiment.recipe.seed
        )
        fit = fitter(parse(data, Path()))
        _, answers, _ = out_of_fold(outputs, fit, experiment.work.cancelled)
        tables, _ = experiment.run(FixedAnswers(labels, answers))
        experiment.rows.append(
            Row(
                name,
                "outputs",
                data,
                "labelled validation items",
                tables,
                sum(size.bytes for size in experiment.facts.sizes.values()),
                sum(w.work for w in experiment.facts.sizes.values()) / experiment.facts.single,
                time.process_time() - started + experiment.seconds * experiment.items * len(logs),
                experiment.seconds * experiment.items * len(logs),
            )
        )
    return None


class _Recorder:
    """A predictor that keeps the logarithms of what it answered."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.labels: tuple[str, ...] = predictor.labels
        self.recorded: list[Floats] = []

    def predict(self, samples: Sequence[Any], progress: Any = None) -> Any:
        """Return probabilities [samples, classes]."""
        logs = np.asarray(self._predictor.log_probabilities(samples, progress), dtype=np.float64)
        self.recorded.append(logs)
        return np.exp(logs).astype(np.float32)
