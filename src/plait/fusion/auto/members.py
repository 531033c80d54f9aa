# SPDX-License-Identifier: Apache-2.0
"""Members alone, side by side, and averaged: what costs no more than asking each of them once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.fusion.auto import recipes
from plait.fusion.auto.contest import Contest
from plait.fusion.auto.facts import owners
from plait.fusion.auto.rows import Row
from plait.fusion.search.items import Floats


def measure_members(contest: Contest) -> str | None:
    """Measure every member: on all tasks, or each on its own where labels or heads differ."""
    return _separate(contest) if contest.facts.several else _alone(contest)


def _alone(contest: Contest) -> str | None:
    for number, member in enumerate(contest.facts.members):
        contest.tell("Measuring members", number, len(contest.facts.members))
        reason = contest.clock.refuses(contest.seconds * contest.items)
        if reason:
            contest.skip(member.name, "members", reason)
            continue
        predictor = _Listener(contest.load(member.folder))
        tables, seconds = contest.run(predictor)
        contest.answers[member.name] = (predictor.labels, np.concatenate(predictor.heard))
        contest.seconds = max(contest.seconds, seconds / contest.items)
        weight = contest.facts.weights[member.name]
        contest.rows.append(
            Row(
                member.name,
                "members",
                {"model": str(member.folder)},
                "none",
                tables,
                weight.bytes,
                weight.work / contest.facts.single,
                0.0,
                seconds,
            )
        )
    return None


def _separate(contest: Contest) -> str | None:
    """Measure every member on the tasks that it owns: all are kept, side by side."""
    tables: dict[str, Floats] = {}
    spent = 0.0
    for number, deck in enumerate(contest.decks):
        contest.tell("Measuring members", number, len(contest.decks))
        name = deck.task.name
        owner = next(iter(owners(contest.facts.members, name)), None)
        if owner is None:
            return f"no model owns the task '{name}': name it under 'tasks' of one"
        found, seconds = contest.run(contest.load(owner.folder), [deck])
        tables[name] = found[0]
        spent += seconds
    contest.seconds = spent / contest.items
    contest.rows.append(
        Row(
            "each task's own model",
            "members",
            {"models": [str(member.folder) for member in contest.facts.members]},
            "none",
            [tables[deck.task.name] for deck in contest.decks],
            sum(weight.bytes for weight in contest.facts.weights.values()),
            1.0,
            0.0,
            spent,
            usable="it is several models, to be called by task, not one",
        )
    )
    return None


def average_outputs(contest: Contest) -> str | None:
    """Measure ensembles from what the members answered: none is asked again."""
    if contest.facts.several:
        return "the tasks have labels or heads of their own: there is nothing to average"
    if len(contest.answers) < 2:
        return "fewer than two members were measured"
    if len(contest.answers) < len(contest.facts.members):
        return "the budget was too small to measure every member"
    from plait.fusion.outputs.choosing import fitter, out_of_fold
    from plait.fusion.outputs.items import gather
    from plait.fusion.outputs.options import parse
    from plait.fusion.outputs.run import Given

    labels = contest.answers[contest.facts.members[0].name][0]
    logs = []
    for member in contest.facts.members:
        own, found = contest.answers[member.name]
        places = {label.lower(): place for place, label in enumerate(own)}
        columns = [places[label.lower()] for label in labels]
        logs.append(found[:, columns].astype(np.float64))
    tasks = [deck.part(0, len(deck)) for deck in contest.decks]
    present = np.ones((len(logs[0]), len(logs)), dtype=bool)
    for name, weights in (
        ("average of outputs", "equal"),
        ("weighted outputs", "search"),
        ("stacking", "stacking"),
    ):
        contest.tell("Measuring ensembles", 0, 1)
        started = time.process_time()
        data = recipes.ensemble(contest.facts, contest.recipe, contest.settings, weights)
        outputs = gather(logs, present, tasks, labels, contest.settings.folds, contest.recipe.seed)
        fit = fitter(parse(data, Path()))
        _, answers, _ = out_of_fold(outputs, fit, contest.work.cancelled)
        tables, _ = contest.run(Given(labels, answers))
        contest.rows.append(
            Row(
                name,
                "outputs",
                data,
                "labelled validation items",
                tables,
                sum(weight.bytes for weight in contest.facts.weights.values()),
                sum(w.work for w in contest.facts.weights.values()) / contest.facts.single,
                time.process_time() - started + contest.seconds * contest.items * len(logs),
                contest.seconds * contest.items * len(logs),
            )
        )
    return None


class _Listener:
    """A predictor that keeps the logarithms of what it answered."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.labels: tuple[str, ...] = predictor.labels
        self.heard: list[Floats] = []

    def predict(self, samples: Sequence[Any], progress: Any = None) -> Any:
        """Return probabilities [samples, classes]."""
        logs = np.asarray(self._predictor.log_probabilities(samples, progress), dtype=np.float64)
        self.heard.append(logs)
        return np.exp(logs).astype(np.float32)
