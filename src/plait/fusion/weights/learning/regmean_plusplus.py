# SPDX-License-Identifier: Apache-2.0
"""RegMean++: inner products of inputs that the layers merged before give.

Nguyen et al. 2025, RegMean++, arXiv:2508.03121. RegMean takes each model's inputs from that model
alone; but in the fused model a layer sees what the fused layers below make. Here layers are merged
from below: each model's layer reads, on that model's texts, what the merged layers so far give, its
own inner products are taken there, the layer is merged, and its outputs are the next one's inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import STATISTICS
from plait.fusion.weights.computed import rows_of
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.learning import Learned, Lesson
from plait.fusion.weights.learning.skeleton import Skeleton
from plait.fusion.weights.learning.texts import check_tasks, read_texts, spread, task_of
from plait.fusion.weights.methods.statistics import regress
from plait.fusion.weights.numbers import Array
from plait.fusion.weights.plan import Job, build_plan, donor_of
from plait.fusion.weights.safetensors import Entry, layout
from plait.pretrained import head_names, limited_threads

BATCH = 16
AFTER = "after the layers"


@dataclass
class _Member:
    """One model: the classifier that its texts go through, and these, in batches."""

    reference: str
    skeleton: Skeleton
    batches: list[dict[str, Any]]
    latest: list[Any] = field(default_factory=list)
    """For each batch, what the last merged layer gave."""
    reading: int = 0
    """The batch that goes through the model now, and whether it is past the merged layers."""
    replayed: bool = False


def learn_grams(lesson: Lesson) -> Learned:
    """Return `regmean_plusplus` with a file of inner products for each model.

    Raises:
        BadInput: as `learn`; if the model has no list of layers with linear parts in it.
        MissingExtra: if torch or transformers is not installed.
    """
    recipe = lesson.recipe
    check_tasks(recipe)
    plan = build_plan(recipe, lesson.models)
    jobs = {job.name: job for job in plan.jobs if not job.copies}
    options = next(iter(jobs.values())).options
    members = _members(lesson, jobs, int(options["texts"]), str(options["split"]))
    texts = {m.reference: sum(len(b["input_ids"]) for b in m.batches) for m in members}
    with limited_threads(lesson.threads), Readers() as readers:
        files = _merge_upwards(lesson, members, jobs, readers)
    found = {"results": {"texts": texts, "split": options["split"], "tensors": len(files[0])}}
    return Learned(recipe, _write(files, members, lesson.scratch), found)


def _members(lesson: Lesson, jobs: Mapping[str, Job], count: int, split: str) -> list[_Member]:
    shared: dict[Path, Skeleton] = {}
    made = []
    donor = lesson.models[donor_of(lesson.recipe)].folder
    for source in lesson.recipe.models:
        task = task_of(source, lesson.recipe)
        own = lesson.models[source.model].folder
        # with heads for tasks each model has its own; without, one classifier serves for all
        folder = own if head_names(own) or donor not in (own, *shared) else donor
        skeleton = None if head_names(folder) else shared.get(folder)
        if skeleton is None:
            skeleton = shared[folder] = Skeleton(folder, task.name, jobs)
        texts = spread(read_texts(task, lesson.recipe, split, lesson.folder), count)
        made.append(_Member(source.model, skeleton, skeleton.batches(texts, BATCH)))
    return made


def _merge_upwards(
    lesson: Lesson, members: list[_Member], jobs: Mapping[str, Job], readers: Readers
) -> list[dict[str, Array]]:
    """Merge layer after layer in memory; return each model's inner products by tensor."""
    first = members[0].skeleton
    stages = _stages(first)
    where = {name: _stage_of(place, stages) for name, place in first.place.items()}
    files: list[dict[str, Array]] = [{} for _ in members]
    skeletons = list({id(m.skeleton): m.skeleton for m in members}.values())
    batches = sum(len(m.batches) for m in members)
    total, done = 2 * batches * (len(stages) + 1), 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        lesson.tell(done, total)

    tell(0)
    # what comes before the layers has no inputs of its own: embeddings are averaged
    before = {n: _mean(jobs[n], readers) for n in jobs if where.get(n) in (None, AFTER)}
    for skeleton in skeletons:
        skeleton.put(before)
    for number, stage in enumerate([*stages, AFTER]):
        names = [n for n in jobs if where.get(n) == stage]
        for place, (member, own) in enumerate(zip(members, files, strict=True)):
            member.skeleton.put({n: _input(jobs[n], place, readers) for n in names})
            own |= _grams(member, names, stages, number, tell)
        merged = {n: _merged(n, jobs[n], files, readers) for n in names}
        for skeleton in skeletons:
            skeleton.put(merged)
        if stage != AFTER:
            for member in members:
                member.latest = _outputs(member, stages, number, tell)
    return files


def _stages(skeleton: Skeleton) -> list[str]:
    """Return the names of the layers, from below: entries of lists that have linear parts."""
    import torch

    found: list[str] = []
    for name, module in skeleton.model.named_modules():
        inside = any(name.startswith(f"{other}.") for other in found)
        if not isinstance(module, torch.nn.ModuleList) or inside:
            continue
        if all(any(isinstance(m, torch.nn.Linear) for m in each.modules()) for each in module):
            found += [f"{name}.{number}" for number in range(len(module))]
    if not found:
        raise BadInput(
            f"A {skeleton.model.config.model_type} model has no list of layers with linear parts "
            "(torch.nn.Linear); regmean_plusplus cannot go through it. Use 'tsv_m' or 'ties'."
        )
    return found


