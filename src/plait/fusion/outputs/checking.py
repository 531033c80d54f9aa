# SPDX-License-Identifier: Apache-2.0
"""Whether a recipe of an output ensemble can be run, before any model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.evaluation.results import class_of_labels
from plait.evaluation.tasks import Task
from plait.fusion.alternatives import instead_of, read_models
from plait.fusion.datasets import lacking_split, load_tasks, model_folder
from plait.fusion.forecast import (
    RUNTIME,
    STARTING,
    folder_facts,
    folder_tensors,
    seconds,
    task_tokens,
)
from plait.fusion.outputs.members import Member, find_members
from plait.fusion.outputs.options import Settings, parse
from plait.fusion.weights.check import CheckReport, Cost, ModelFacts
from plait.fusion.weights.finite import refused_folders
from plait.fusion.weights.licences import licence_notes
from plait.fusion.weights.opening import Resolver
from plait.fusion.weights.vocabulary import read_vocabulary


def check(data: Mapping[str, Any], folder: Path, resolve: Resolver | None) -> CheckReport:
    """Say whether a recipe's models make an ensemble, what it costs, and what does not fit.

    Raises:
        BadInput: if the recipe cannot be read.
    """
    settings = parse(data, folder)
    report = CheckReport(settings.recipe.method)
    try:
        members = find_members(settings, resolve)
    except BadInput as error:
        report.problems.append(error.message)
        folders = [model_folder(m.model, folder, resolve) for m in settings.recipe.models]
        report.instead = instead_of("outputs", read_models(folders))
        return report
    report.models = [folder_facts(m.name, m.folder, reads_text=m.kind == "text") for m in members]
    report.problems += refused_folders({m.name: m.folder for m in members}).values()
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    tasks = _tasks(settings, members, report)
    _vocabularies(members, report)
    report.tensors = sum(len(folder_tensors(member.folder)) for member in members)
    report.cost = _cost(settings, members, report.models, tasks)
    return report


def _tasks(settings: Settings, members: Sequence[Member], report: CheckReport) -> list[Task]:
    recipe = settings.recipe
    try:
        tasks = load_tasks(recipe.tasks, recipe.folder, recipe.splits.validation)
        for task in tasks:
            class_of_labels(task, members[0].labels)
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
    for member in members:
        if member.kind == "image" and not any(item.image for item in samples):
            report.problems.append(
                f"'{member.name}' reads images, but no task names the column of the data set that "
                "holds them ('columns: {image: …}')."
            )
        if member.kind == "text" and not any(item.text for item in samples):
            report.problems.append(f"'{member.name}' reads texts, but no task has any.")
    test = recipe.splits.test
    lacking = None if test is None else lacking_split(recipe.tasks, recipe.folder, test)
    if lacking is not None:
        report.notes.append(
            f"Task '{lacking}' has no split '{test}': the ensemble is not scored on "
            "items that nothing was chosen on."
        )
    return tasks


def _vocabularies(members: Sequence[Member], report: CheckReport) -> None:
    """Say whether members that read texts share a tokenizer."""
    found = {}
    for member in members:
        vocabulary = read_vocabulary(member.folder) if member.kind == "text" else None
        if vocabulary is not None:
            found[member.name] = vocabulary.tokens
    first = next(iter(found.values()), None)
    different = [name for name, tokens in found.items() if tokens != first]
    if different:
        report.notes.append(
            f"'{next(iter(found))}' and '{different[0]}' have different tokenizers: the ensemble "
            "has a tokenizer of its own that gives the inputs of each."
        )


def _cost(
    settings: Settings,
    members: Sequence[Member],
    models: Sequence[ModelFacts],
    tasks: Sequence[Task],
) -> Cost:
    """Reckon what running every member takes; the test split is taken to be as large."""
    items = sum(len(task.items) for task in tasks)
    tokens = task_tokens(tasks, settings.max_length)
    work = 0.0
    for model, member in zip(models, members, strict=True):
        width = member.config.get("hidden_size") or 0
        table = (model.vocabulary or 0) * (width if isinstance(width, int) else 0)
        read = tokens if member.kind == "text" else 200 * items
        work += seconds(max(0, model.parameters - table), read)
    splits = 1 if settings.recipe.splits.test is None else 2
    size = sum(member.bytes for member in members)
    whole = 4 * sum(model.parameters for model in models)
    return Cost(
        read_bytes=2 * size,
        output_bytes=size,
        memory_bytes=RUNTIME + whole + 8 * items * len(members) * len(members[0].labels),
        cpu_seconds=splits * work + size / 5e8 + STARTING,
    )
