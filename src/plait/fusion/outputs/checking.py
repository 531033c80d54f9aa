# SPDX-License-Identifier: Apache-2.0
"""Whether a recipe of an output ensemble can be run, before any model is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.evaluation.results import class_of_labels
from plait.evaluation.tasks import Task
from plait.fusion.datasets import lacking_split, load_tasks
from plait.fusion.outputs.members import Seat, find_members
from plait.fusion.outputs.options import Settings, parse
from plait.fusion.weights.check import CheckReport, Cost, ModelFacts
from plait.fusion.weights.licences import licence_notes, licence_of
from plait.fusion.weights.opening import Resolver
from plait.fusion.weights.safetensors import read_header
from plait.fusion.weights.vocabulary import read_vocabulary

_RUNTIME = 400_000_000
"""Bytes that torch and transformers take by themselves."""
_RATE = 2e9
"""Multiplications and additions in a CPU-second: a careful guess."""


def check(data: Mapping[str, Any], folder: Path, resolve: Resolver | None) -> CheckReport:
    """Say whether a recipe's models make an ensemble, what it costs, and what does not fit.

    Raises:
        BadInput: if the recipe cannot be read.
    """
    settings = parse(data, folder)
    report = CheckReport(settings.recipe.method)
    try:
        seats = find_members(settings, resolve)
    except BadInput as error:
        report.problems.append(error.message)
        if "same labels" in error.message:
            report.instead = "distillation: teach one model the tasks of all, each with its head"
        return report
    report.models = [_facts(seat) for seat in seats]
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    tasks = _tasks(settings, seats, report)
    _vocabularies(seats, report)
    report.tensors = sum(len(_entries(seat)) for seat in seats)
    report.cost = _cost(settings, seats, report.models, tasks)
    return report


def _tasks(settings: Settings, seats: Sequence[Seat], report: CheckReport) -> list[Task]:
    recipe = settings.recipe
    try:
        tasks = load_tasks(recipe.tasks, recipe.folder, recipe.splits.validation)
        for task in tasks:
            class_of_labels(task, seats[0].labels)
    except BadInput as error:
        report.problems.append(error.message)
        return []
    for task in tasks:
        groups = len({item.group for item in task.items})
        if groups < settings.folds:
            report.problems.append(
                f"Task '{task.name}' has {groups} documents on '{recipe.splits.validation}', too "
                f"few for {settings.folds} folds."
            )
        elif groups < 50:
            report.notes.append(
                f"Task '{task.name}' has {groups} documents on '{recipe.splits.validation}': "
                "weights chosen on so few may do no better than equal ones."
            )
    samples = [item for task in tasks for item in task.items]
    for seat in seats:
        if seat.kind == "image" and not any(item.image for item in samples):
            report.problems.append(
                f"'{seat.name}' reads images, but no task names the column of the data set that "
                "holds them ('columns: {image: …}')."
            )
        if seat.kind == "text" and not any(item.text for item in samples):
            report.problems.append(f"'{seat.name}' reads texts, but no task has any.")
    test = recipe.splits.test
    lacking = None if test is None else lacking_split(recipe.tasks, recipe.folder, test)
    if lacking is not None:
        report.notes.append(
            f"Task '{lacking}' has no split '{test}': the ensemble is not scored on "
            "items that nothing was chosen on."
        )
    return tasks


def _vocabularies(seats: Sequence[Seat], report: CheckReport) -> None:
    """Say whether members that read texts share a tokenizer."""
    found = {}
    for seat in seats:
        vocabulary = read_vocabulary(seat.folder) if seat.kind == "text" else None
        if vocabulary is not None:
            found[seat.name] = vocabulary.tokens
    first = next(iter(found.values()), None)
    different = [name for name, tokens in found.items() if tokens != first]
    if different:
        report.notes.append(
            f"'{next(iter(found))}' and '{different[0]}' have different tokenizers: the ensemble "
            "has a tokenizer of its own that gives the inputs of each."
        )


def _facts(seat: Seat) -> ModelFacts:
    entries = _entries(seat)
    vocabulary = read_vocabulary(seat.folder) if seat.kind == "text" else None
    names = seat.config.get("architectures")
    layers = seat.config.get("num_hidden_layers")
    return ModelFacts(
        reference=seat.name,
        architecture=names[0] if isinstance(names, list) and names else seat.config["model_type"],
        parameters=sum(e.size for e in entries),
        bytes=seat.bytes,
        formats=tuple(sorted({e.kind for e in entries})),
        layers=layers if isinstance(layers, int) else 0,
        vocabulary=len(vocabulary.tokens) if vocabulary else None,
        tied=False,
        licence=licence_of(seat.folder),
    )


def _entries(seat: Seat) -> list[Any]:
    return [e for f in sorted(seat.folder.glob("*.safetensors")) for e in read_header(f).values()]


def _cost(
    settings: Settings, seats: Sequence[Seat], models: Sequence[ModelFacts], tasks: Sequence[Task]
) -> Cost:
    """Reckon what running every member on the items takes; the whole ensemble is run at the end."""
    items = sum(len(task.items) for task in tasks)
    tokens = sum(
        min(settings.max_length, math.ceil(len(item.text) / 4))
        for task in tasks
        for item in task.items
    )
    work = 0.0
    for model, seat in zip(models, seats, strict=True):
        width = seat.config.get("hidden_size") or 0
        table = (model.vocabulary or 0) * (width if isinstance(width, int) else 0)
        read = tokens if seat.kind == "text" else 200 * items
        work += 2 * max(0, model.parameters - table) * read
    size = sum(seat.bytes for seat in seats)
    whole = 4 * sum(model.parameters for model in models)
    return Cost(
        read_bytes=2 * size,
        output_bytes=size,
        memory_bytes=_RUNTIME + whole + 8 * items * len(seats) * len(seats[0].labels),
        cpu_seconds=work / _RATE / 2 + size / 5e8 + 5,
    )
