# SPDX-License-Identifier: Apache-2.0
"""Checking recipes of several documents, whose later fusions take what earlier ones will make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.check import Checked, CheckReport, Cost, check_document
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.computed import Computed, Read
from plait.fusion.weights.numbers import STORAGE, Array
from plait.fusion.weights.opening import Resolver
from plait.fusion.weights.plan import Job
from plait.fusion.weights.safetensors import Entry
from plait.recipes.fusion import FusionRecipe


def check_documents(
    stages: Sequence[tuple[str | None, FusionRecipe]], resolve: Resolver | None
) -> CheckReport:
    """Check every document of a recipe, in the order that they will be run in.

    Raises:
        BadInput: if a model is not found.
    """
    whole = CheckReport(stages[-1][1].method)
    whole.notes.append(f"The recipe has {len(stages)} documents; all were checked.")
    planned: dict[str, Checkpoint] = {}
    unknown: dict[str, str] = {}
    for place, (name, recipe) in enumerate(stages, start=1):
        title = f"document '{name}'" if name else f"document {place}"
        used = set(recipe.references())
        waits = sorted(used & set(unknown))
        if waits:
            whole.notes.append(
                f"{title} cannot be checked before '{waits[0]}' is made: {unknown[waits[0]]}."
            )
            if name:
                unknown[name] = f"it needs '{waits[0]}'"
            continue
        try:
            checked = check_document(recipe, resolve, planned)
        except BadInput as error:
            raise BadInput(f"{title}: {error.message}") from None
        _add(whole, checked.report, title)
        later = sorted(used & set(planned))
        if later:
            whole.notes.append(
                f"{title}: how far '{later[0]}' is from the other models is not known before it is "
                "made; its shapes are."
            )
        if name:
            _remember(name, recipe, checked, planned, unknown)
    return whole


def _remember(
    name: str,
    recipe: FusionRecipe,
    checked: Checked,
    planned: dict[str, Checkpoint],
    unknown: dict[str, str],
) -> None:
    """Keep what a document's result will look like, or why that is not known."""
    if checked.plan is None:
        unknown[name] = "it has problems, or is an adapter"
    elif recipe.tokenizer is not None:
        unknown[name] = "it gets a vocabulary of its own"
    else:
        donor = checked.models[checked.plan.donor]
        tensors = {job.name: _stand_in(job) for job in checked.plan.jobs}
        planned[name] = replace(donor, tensors=tensors, statistics={}, files=(), stamps={})


@dataclass(frozen=True)
class _ToCome(Computed):
    """A tensor that is not made yet, of another format than what it is made of; it reads as 0."""

    @property
    def kind(self) -> str:
        """The format that it will have."""
        return self.code

    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return zeros."""
        return np.zeros((high - low, self.row), np.float64 if self.code == "F64" else np.float32)


def _stand_in(job: Job) -> Entry:
    """Return a tensor that will be: the bytes of an input stand in for those to come."""
    first = job.inputs[0]
    if job.out == first.code:
        return replace(first, name=job.name, shape=job.shape)
    size = job.size * STORAGE[job.out].itemsize
    return _ToCome(job.name, job.out, job.shape, first.path, first.offset, size, first)


def _add(whole: CheckReport, part: CheckReport, title: str) -> None:
    """Add a document's report to that of all; problems say whose they are."""
    known = {m.reference for m in whole.models}
    whole.models += [m for m in part.models if m.reference not in known]
    whole.problems += [f"{title}: {problem}" for problem in part.problems]
    whole.notes += [n for n in part.notes if n not in whole.notes]
    whole.relations += part.relations
    whole.agreements += part.agreements
    whole.instead = whole.instead or part.instead
    whole.tensors = part.tensors
    whole.cost = _sum(whole.cost, part.cost)


def _sum(one: Cost | None, other: Cost | None) -> Cost | None:
    if one is None or other is None:
        return one or other
    return Cost(
        one.read_bytes + other.read_bytes,
        one.output_bytes + other.output_bytes,
        max(one.memory_bytes, other.memory_bytes),
        one.cpu_seconds + other.cpu_seconds,
    )
