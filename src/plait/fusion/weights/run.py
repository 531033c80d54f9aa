# SPDX-License-Identifier: Apache-2.0
"""`fuse`: a recipe's models into a new model folder, whole or not at all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.fusion.places import check_out
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights import methods
from plait.fusion.weights.checkpoints import Checkpoint, hash_files, identity, with_statistics
from plait.fusion.weights.companions import find_heads, write_companions
from plait.fusion.weights.engine import Engine, Readers
from plait.fusion.weights.numbers import STORAGE, Array, decode
from plait.fusion.weights.opening import Folders, Resolver, find_folders, open_models
from plait.fusion.weights.output import SOFTWARE, Output, same_folder
from plait.fusion.weights.plan import Job, Plan, build_plan, canonical, donor_of
from plait.fusion.weights.remote import needed_parts
from plait.fusion.weights.stages import remove_stages, run_stages
from plait.fusion.weights.templates import chosen_template
from plait.fusion.weights.vocabulary import unify
from plait.recipes.fusion import FusionRecipe, dump_recipe, load_recipe, load_stages

Recipe = str | Path | Mapping[str, Any] | FusionRecipe


@dataclass
class _Prepared:
    recipe: FusionRecipe
    plan: Plan
    models: dict[str, Checkpoint]
    hashes: dict[Path, str] = field(default_factory=dict)

    def keys(self) -> dict[str, bytes]:
        """Return what names each model's content for random draws; seed included."""
        seed = self.plan.seed.to_bytes(8, "little")
        if not self.hashes:
            return dict.fromkeys(self.models, seed)
        return {r: seed + identity(m, self.hashes).encode() for r, m in self.models.items()}


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
    threads = threads or _cores()
    out = Path(out)
    stages = load_stages(recipe)
    check_out(out, overwrite)
    out = out.resolve()
    parsed = stages[-1][1]
    if len(stages) > 1:

        def run(stage: FusionRecipe, place: Path, find: Resolver) -> None:
            fuse(
                stage,
                place,
                resolve=find,
                threads=threads,
                progress=progress,
                cancelled=cancelled,
                overwrite=True,
            )

        resolve = run_stages(stages, out, resolve, run)
    # of repositories that a recipe takes only parts of, only these are fetched
    parts = needed_parts(parsed) if resolve is None and len(stages) == 1 else nullcontext(resolve)
    work = _Work(out, overwrite, out_shard_size, threads, _Reporter(progress, cancelled))
    with parts as find:
        result = _fuse(parsed, find, work)
    if len(stages) > 1:
        remove_stages(out)
    return result


@dataclass(frozen=True)
class _Work:
    """Where a fusion goes and how."""

    out: Path
    overwrite: bool
    shard_size: int | None
    threads: int
    report: _Reporter


def _fuse(parsed: FusionRecipe, resolve: Resolver | None, work: _Work) -> FusionResult:
    clock, cpu = time.monotonic(), time.process_time()
    out, threads, report = work.out, work.threads, work.report
    folders = find_folders(parsed, resolve)
    for folder in (f for both in folders.values() for f in both):
        if same_folder(folder, out):
            raise BadInput(f"The output {out} is one of the inputs; choose another folder.")
    ready = _prepare(parsed, folders, threads, report, hashing=True)
    plan = ready.plan
    out.parent.mkdir(parents=True, exist_ok=True)
    with Output(out, plan, ready.hashes, work.shard_size) as output:
        report.begin("fusing", plan.bytes)
        with Readers() as readers:
            engine = Engine(plan.method, readers, ready.keys(), report.cancelled, report.advance)
            engine.survey(plan.jobs, threads)
            parts = [
                (job, low, high)
                for job in sorted(plan.jobs, key=lambda j: (-j.size, j.name))
                for low, high in engine.segments(job)
            ]
            for job, low, high in parts:
                if output.has(job, low):
                    report.advance((high - low) * _bytes_per_element(job))
            _run(engine, [p for p in parts if not output.has(p[0], p[1])], output, threads)
        if not all(m.unchanged() for m in ready.models.values()):
            raise BadInput("An input file changed while it was read; start again.")
        output.sync()
        report.begin("checking", output.bytes)
        outputs = output.hashes(threads, report.advance)
        report.check()
        write_companions(output.folder, plan, ready.models, output.shards)
        inputs = {
            reference: {p.name: ready.hashes[p] for p in model.files}
            for reference, model in ready.models.items()
        }
        seconds, cpu_seconds = time.monotonic() - clock, time.process_time() - cpu
        output.publish(_report(parsed, inputs, outputs), work.overwrite)
        return FusionResult(
            out, inputs, outputs, seconds, cpu_seconds, plan.bytes + output.bytes, output.resumed
        )


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
    threads = threads or _cores()
    parsed = load_recipe(recipe)
    folders = find_folders(parsed, resolve)
    hashing = parsed.order == "canonical" or methods.get(parsed.method).random
    ready = _prepare(parsed, folders, threads, _Reporter(None, None), hashing=hashing)
    wanted = (
        (lambda name: True) if only is None else only if callable(only) else set(only).__contains__
    )
    jobs = [job for job in ready.plan.jobs if wanted(job.name)]
    with Readers() as readers, ThreadPoolExecutor(threads) as pool:
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
    hashes = hash_files([p for m in models.values() for p in m.files], threads=_cores())
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