def _stage_of(place: str, stages: list[str]) -> str:
    return next((s for s in stages if place.startswith(f"{s}.")), AFTER)


class _Stop(Exception):
    """Raised to leave a model's forward pass once its layer has run."""


@contextmanager
def _stopped_after(member: _Member, stages: list[str], number: int) -> Iterator[list[Any]]:
    """Let layers before the given one hand on what was merged, and stop after that one.

    Yields a list whose one element becomes what the layer gave.
    """
    model = member.skeleton.model
    given: list[Any] = [None]
    kept = []
    for name in stages[:number]:
        holder, _, key = name.rpartition(".")
        layers = model.get_submodule(holder)
        kept.append((layers, int(key), layers[int(key)]))
        layers[int(key)] = _replay(member, layers[int(key)])
    handles = []
    if number < len(stages):

        def stop(module: Any, inputs: Any, output: Any) -> None:
            given[0] = output
            raise _Stop

        handles.append(model.get_submodule(stages[number]).register_forward_hook(stop))
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()
        for layers, place, layer in kept:
            layers[place] = layer


def _replay(member: _Member, layer: Any) -> Any:
    """Return a layer that gives what the last merged layer gave on the batch that is read."""
    import torch

    class Replay(torch.nn.Module):  # type: ignore[misc]
        def forward(self, *inputs: Any, **named: Any) -> Any:
            member.replayed = True
            return member.latest[member.reading]

        def __getattr__(self, name: str) -> Any:
            return getattr(layer, name)  # what a model asks its layers for, as their kind

    return Replay()


def _run(
    member: _Member, stages: list[str], number: int, each: Callable[[int, Any, Any], None]
) -> None:
    import torch

    with _stopped_after(member, stages, number) as given, torch.inference_mode():
        for place, batch in enumerate(member.batches):
            member.reading, member.replayed = place, False
            with suppress(_Stop):
                member.skeleton.model(**batch)
            each(place, batch, given[0])


def _outputs(
    member: _Member, stages: list[str], number: int, tell: Callable[[int], None]
) -> list[Any]:
    found: list[Any] = []

    def keep(place: int, batch: Any, output: Any) -> None:
        found.append(output)
        tell(1)

    _run(member, stages, number, keep)
    return found


def _grams(
    member: _Member,
    names: list[str],
    stages: list[str],
    number: int,
    tell: Callable[[int], None],
) -> dict[str, Array]:
    """Return the mean outer product of inputs of each linear part of a stage, without padding."""
    import torch

    model, place = member.skeleton.model, member.skeleton.place
    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}
    mask: Any = None

    def hook(name: str) -> Callable[[Any, Any], None]:
        def add(module: Any, inputs: Any) -> None:
            if number == len(stages) and not member.replayed:
                return  # it comes before the layers and is averaged
            values = inputs[0].detach()
            if values.dim() == 3 and values.shape[:2] == mask.shape:
                values = values[mask.bool()]
            values = values.reshape(-1, values.shape[-1]).double()
            sums[name] = sums.get(name, 0) + values.T @ values
            counts[name] = counts.get(name, 0) + len(values)

        return add

    handles = []
    for name in names:
        if not place[name].endswith(".weight"):
            continue
        module = model.get_submodule(place[name].removesuffix(".weight"))
        if isinstance(module, torch.nn.Linear):
            handles.append(module.register_forward_pre_hook(hook(name)))

    def read(position: int, batch: Any, output: Any) -> None:
        tell(1)

    def masked(module: Any, inputs: Any, named: Any) -> None:
        nonlocal mask
        mask = named["attention_mask"]

    handles.append(model.register_forward_pre_hook(masked, with_kwargs=True))
    try:
        _run(member, stages, number, read)
    finally:
        for handle in handles:
            handle.remove()
    return {n: (s / max(counts[n], 1)).float().numpy() for n, s in sums.items()}


def _values(entry: Entry, readers: Readers) -> Array:
    rows = entry.shape[0] if entry.shape else 1
    return rows_of(readers.read, entry, 0, rows).astype(np.float32).reshape(entry.shape)


def _input(job: Job, place: int, readers: Readers) -> Array:
    return _values(job.inputs[place], readers)


def _mean(job: Job, readers: Readers) -> Array:
    weights = [float(own["weight"]) for own in job.settings]
    total = sum(weights) or 1.0
    values = np.zeros(job.shape)
    for entry, weight in zip(job.inputs, weights, strict=True):
        values += _values(entry, readers) * (weight / total)
    return values.astype(np.float32)


def _merged(name: str, job: Job, files: list[dict[str, Array]], readers: Readers) -> Array:
    """Return what `regmean` will make of a tensor."""
    if any(name not in own for own in files):
        return _mean(job, readers)
    values = [_values(e, readers) for e in job.inputs]
    weights = [float(own["weight"]) for own in job.settings]
    shrink = float(job.options["shrink"])
    return regress(values, [own[name] for own in files], weights, shrink).astype(np.float32)


def _write(files: list[dict[str, Array]], members: list[_Member], folder: Path) -> dict[str, Path]:
    written = {}
    for number, (own, member) in enumerate(zip(files, members, strict=True)):
        path = folder / str(number) / STATISTICS
        path.parent.mkdir()
        header, starts, size = layout((f"gram.{n}", "F32", v.shape) for n, v in own.items())
        with path.open("wb") as file:
            file.write(header)
            for name, values in own.items():
                file.seek(starts[f"gram.{name}"])
                file.write(np.ascontiguousarray(values, "<f4").tobytes())
            file.truncate(size)
        written[member.reference] = path
    return written
