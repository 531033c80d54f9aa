# SPDX-License-Identifier: Apache-2.0
"""Which levels are possible and what measuring them takes, before any model is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.evaluation.texts import load_texts
from plait.fusion.alternatives import instead_of, read_models
from plait.fusion.auto import recipes
from plait.fusion.auto.facts import Facts, gather_facts
from plait.fusion.auto.merges import SLOWER
from plait.fusion.auto.options import Settings, parse
from plait.fusion.datasets import data_folder, lacking_split, load_tasks
from plait.fusion.distillation.checking import memory
from plait.fusion.forecast import (
    RUNTIME,
    STARTING,
    TRAINING,
    folder_facts,
    folder_tensors,
    model_size,
    seconds,
    task_tokens,
    tokens_of,
)
from plait.fusion.weights.check import CheckReport, Cost
from plait.fusion.weights.finite import refused_folders
from plait.fusion.weights.licences import licence_notes
from plait.fusion.weights.opening import Resolver
from plait.recipes.levels import LevelRecipe


def check(data: Mapping[str, Any], folder: Path, resolve: Resolver | None) -> CheckReport:
    """Say which levels are possible and what it takes to measure them.

    Raises:
        BadInput: if the recipe cannot be read or a model not be found.
    """
    recipe, settings = parse(data, folder)
    report = CheckReport(recipe.method)
    facts = gather_facts(recipe, settings, resolve)
    folders = {member.name: member.folder for member in facts.members}
    for name, place in (("base_model", facts.base), ("student", facts.student)):
        if place is not None:
            folders[name] = place
    report.models = [folder_facts(name, place) for name, place in folders.items()]
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    lacking = lacking_split(recipe.tasks, recipe.folder, recipe.splits.validation)
    if lacking:
        report.problems.append(
            f"The task '{lacking}' has no split '{recipe.splits.validation}' to measure on."
        )
        return report
    report.problems += refused_folders(folders).values()
    if report.problems:
        return report
    found, merge = _possible(facts, recipe, settings, resolve)
    report.notes += [f"{level}: {reason or 'possible'}" for level, reason in found.items()]
    if all(reason for level, reason in found.items() if level != "members"):
        report.problems.append("No level fuses these models; the notes say why.")
        report.instead = instead_of("weights", read_models([m.folder for m in facts.members]))
        return report
    report.tensors = len(folder_tensors(facts.base or facts.members[0].folder))
    work = Amounts.of(facts, recipe, settings)
    levels = _seconds(facts, settings, found, work, merge)
    told = ", ".join(f"{level} {spent:,.0f}" for level, spent in levels.items())
    report.notes.append(f"CPU-seconds without a limit, about: {told}.")
    report.cost = _cost(facts, recipe, found, levels, work.mean)
    whole = sum(levels.values())
    if recipe.budget.cpu_seconds is not None and whole > recipe.budget.cpu_seconds:
        report.notes.append(
            f"The budget of {recipe.budget.cpu_seconds:,.0f} CPU-seconds is less than the "
            f"{whole:,.0f} that everything would take: what promises least is left out."
        )
    return report


BATCH = 16
"""Texts in one step of a distillation, its default."""


@dataclass(frozen=True)
class Amounts:
    """Tokens that are read: of the items that everything is measured on, and of those learnt."""

    held: int
    learnt: int
    mean: float
    """Of the training texts, on average."""

    @classmethod
    def of(cls, facts: Facts, recipe: LevelRecipe, settings: Settings) -> Amounts:
        """Count them; no more training texts than the recipe says."""
        length = settings.max_length
        held = load_tasks(recipe.tasks, recipe.folder, recipe.splits.validation)
        learnt = count = 0
        for spec in recipe.tasks if facts.trainable is None else ():
            rows = load_texts(spec, data_folder(spec, recipe.folder), recipe.splits.train)
            most = settings.texts_per_task or len(rows)
            share = min(1.0, most / max(len(rows), 1))
            learnt += round(share * tokens_of((text for text, _ in rows), length))
            count += round(share * len(rows))
        return cls(task_tokens(held, length), learnt, learnt / max(count, 1))


def _possible(
    facts: Facts, recipe: LevelRecipe, settings: Settings, resolve: Resolver | None
) -> tuple[dict[str, str | None], Cost | None]:
    """Return, by level, why it is not possible, or None; and what averaging the weights costs."""
    from plait.fusion.levels import check as check_level

    found: dict[str, str | None] = dict.fromkeys(settings.levels)
    cost = None
    if "weights" in found:
        merge = recipes.merge("linear", facts, recipe)
        if facts.base is not None:
            merge["base_model"] = str(facts.base)
        weights = check_level(merge, resolve=resolve)
        found["weights"] = " ".join(weights.problems) or None
        cost = weights.cost
    if "outputs" in found:
        ensemble = check_level(recipes.ensemble(facts, recipe, settings, "equal"), resolve=resolve)
        found["outputs"] = " ".join(ensemble.problems) or None
        if facts.several:
            found["outputs"] = "the tasks have labels or heads of their own"
    if "distillation" in found and facts.trainable is not None:
        found["distillation"] = f"the task '{facts.trainable}' has no texts to teach on"
    return found, cost


def _seconds(
    facts: Facts,
    settings: Settings,
    found: Mapping[str, str | None],
    work: Amounts,
    merge: Cost | None,
) -> dict[str, float]:
    """Return by level the CPU-seconds that measuring it takes without a limit."""
    sizes = facts.sizes
    answer = sum(seconds(size.work, work.held) for size in sizes.values())
    if facts.several:  # each answers the items of its own task
        answer /= len(sizes)
    single = facts.base_size or next(iter(sizes.values()))
    one = seconds(single.work, work.held)
    spent = {"members": answer + STARTING}
    if "weights" in found and found["weights"] is None and merge is not None:
        each = [_merging(facts, settings, method, merge, work) for method in settings.methods]
        spent["weights"] = sum(each) + one * len(each)
        trial = merge.cpu_seconds + one
        spent["weights"] += settings.searched * settings.search * trial
    if "distillation" in found and found["distillation"] is None:
        asked = answer / max(work.held, 1) * work.learnt
        starts = [single, *([model_size(facts.student)] if facts.student else [])]
        spent["distillation"] = sum(
            asked
            + TRAINING * settings.epochs * seconds(start.work, work.learnt)
            + seconds(start.work, work.held)
            for start in starts
        )
    return spent


def _merging(facts: Facts, settings: Settings, method: str, merge: Cost, work: Amounts) -> float:
    values = recipes.LEARNING.get(method)
    if values is None:
        return merge.cpu_seconds * SLOWER.get(method, 3)
    texts = values.get("texts", 0) * 2 + values.get("steps", 0) * values.get("batch", 0) * 3
    tokens = texts * settings.max_length / 4  # texts are shorter than they may be
    return 10 * merge.cpu_seconds + sum(seconds(s.work, tokens) for s in facts.sizes.values())


def _cost(
    facts: Facts,
    recipe: LevelRecipe,
    found: Mapping[str, str | None],
    levels: Mapping[str, float],
    tokens: float,
) -> Cost:
    """Reckon the most that may be read, held and written."""
    sizes = list(facts.sizes.values())
    single = facts.base_size or sizes[0]
    together = sum(size.bytes for size in sizes)
    ensemble = "outputs" in found and found["outputs"] is None
    largest = together if ensemble else max(size.bytes for size in (*sizes, single))
    if recipe.budget.bytes is not None:
        largest = min(largest, recipe.budget.bytes)
    held = 4 * sum(size.parameters for size in sizes) if ensemble else 0
    start = facts.base or facts.members[0].folder
    trained = 0
    if "distillation" in levels:
        trained = memory(start, sizes, batch=BATCH, tokens=tokens)
    spent = sum(levels.values())
    if recipe.budget.cpu_seconds is not None:
        spent = min(spent, recipe.budget.cpu_seconds)
    return Cost(
        read_bytes=together + (facts.base_size.bytes if facts.base_size else 0),
        output_bytes=largest,
        memory_bytes=RUNTIME + max(held, trained),
        cpu_seconds=spent,
    )
