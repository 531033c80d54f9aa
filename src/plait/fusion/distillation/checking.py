# SPDX-License-Identifier: Apache-2.0
"""Whether a recipe's teachers can teach its student, and what that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.alternatives import instead_of, read_models
from plait.fusion.datasets import lacking_split, load_tasks, model_folder
from plait.fusion.distillation.options import Settings, parse
from plait.fusion.distillation.teachers import (
    Teacher,
    check_owners,
    find_teachers,
    several_heads,
)
from plait.fusion.distillation.transfer_set import Example, gather
from plait.fusion.forecast import (
    RUNTIME,
    STARTING,
    TRAINING,
    ModelSize,
    folder_facts,
    folder_tensors,
    model_size,
    seconds,
    task_tokens,
    tokens_of,
    training_memory,
)
from plait.fusion.weights.check import CheckReport, Cost, ModelFacts
from plait.fusion.weights.finite import refused_folders
from plait.fusion.weights.licences import licence_notes, licence_of
from plait.fusion.weights.opening import Resolver
from plait.recipes.levels import LevelRecipe


def check(data: Mapping[str, Any], folder: Path, resolve: Resolver | None) -> CheckReport:
    """Say whether a recipe's teachers can teach its student, what it costs, and what does not fit.

    Raises:
        BadInput: if the recipe cannot be read or a model not be found.
    """
    recipe, settings = parse(data, folder)
    report = CheckReport(recipe.method)
    folders = [model_folder(m.model, folder, resolve) for m in recipe.models]
    report.notes += licence_notes(
        {m.name: licence_of(f) for m, f in zip(recipe.models, folders, strict=True)}
    )
    try:
        teachers = find_teachers(recipe, settings.owned, resolve)
    except BadInput as error:
        report.problems.append(error.message)
        report.instead = instead_of("distillation", read_models(folders))
        return report
    report.models = [folder_facts(t.name, t.folder) for t in teachers]
    report.problems += refused_folders({t.name: t.folder for t in teachers}).values()
    try:
        several = several_heads(teachers)
        apart = several or settings.teacher_weights == "task"
        if apart:
            check_owners(teachers, [spec.name for spec in recipe.tasks], several)
        start = _start(recipe, settings, teachers, resolve)
        examples = gather(recipe, settings, None if several else "")
    except BadInput as error:
        report.problems.append(error.message)
        return report
    if start is None:
        report.notes.append(
            "The student starts as a merge, which is made first; it is taken to be as large as "
            f"'{teachers[0].name}'."
        )
    elif not any(start == teacher.folder for teacher in teachers):
        report.models.append(folder_facts(str(settings.student), start))
    origin = start or teachers[0].folder
    report.tensors = len(folder_tensors(origin))
    report.cost = _cost(recipe, settings, teachers, origin, examples, apart, report.models)
    if lacking_split(recipe.tasks, recipe.folder, recipe.splits.validation):
        report.notes.append(
            f"There is no labelled split '{recipe.splits.validation}' for every task: texts are "
            "held out to see when to stop."
        )
    return report


def _start(
    recipe: LevelRecipe,
    settings: Settings,
    teachers: Sequence[Teacher],
    resolve: Resolver | None,
) -> Path | None:
    """Return the folder of what the student starts as; None for a merge that is made first."""
    if not isinstance(settings.student, str):
        return None
    member = next((t for t in teachers if t.name == settings.student), None)
    return member.folder if member else model_folder(settings.student, recipe.folder, resolve)


def _cost(
    recipe: LevelRecipe,
    settings: Settings,
    teachers: Sequence[Teacher],
    origin: Path,
    examples: Sequence[Example],
    apart: bool,
    models: Sequence[ModelFacts],
) -> Cost:
    """Reckon teachers that answer once, and a student that learns every epoch and is scored."""
    length = settings.max_length
    sizes = {t.name: model_size(t.folder) for t in teachers}
    student = model_size(origin)
    texts = dict.fromkeys((*(e.task for e in examples), *(t.name for t in recipe.tasks)), 0)
    for example in examples:
        texts[example.task] += tokens_of([example.text], length)
    split = recipe.splits.validation
    held = 0
    if recipe.tasks and not lacking_split(recipe.tasks, recipe.folder, split):
        held = task_tokens(load_tasks(recipe.tasks, recipe.folder, split), length)
    learnt = sum(texts.values())
    spent = TRAINING * settings.epochs * seconds(student.work, learnt)
    if settings.stop_by == "validation":
        spent += (settings.epochs + 1) * seconds(student.work, held)
    for teacher in teachers:
        read = sum(n for task, n in texts.items() if task in teacher.tasks) if apart else learnt
        rounds = 2 if settings.hidden > 0 else 1  # answers, then the states inside
        spent += rounds * seconds(sizes[teacher.name].work, read)
        if settings.teacher_weights == "validation":
            spent += seconds(sizes[teacher.name].work, held)
        if recipe.splits.test is not None:  # taken to be as large as the validation split
            share = len(teacher.tasks) / max(len(recipe.tasks), 1) if apart else 1
            spent += seconds(sizes[teacher.name].work, held * share)
    if recipe.splits.test is not None:
        spent += seconds(student.work, held)
    size = sum(one.bytes for one in sizes.values())
    return Cost(
        read_bytes=size + student.bytes,
        output_bytes=student.bytes,
        memory_bytes=RUNTIME
        + memory(
            origin,
            list(sizes.values()),
            batch=settings.batch_size,
            tokens=learnt / max(len(examples), 1),
        ),
        cpu_seconds=spent + (size + student.bytes) / 5e8 + STARTING,
    )


def memory(student: Path, teachers: Sequence[ModelSize], *, batch: int, tokens: float) -> int:
    """Return the bytes of a student in training, or before that of it and the largest teacher."""
    largest = max((one.parameters for one in teachers), default=0)
    asked = 4 * (model_size(student).parameters + largest)
    return round(max(asked, training_memory(student, batch=batch, tokens=tokens)))
