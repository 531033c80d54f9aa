# SPDX-License-Identifier: Apache-2.0
"""`fuse`: a recipe's models into a new model folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from plait.fusion.places import check_out
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights import methods
from plait.fusion.weights.adapters.combine import are_adapters, combine_adapters, plan_combination
from plait.fusion.weights.checkpoints import identity, with_statistics
from plait.fusion.weights.checksums import hash_files
from plait.fusion.weights.companions import find_heads, write_companions
from plait.fusion.weights.engine import Engine, Readers
from plait.fusion.weights.learning import Lesson, given, learn, scratch_for
from plait.fusion.weights.making import Prepared, Reporter, Work, cores, make_folder, refuse_input
from plait.fusion.weights.mixture import fuse_mixture
from plait.fusion.weights.numbers import STORAGE, Array, decode
from plait.fusion.weights.opening import Folders, Resolver, find_folders, open_models
from plait.fusion.weights.plan import Job, build_plan, canonical, donor_of
from plait.fusion.weights.privacy import statements
from plait.fusion.weights.remarks import remarks, strangers
from plait.fusion.weights.remote import needed_parts
from plait.fusion.weights.stages import remove_stages, run_stages
from plait.fusion.weights.templates import chosen_template
from plait.fusion.weights.vocabulary import unify
from plait.recipes.fusion import FusionRecipe, dump_recipe, load_recipe, load_stages
from plait.recipes.mixture import read_mixture

Recipe = str | Path | Mapping[str, Any] | FusionRecipe


def fuse(
    recipe: Recipe,
    out: Path | str,
    *,
    resolve: Resolver | None = None,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    overwrite: bool = False,
    out_shard_size: int | None = None,
) -> FusionResult:
    """Fuse the models of a recipe into the new folder `out`.

    The folder appears when it is whole; until then the work lies in a hidden folder beside it, from
    which an interrupted run (killed, or the power lost) goes on when it is started again. The same
    inputs give the same bytes, whatever the number of threads.

    Args:
        recipe: a file, YAML text, mapping or parsed recipe, in mergekit's configuration language.
        out: the folder to make; it must not exist, or be empty, unless `overwrite`.
        resolve: turns a model reference into a folder (default: a folder, else the hub's client).
        threads: how many threads to use (default: one for each core).
        progress: called now and then from one of the threads.
        cancelled: asked often; the work stops when it returns true.
        overwrite: replace `out` if an earlier fusion made it.
        out_shard_size: most bytes in one file of weights (default: one file).

    Raises:
        BadInput: a sentence that names what is wrong with the recipe or a model.
        Conflict: if `out` is there already, or another run is making it.
        Cancelled: if `cancelled` returned true.
    """
    threads = threads or cores()
    out = Path(out)
    mixture = read_mixture(recipe)
    stages = [] if mixture else load_stages(recipe)
    check_out(out, overwrite)
    out = out.resolve()
    work = Work(out, overwrite, out_shard_size, threads, Reporter(progress, cancelled))
    if mixture:
        return fuse_mixture(mixture, resolve, work)
    parsed = stages[-1][1]
    beside = _beside(recipe)
    doubts: list[str] = []
    if len(stages) > 1:

        def run(stage: FusionRecipe, place: Path, find: Resolver) -> None:
            inner = Work(place, True, None, threads, Reporter(progress, cancelled))
            doubts.extend(_fuse(stage, find, inner, beside).report.get("warnings", ()))

        resolve = run_stages(stages, out, resolve, run)
    # of repositories that a recipe takes only parts of, only these are fetched
    parts = needed_parts(parsed) if resolve is None and len(stages) == 1 else nullcontext(resolve)
    with parts as find:
        result = _fuse(parsed, find, work, beside)
    if len(stages) > 1:
        remove_stages(out)
    doubts += result.report.get("warnings", ())
    return replace(result, report={**result.report, "warnings": doubts}) if doubts else result


def _fuse(parsed: FusionRecipe, resolve: Resolver | None, work: Work, beside: Path) -> FusionResult:
    folders = find_folders(parsed, resolve)
    refuse_input(work.out, folders)
    if are_adapters(parsed, folders):
        return combine_adapters(plan_combination(parsed, folders), work)
    with scratch_for(parsed) as scratch:
        lesson = (beside, scratch)
        ready = _prepare(parsed, folders, work.threads, work.report, lesson, hashing=True)

        def companions(folder: Path, shards: Iterable[str]) -> None:
            write_companions(folder, ready.plan, ready.models, shards)

        doubts = [*strangers(parsed, ready.models), *remarks(ready.plan, ready.models)]
        result = make_folder(ready, dump_recipe(parsed), work, companions)
        told = {"warnings": doubts} if doubts else {}
        return replace(result, report={**result.report, **told})


def _beside(recipe: Recipe) -> Path:
    """Return the folder of a recipe's file, where its data sets may lie."""
    is_file = isinstance(recipe, Path) or (isinstance(recipe, str) and "\n" not in recipe)
    return Path(recipe).parent if is_file and Path(recipe).is_file() else Path()  # type: ignore[arg-type]


def fused_tensors(
    recipe: Recipe,
    *,
    resolve: Resolver | None = None,
    threads: int | None = None,
    only: Callable[[str], bool] | Collection[str] | None = None,
) -> Iterator[tuple[str, Array]]:
    """Yield the tensors that `fuse` would write, by name and in order, without writing anything.

    Values are those of the output's format; bfloat16, which numpy lacks, comes as float32.

    Args:
        recipe: as for `fuse`.
        resolve: as for `fuse`.
        threads: as for `fuse`.
        only: which tensors to make: their names, or a function of the name (default: all).
    """
    threads = threads or cores()
    parsed = load_recipe(recipe)
    hashing = parsed.order == "canonical" or methods.get(parsed.method).random
    wanted = (
        (lambda name: True) if only is None else only if callable(only) else set(only).__contains__
    )
    # of repositories of which only some tensors are asked for, only these are fetched
    some = None if only is None else wanted
    with (
        needed_parts(parsed, only=some) if resolve is None else nullcontext(resolve) as find,
        scratch_for(parsed) as scratch,
        Readers() as readers,
        ThreadPoolExecutor(threads) as pool,
    ):
        lesson = (_beside(recipe), scratch)
        folders = find_folders(parsed, find)
        ready = _prepare(parsed, folders, threads, Reporter(None, None), lesson, hashing=hashing)
        jobs = [job for job in ready.plan.jobs if wanted(job.name)]
        engine = Engine(ready.plan.method, readers, ready.keys())
        engine.survey(ready.plan.jobs, threads)
        queue: list[tuple[Job, _Memory, list[Future[None]]]] = []
        rest = iter(jobs)
        try:
            while True:
                # a few tensors ahead of the caller: threads have work, memory stays small
                for job in islice(rest, max(0, 2 * threads - len(queue))):
                    sink = _Memory(job)
                    parts = engine.segments(job)
                    queue.append(
                        (job, sink, [pool.submit(engine.make, job, a, b, sink) for a, b in parts])
                    )
                if not queue:
                    return
                job, sink, futures = queue.pop(0)
                for future in futures:
                    future.result()
                yield job.name, sink.values()
        finally:
            engine.stopped.set()


def canonical_order(recipe: Recipe, *, resolve: Resolver | None = None) -> FusionRecipe:
    """Return the recipe with its models sorted by the sha256 of their weights.

    Two recipes that name the same models with the same parameters in another order become equal,
    and so do the bytes they fuse to.
    """
    parsed = load_recipe(recipe)
    models = open_models(find_folders(parsed, resolve))
    hashes = hash_files([p for m in models.values() for p in m.files], threads=cores())
    return canonical(parsed, {r: identity(m, hashes) for r, m in models.items()})


class _Memory:
    """A sink that keeps one tensor."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stored = np.empty(job.size, STORAGE[job.out])

    def write(self, job: Job, start: int, stored: Array) -> None:
        self._stored[start : start + stored.size] = stored

    def values(self) -> Array:
        """Return the tensor in its shape, bfloat16 as float32."""
        stored = self._stored
        if self._job.out == "BF16":
            stored = np.empty(stored.size, np.float32)
            decode(self._stored, "BF16", stored)
        return stored.reshape(self._job.shape)


def _prepare(
    recipe: FusionRecipe,
    folders: Folders,
    threads: int,
    report: Reporter,
    lesson: tuple[Path, Path],
    *,
    hashing: bool,
) -> Prepared:
    models, vocabulary = unify(recipe, open_models(folders), donor_of(recipe))
    # what the headers can refuse is refused before any weights are read
    build_plan(recipe, models, vocabulary)
    find_heads(models)
    if recipe.chat_template:
        chosen_template(recipe.chat_template, models)
    method = methods.get(recipe.method)
    if method.statistics and not method.learns:
        models = {r: with_statistics(m) for r, m in models.items()}
    hashes: dict[Path, str] = {}
    if hashing:
        files = list(dict.fromkeys(p for m in models.values() for p in m.files))
        report.begin("reading", sum(p.stat().st_size for p in files))
        hashes = hash_files(files, threads=threads, tick=report.advance)
    if recipe.order == "canonical":
        recipe = canonical(recipe, {r: identity(m, hashes) for r, m in models.items()})
    found: Mapping[str, Any] = {}
    if method.learns:
        learned = learn(Lesson(recipe, models, *lesson, report.count("learning"), threads))
        recipe, found = learned.recipe, learned.found
        models = models | {r: given(models[r], f) for r, f in learned.statistics.items()}
        hashes |= hash_files(learned.statistics.values()) if hashing else {}
    stated = statements(recipe, models)
    if stated:
        found = {**found, "statistics": stated}
    plan = build_plan(recipe, models, vocabulary)
    return Prepared(plan, models, hashes, found)
