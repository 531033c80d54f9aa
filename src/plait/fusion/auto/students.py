# SPDX-License-Identifier: Apache-2.0
"""Distilled students: from the best merge, from the base, or from a smaller model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.errors import BadInput
from plait.evaluation.texts import load_texts
from plait.fusion.auto import recipes
from plait.fusion.auto.contest import Contest
from plait.fusion.auto.facts import Weight, weigh
from plait.fusion.auto.rows import mean_score
from plait.fusion.datasets import data_folder

FEWEST_TEXTS = 32
"""A student that would see fewer texts of a task is not taught."""


def teach_students(contest: Contest) -> str | None:
    """Teach each student what the members answer on the training split's texts, and measure it."""
    if contest.facts.trainable is not None:
        return f"the task '{contest.facts.trainable}' has no texts to teach on (split 'train')"
    students = _students(contest)
    if not students:
        return "there is nothing that a student could start as: give 'base_model'"
    sizes = [_train_texts(contest, spec.name) for spec in contest.recipe.tasks]
    tried = False
    for name, student, weight in students:
        tried |= _teach(contest, name, student, weight, sizes)
    return None if tried else "no student could be taught"


def _students(contest: Contest) -> list[tuple[str, str | Mapping[str, Any], Weight]]:
    """Return what may be taught, the most promising first: name, start, weight."""
    found: list[tuple[str, str | Mapping[str, Any], Weight]] = []
    merged = [row for row in contest.rows if row.level == "weights"]
    if merged:
        best = max(merged, key=lambda row: contest.sign * mean_score(row, contest.decks))
        weight = contest.facts.base_weight or next(iter(contest.facts.weights.values()))
        start = {k: v for k, v in best.recipe.items() if k not in ("search",)}
        found.append((f"distilled, from {best.name}", start, weight))
    elif contest.facts.base is not None and contest.facts.base_weight is not None:
        base = str(contest.facts.base)
        found.append(("distilled, from the base", base, contest.facts.base_weight))
    elif not contest.facts.several:
        members = [row for row in contest.rows if row.level == "members"]
        best = max(members, key=lambda row: contest.sign * mean_score(row, contest.decks))
        weight = contest.facts.weights[best.name]
        found.append((f"distilled, from {best.name}", best.name, weight))
    if contest.facts.student is not None:
        student = contest.facts.student
        found.append((f"distilled, from {student.name}", str(student), weigh(student)))
    return found


def _teach(
    contest: Contest,
    name: str,
    student: str | Mapping[str, Any],
    weight: Weight,
    sizes: Sequence[int],
) -> bool:
    most = contest.recipe.budget.bytes
    if most is not None and weight.bytes > most:
        reason = f"it would have {weight.bytes:,} bytes, above the budget of {most:,}"
        contest.skip(name, "distillation", reason)
        return False
    ratio = weight.work / contest.facts.single
    members = len(contest.facts.members)
    asked = 1 if all(m.tasks for m in contest.facts.members) else members
    each = contest.seconds * (asked + 3.5 * ratio * contest.settings.epochs)
    limit = contest.settings.texts_per_task
    after = contest.seconds * contest.items * ratio
    if contest.clock.budget is not None:
        fitting = int((0.85 * contest.clock.left - after) / max(each, 1e-9) / len(sizes))
        if fitting < min(FEWEST_TEXTS, *sizes):
            wanted = each * FEWEST_TEXTS * len(sizes) + after
            contest.skip(name, "distillation", contest.clock.refuses(wanted) or "no time left")
            return False
        if fitting < max(sizes):
            limit = min(limit or fitting, fitting)
    data = recipes.distil(contest.facts, contest.recipe, contest.settings, student, limit)
    try:
        result = contest.fuse(data, f"distillation-{len(contest.rows)}")
    except BadInput as error:
        contest.skip(name, "distillation", error.message)
        return False
    tables, seconds = contest.run(contest.load(result.out))
    needed = "labelled training texts" if contest.settings.labels else "unlabelled texts"
    row = contest.row(name, data, result, needed, tables, seconds, "distillation")
    row.found = {"folder": str(result.out), "epochs": result.report["results"]["epochs"]}
    contest.rows.append(row)
    return True


def _train_texts(contest: Contest, task: str) -> int:
    spec = next(spec for spec in contest.recipe.tasks if spec.name == task)
    folder = data_folder(spec, contest.recipe.folder)
    count = len(load_texts(spec, folder, contest.recipe.splits.train))
    limit = contest.settings.texts_per_task
    return count if limit is None else min(count, limit)
