# SPDX-License-Identifier: Apache-2.0
"""Making a planned model in its folder: threads, progress, the report, whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled, StorageFull
from plait.fusion.results import FusionResult, Progress
from plait.fusion.weights.checkpoints import Checkpoint, identity
from plait.fusion.weights.engine import Engine, Readers
from plait.fusion.weights.numbers import STORAGE
from plait.fusion.weights.opening import Folders
from plait.fusion.weights.output import SOFTWARE, Output, same_folder
from plait.fusion.weights.plan import Job, Plan

Companions = Callable[[Path, Iterable[str]], None]
"""Write everything but weights into a folder; the names of the files of weights are told."""


@dataclass
class Prepared:
    """A plan, the opened models that it reads, the sha256 of their files, what else was found."""

    plan: Plan
    models: dict[str, Checkpoint]
    hashes: dict[Path, str] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)

    def keys(self) -> dict[str, bytes]:
        """Return what names each model's content for random draws; seed included."""
        seed = self.plan.seed.to_bytes(8, "little")
        if not self.hashes:
            return dict.fromkeys(self.models, seed)
        return {r: seed + identity(m, self.hashes).encode() for r, m in self.models.items()}


@dataclass(frozen=True)
class Work:
    """Where a fusion goes and how."""

    out: Path
    overwrite: bool
    shard_size: int | None
    threads: int
    report: Reporter
    began: tuple[float, float] = field(
        default_factory=lambda: (time.monotonic(), time.process_time())
    )


class Reporter:
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
        """Start to count a stage's bytes."""
        self._stage, self._done, self._total = stage, 0, total
        self._tell()
        self.check()

    def check(self) -> None:
        """Stop here if the caller, asked at once, says so."""
        self._next = 0.0
        self.advance(0)

    def advance(self, count: int) -> None:
        """Count bytes that are done; stop if the caller says so."""
        if self.cancelled():
            raise Cancelled("The fusion was cancelled; nothing of it was kept.")
        with self._lock:
            self._done += count
            now = time.monotonic()
            if self._done < self._total and now - self._last < 0.1:
                return
            self._last = now
        self._tell()

    def count(self, stage: str) -> Callable[[int, int], None]:
        """Return what a stage tells how much of its whole is done."""

        def tell(done: int, total: int) -> None:
            if (self._stage, self._total) != (stage, total):
                self.begin(stage, total)
            self.advance(done - self._done)

        return tell

    def _tell(self) -> None:
        if self._progress:
            self._progress(Progress(self._stage, min(self._done, self._total), self._total))


def refuse_input(out: Path, folders: Folders) -> None:
    """Refuse an output folder that is one of the inputs."""
    for folder in (f for both in folders.values() for f in both):
        if same_folder(folder, out):
            raise BadInput(f"The output {out} is one of the inputs; choose another folder.")


def make_folder(
    ready: Prepared, recipe: Mapping[str, Any], work: Work, companions: Companions
) -> FusionResult:
    """Make all tensors of a plan, and what stands beside them, in the new folder `work.out`.

    Args:
        ready: the plan; every file that it reads has a hash.
        recipe: for the report: what `plait fuse` makes the same from.
        work: where and how.
        companions: writes what is not weights.

    Raises:
        StorageFull: if the disk has no room; nothing is left of the work.
    """
    plan, report, threads, out = ready.plan, work.report, work.threads, work.out
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        _room(out),
        Output(out, plan, ready.hashes, work.shard_size) as output,
    ):
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
                    report.advance((high - low) * bytes_per_element(job))
            _run(engine, [p for p in parts if not output.has(p[0], p[1])], output, threads)
        if not all(m.unchanged() for m in ready.models.values()):
            raise BadInput("An input file changed while it was read; start again.")
        output.sync()
        report.begin("checking", output.bytes)
        outputs = output.hashes(threads, report.advance)
        report.check()
        companions(output.folder, output.shards)
        inputs = {
            reference: {p.name: ready.hashes[p] for p in model.files}
            for reference, model in ready.models.items()
        }
        told = {
            "schema": 1,
            "recipe": recipe,
            "inputs": inputs,
            "outputs": outputs,
            "software": {"plait": SOFTWARE, "numpy": np.__version__},
            **ready.found,
        }
        seconds = time.monotonic() - work.began[0]
        cpu_seconds = time.process_time() - work.began[1]
        output.publish(told, work.overwrite)
        return FusionResult(
            out,
            inputs,
            outputs,
            seconds,
            cpu_seconds,
            plan.bytes + output.bytes,
            output.resumed,
            ready.found,
        )


@contextmanager
def _room(out: Path) -> Iterator[None]:
    """Say in a sentence that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StorageFull(
            f"There is no room for {out}: {error.strerror}. Nothing of it was kept; make room, "
            "or choose another folder."
        ) from None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bytes_per_element(job: Job) -> int:
    """Return how many bytes of input an element of a tensor takes."""
    entries = (*job.inputs, *([job.base] if job.base else []))
    return sum(STORAGE[e.code].itemsize for e in entries)


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
