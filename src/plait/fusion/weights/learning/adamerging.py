# SPDX-License-Identifier: Apache-2.0
"""AdaMerging: coefficients that make the fused model sure of what it says about unlabelled texts.

Yang et al. 2024, AdaMerging, arXiv:2310.02575. The model is the base plus every model's change
times a coefficient for each tensor (`layer-wise`, as the authors' program has it), each layer
(`block-wise`) or each model (`task-wise`). Adam makes the entropy of predictions on all tasks'
texts small. With `changes: ties` what is added up are changes that TIES trimmed and elected
(AdaMerging++). Sureness is not truth: the report says how often the commonest class is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.engine import Engine, Readers
from plait.fusion.weights.learning import Learned, Lesson
from plait.fusion.weights.learning.skeleton import Skeleton
from plait.fusion.weights.learning.texts import check_tasks, read_texts, spread
from plait.fusion.weights.naming import layer_of
from plait.fusion.weights.numbers import STORAGE, Array
from plait.fusion.weights.plan import Job, build_plan, donor_of
from plait.pretrained import head_names, limited_threads, pad
from plait.recipes.fusion import FusionRecipe, Rule, Rules, Setting, dump_recipe

MEASURED = 256
"""Texts of each task on which the entropy is measured before and after."""
POINTS = 100
REST = "all others"


@dataclass
class _Task:
    """One task: the classifier with its head, and its texts' token ids."""

    name: str
    skeleton: Skeleton
    rows: list[list[int]]
    order: list[int]

    def batch(self, size: int, random: np.random.Generator) -> dict[str, Any]:
        """Return the next texts, shuffled anew when all have been seen."""
        if len(self.order) < size:
            self.order += [int(i) for i in random.permutation(len(self.rows))]
        chosen, self.order = self.order[:size], self.order[size:]
        return pad(self.skeleton.tokenizer, [self.rows[i] for i in chosen])


def learn_weights(lesson: Lesson) -> Learned:
    """Return the recipe of `task_arithmetic` (or `ties`) with the coefficients that were learnt.

    Raises:
        BadInput: as `learn`.
        MissingExtra: if torch or transformers is not installed.
        Cancelled: if `lesson.tell` says so.
    """
    recipe = lesson.recipe
    check_tasks(recipe)
    first = next(j for j in build_plan(recipe, lesson.models).jobs if not j.copies)
    options = first.options
    starts = [float(own["weight"]) for own in first.settings]
    variant = str(options["variant"])
    base, changes = _changes(recipe, lesson.models, str(options["changes"]))
    groups = {name: _group(name, variant) for name in base if any(c[name].any() for c in changes)}
    tasks = _tasks(lesson, base, str(options["split"]))
    with limited_threads(lesson.threads):
        found = _descend(lesson, base, changes, groups, starts, tasks, options)
    learned = _recipe(recipe, options, found["coefficients"], variant)
    told = {"variant": variant, **found, "recipe": dump_recipe(learned)}
    return Learned(learned, {}, {"results": told})