class _Reporter:
    """Counts bytes from several threads and tells the caller at most ten times a second."""

    def __init__(
        self, progress: Callable[[Progress], None] | None, cancelled: Callable[[], bool] | None
    ) -> None:
        self._asked = cancelled
        self._next = 0.0
        self._cancelled = False
        self._progress = progress
        self._lock = threading.Lock()
        self._stage, self._done, self._total, self._last = "", 0, 0, 0.0

    def cancelled(self) -> bool:
        """Ask the caller whether to stop, at most twenty times a second; it may ask a database."""
        if self._asked and not self._cancelled and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.05
            self._cancelled = self._asked()
        return self._cancelled

    def begin(self, stage: str, total: int) -> None:
        self._stage, self._done, self._total = stage, 0, total
        self._tell()
        self.check()

    def check(self) -> None:
        """Stop here if the caller, asked at once, says so."""
        self._next = 0.0
        self.advance(0)

    def advance(self, count: int) -> None:
        if self.cancelled():
            raise Cancelled("The fusion was cancelled; nothing of it was kept.")
        with self._lock:
            self._done += count
            now = time.monotonic()
            if self._done < self._total and now - self._last < 0.1:
                return
            self._last = now
        self._tell()

    def _tell(self) -> None:
        if self._progress:
            self._progress(Progress(self._stage, min(self._done, self._total), self._total))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bytes_per_element(job: Job) -> int:
    entries = (*job.inputs, *([job.base] if job.base else []))
    return sum(STORAGE[e.code].itemsize for e in entries)


def _prepare(
    recipe: FusionRecipe,
    folders: Folders,
    threads: int,
    report: _Reporter,
    *,
    hashing: bool,
) -> _Prepared:
    models, vocabulary = unify(recipe, open_models(folders), donor_of(recipe))
    # what the headers can refuse is refused before any weights are read
    build_plan(recipe, models, vocabulary)
    find_heads(models)
    if recipe.chat_template:
        chosen_template(recipe.chat_template, models)
    if methods.get(recipe.method).statistics:
        models = {r: with_statistics(m) for r, m in models.items()}
    hashes: dict[Path, str] = {}
    if hashing:
        files = list(dict.fromkeys(p for m in models.values() for p in m.files))
        report.begin("reading", sum(p.stat().st_size for p in files))
        hashes = hash_files(files, threads=threads, tick=report.advance)
    if recipe.order == "canonical":
        recipe = canonical(recipe, {r: identity(m, hashes) for r, m in models.items()})
    plan = build_plan(recipe, models, vocabulary)
    return _Prepared(recipe, plan, models, hashes)


def _run(engine: Engine, work: list[tuple[Job, int, int]], output: Output, threads: int) -> None:
    """Make all parts with a pool of threads; the first failure stops the others."""
    rest = iter(work)
    with ThreadPoolExecutor(threads) as pool:
        running: dict[Future[None], tuple[Job, int]] = {}
        try:
            while True:
                for job, low, high in islice(rest, max(0, 2 * threads - len(running))):
                    running[pool.submit(engine.make, job, low, high, output)] = (job, low)
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    job, low = running.pop(future)
                    future.result()
                    output.finish(job, low)
        except BaseException:
            engine.stopped.set()
            for future in running:
                future.cancel()
            raise


def _report(
    recipe: FusionRecipe, inputs: Mapping[str, Mapping[str, str]], outputs: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "schema": 1,
        "recipe": dump_recipe(recipe),
        "inputs": inputs,
        "outputs": outputs,
        "software": {"plait": SOFTWARE, "numpy": np.__version__},
    }
