# SPDX-License-Identifier: Apache-2.0
"""Distilled students: from the best merge, from the base, or from a smaller model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.errors import BadInput
from plait.evaluation.texts import load_texts
from plait.fusion.auto import recipes
from plait.fusion.auto.experiment import Experiment
from plait.fusion.auto.rows import mean_score
from plait.fusion.datasets import data_folder
from plait.fusion.forecast import ModelSize, model_size

FEWEST_TEXTS = 32
"""A student that would see fewer texts of a task is not taught."""


def teach_students(experiment: Experiment) -> str | None:
    """Teach each student what the members answer on the training split's texts, and measure it."""
    if experiment.facts.trainable is not None:
        return f"the task '{experiment.facts.trainable}' has no texts to teach on (split 'train')"
    students = _students(experiment)
    if not students:
        return "there is nothing that a student could start as: give 'base_model'"
    sizes = [_train_texts(experiment, spec.name) for spec in experiment.recipe.tasks]
    tried = False
    for name, student, size in students:
        tried |= _teach(experiment, name, student, size, sizes)
    return None if tried else "no student could be taught"


def _students(experiment: Experiment) -> list[tuple[str, str | Mapping[str, Any], ModelSize]]:
    """Return what may be taught, the most promising first: name, start, size."""
    found: list[tuple[str, str | Mapping[str, Any], ModelSize]] = []
    merged = [row for row in experiment.rows if row.level == "weights"]
    if merged:
        best = max(merged, key=lambda row: experiment.sign * mean_score(row, experiment.decks))
        size = experiment.facts.base_size or next(iter(experiment.facts.sizes.values()))
        start = {k: v for k, v in best.recipe.items() if k not in ("search",)}
        found.append((f"distilled, from {best.name}", start, size))
    elif experiment.facts.base is not None and experiment.facts.base_size is not None:
        base = str(experiment.facts.base)
        found.append(("distilled, from the base", base, experiment.facts.base_size))
    elif not experiment.facts.several:
        members = [row for row in experiment.rows if row.level == "members"]
        best = max(members, key=lambda row: experiment.sign * mean_score(row, experiment.decks))
        size = experiment.facts.sizes[best.name]
        found.append((f"distilled, from {best.name}", best.name, size))
    if experiment.facts.student is not None:
        student = experiment.facts.student
        found.append((f"distilled, from {student.name}", str(student), model_size(student)))
    return found


def _teach(
    experiment: Experiment,
    name: str,
    student: str | Mapping[str, Any],
    size: ModelSize,
    sizes: Sequence[int],
) -> bool:
    most = experiment.recipe.budget.bytes
    if most is not None and size.bytes > most:
        reason = f"it would have {size.bytes:,} bytes, above the budget of {most:,}"
        experiment.skip(name, "distillation", reason)
        return False
    ratio = size.work / experiment.facts.single
    members = len(experiment.facts.members)
    asked = 1 if all(m.tasks for m in experiment.facts.members) else members
    each = experiment.seconds * (asked + 3.5 * ratio * experiment.settings.epochs)
    limit = experiment.settings.texts_per_task
    after = experiment.seconds * experiment.items * ratio
    if experiment.cpu.budget is not None:
        fitting = int((0.85 * experiment.cpu.left - after) / max(each, 1e-9) / len(sizes))
        if fitting < min(FEWEST_TEXTS, *sizes):
            wanted = each * FEWEST_TEXTS * len(sizes) + after
            experiment.skip(name, "distillation", experiment.cpu.refuses(wanted) or "no time left")
            return False
        if fitting < max(sizes):
            limit = min(limit or fitting, fitting)
    data = recipes.distil(experiment.facts, experiment.recipe, experiment.settings, student, limit)
    try:
        result = experiment.fuse(data, f"distillation-{len(experiment.rows)}")
    except BadInput as error:
        experiment.skip(name, "distillation", error.message)
        return False
    tables, seconds = experiment.run(experiment.load(result.out))
    needed = "labelled training texts" if experiment.settings.labels else "unlabelled texts"
    row = experiment.row(name, data, result, needed, tables, seconds, "distillation")
    row.found = {"folder": str(result.out), "epochs": result.report["results"]["epochs"]}
    experiment.rows.append(row)
    return True


def _train_texts(experiment: Experiment, task: str) -> int:
    spec = next(spec for spec in experiment.recipe.tasks if spec.name == task)
    folder = data_folder(spec, experiment.recipe.folder)
    count = len(load_texts(spec, folder, experiment.recipe.splits.train))
    limit = experiment.settings.texts_per_task
    return count if limit is None else min(count, limit)