def _descend(
    lesson: Lesson,
    base: Mapping[str, Array],
    changes: Sequence[Mapping[str, Array]],
    groups: Mapping[str, str],
    starts: Sequence[float],
    tasks: Sequence[_Task],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Run Adam on the coefficients [groups, models]; return them, and how entropy went."""
    import torch

    rows = {group: number for number, group in enumerate(dict.fromkeys(groups.values()))}
    coefficients = torch.tensor([starts] * len(rows), dtype=torch.float32)
    fixed = {n: torch.from_numpy(v) for n, v in base.items()}
    moving = {n: torch.from_numpy(np.stack([c[n] for c in changes])) for n in groups}
    optimiser = torch.optim.Adam([coefficients], lr=float(options["rate"]))
    random = np.random.default_rng(lesson.recipe.seed)
    steps, size = int(options["steps"]), int(options["batch"])

    def merged() -> dict[str, Any]:
        own = {n: torch.tensordot(coefficients[rows[g]], moving[n], 1) for n, g in groups.items()}
        return {n: v + own[n] if n in own else v for n, v in fixed.items()}

    curve: list[dict[str, float]] = []
    before = _measure(tasks, merged())
    for step in range(steps):
        lesson.tell(step, steps)
        weights = merged()
        for name in groups:
            weights[name].requires_grad_(True)
        losses = []
        for task in tasks:
            loss = _entropy(_logits(task, weights, task.batch(size, random))).mean()
            loss.backward()
            losses.append(float(loss.detach()))
        # the coefficients' gradients by the chain rule: each change times the weights' gradient
        slopes = torch.zeros_like(coefficients)
        for name, group in groups.items():
            slope = weights[name].grad
            if slope is not None:
                slopes[rows[group]] += torch.tensordot(moving[name], slope, slope.dim())
        coefficients.grad = slopes
        optimiser.step()
        coefficients.clamp_(0, 1)
        if step % max(1, steps // POINTS) == 0 or step == steps - 1:
            curve.append({"step": step, "entropy": float(np.mean(losses))})
    lesson.tell(steps, steps)
    after = _measure(tasks, merged())
    return {
        "coefficients": {
            s.model: {g: round(float(coefficients[r, p]), 6) for g, r in rows.items()}
            for p, s in enumerate(lesson.recipe.models)
        },
        "curve": curve,
        "tasks": {name: {"before": before[name], "after": after[name]} for name in before},
    }


def _changes(
    recipe: FusionRecipe, models: Mapping[str, Checkpoint], kind: str
) -> tuple[dict[str, Array], list[dict[str, Array]]]:
    """Return the base's tensors and each model's change, as TIES leaves it if `kind` says so."""

    def only(place: int | None) -> dict[str, Array]:
        sources = [
            replace(s, parameters=_density(s.parameters) | {"weight": float(p == place)}, task=None)
            for p, s in enumerate(recipe.models)
        ]
        single = replace(
            _plain(recipe, kind), models=tuple(sources), dtype=None, out_dtype="float32"
        )
        return _in_memory(single, models)

    base = only(None)
    found = []
    for place in range(len(recipe.models)):
        own = only(place)
        for name, values in own.items():
            values -= base[name]
        found.append(own)
    return base, found


def _plain(recipe: FusionRecipe, kind: str) -> FusionRecipe:
    """Return the recipe of what runs in the end, without its coefficients."""
    parameters: dict[str, Setting] = {"normalize": False}
    if kind == "ties":
        parameters |= _density(recipe.parameters)
    return replace(
        recipe,
        method="ties" if kind == "ties" else "task_arithmetic",
        dialect="paper" if kind == "ties" else None,
        parameters=parameters,
        tasks=(),
        search=None,
    )


def _density(parameters: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: value for name, value in parameters.items() if name == "density"}


class _Memory:
    """A sink that keeps tensors."""

    def __init__(self) -> None:
        self.found: dict[str, Array] = {}

    def write(self, job: Job, start: int, stored: Array) -> None:
        whole = self.found.setdefault(job.name, np.empty(job.size, STORAGE[job.out]))
        whole[start : start + stored.size] = stored


def _in_memory(recipe: FusionRecipe, models: Mapping[str, Checkpoint]) -> dict[str, Array]:
    plan = build_plan(recipe, models)
    jobs = [job for job in plan.jobs if not job.copies and job.size]
    sink = _Memory()
    with Readers() as readers:
        engine = Engine(plan.method, readers, dict.fromkeys(models, b""))
        engine.survey(jobs, 1)
        for job in jobs:
            for low, high in engine.segments(job):
                engine.make(job, low, high, sink)
    return {job.name: sink.found[job.name].reshape(job.shape) for job in jobs}


def _tasks(lesson: Lesson, names: Mapping[str, Array], split: str) -> list[_Task]:
    recipe = lesson.recipe
    donor = lesson.models[donor_of(recipe)].folder
    every = [m.folder for m in lesson.models.values()]
    shared: Skeleton | None = None
    made = []
    for task in recipe.tasks:
        headed = next((f for f in every if task.name in head_names(f)), None)
        if headed is not None:
            skeleton = Skeleton(headed, task.name, names)
        else:
            skeleton = shared = shared or Skeleton(donor, task.name, names)
        rows = skeleton.rows(read_texts(task, recipe, split, lesson.folder))
        made.append(_Task(task.name, skeleton, rows, []))
    return made


def _logits(task: _Task, weights: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    import torch

    place = task.skeleton.place
    own = {place[n]: v for n, v in weights.items() if n in place}
    out = torch.func.functional_call(task.skeleton.model, own, (), dict(batch))
    return out.logits.float()


def _entropy(logits: Any) -> Any:
    import torch

    logs = torch.log_softmax(logits, -1)
    return -(logs.exp() * logs).sum(-1)


def _measure(tasks: Sequence[_Task], weights: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return each task's mean entropy on some texts, and how often its commonest class is said."""
    import torch

    found = {}
    with torch.inference_mode():
        for task in tasks:
            rows = sorted(spread(task.rows, MEASURED), key=len)
            parts = [rows[start : start + 32] for start in range(0, len(rows), 32)]
            logits = torch.cat(
                [_logits(task, weights, pad(task.skeleton.tokenizer, part)) for part in parts]
            )
            share = torch.bincount(logits.argmax(-1)).max() / len(logits)
            entropy = _entropy(logits).mean()
            found[task.name] = {"entropy": float(entropy), "commonest_class": float(share)}
    return found


def _group(name: str, variant: str) -> str:
    """Return what a tensor shares its coefficients with."""
    if variant == "layer-wise":
        return name
    found = layer_of(name) if variant == "block-wise" else None
    return REST if found is None else f"{found[0]}{found[1]}."


def _recipe(
    recipe: FusionRecipe,
    options: Mapping[str, Any],
    coefficients: Mapping[str, Mapping[str, float]],
    variant: str,
) -> FusionRecipe:
    """Write coefficients as rules by tensor; longer names first, as a filter is part of a name."""
    sources = []
    for source in recipe.models:
        own = coefficients[source.model]
        names = sorted((g for g in own if g != REST), key=lambda g: (-len(g), g))
        rules = tuple(Rule(name, own[name]) for name in names)
        rest = own.get(REST, 0.0)
        weight: Setting = Rules((*rules, Rule(None, rest))) if rules else rest
        sources.append(
            replace(source, parameters=_density(source.parameters) | {"weight": weight}, task=None)
        )
    return replace(_plain(recipe, str(options["changes"])), models=tuple(sources))
