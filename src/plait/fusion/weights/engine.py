# SPDX-License-Identifier: Apache-2.0
"""Making tensors, block by block, in small buffers that are used again and again.

Inputs are read by position into small buffers that are used again for every block, not mapped: a
file that shrinks while it is read is then an error with a sentence instead of a signal that ends
the process, and resident memory is the buffers' alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.fusion.weights.computed import Computed
from plait.fusion.weights.methods.base import Block, Method, Value
from plait.fusion.weights.multiply_add import SPARE
from plait.fusion.weights.numbers import (
    LIMITS,
    NAMES,
    STORAGE,
    Array,
    all_finite,
    decode,
    encode,
    round_to,
    stored_finite,
)
from plait.fusion.weights.plan import Job
from plait.fusion.weights.safetensors import Entry

BLOCK = 131_072
"""Elements of a block. Smaller blocks cost several threads dearly, because every numpy call takes
and gives back the interpreter's lock; larger ones gain little more and take more memory (measured:
benchmarks/README.md)."""
ROW_GAP = 272
"""Elements between rows of one buffer."""
KEEP = 16_000_000
"""Bytes of a tensor of all models up to which it stays in memory between passes."""
SEGMENT = 16 * BLOCK
"""Elements that one thread makes at a time of a tensor that needs no preparation."""


class Sink(Protocol):
    """Where made elements go."""

    def write(self, job: Job, start: int, stored: Array) -> None:
        """Take `stored`, elements of the job's tensor from `start` on, in the format `job.out`."""
        ...


class Readers:
    """Open input files, shared by all threads; reading is by position."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def read(self, entry: Entry, start: int, into: Array) -> None:
        """Fill `into` with the entry's elements from `start` on."""
        if isinstance(entry, Computed):
            entry.fill(self.read, start, into)
            return
        with self._lock:
            descriptor = self._open.get(entry.path)
            if descriptor is None:
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                self._open[entry.path] = descriptor
        view = into.view(np.uint8).data
        offset = entry.offset + start * into.itemsize
        while view:
            count = os.preadv(descriptor, [view], offset)
            if count == 0:
                raise BadInput(f"{entry.path} became shorter while it was read; fetch it again.")
            view, offset = view[count:], offset + count


class Workspace:
    """One thread's buffers by name, grown when needed and used for every block."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, Any], Array] = {}
        self._rows: Array = np.empty((0, 0))
        self.size = 0

    def take(self, name: str, dtype: Any) -> Array:
        """Return the buffer of that name, at least as long as a block."""
        key = (name, dtype)
        found = self._buffers.get(key)
        if found is None or found.size < self.size:
            found = self._buffers[key] = np.empty(max(self.size, 1), dtype)
        return found

    def rows(self, count: int, dtype: Any) -> Array:
        """Return so many rows, each as long as a block, of one buffer."""
        # rows a power of two apart would fall on the same places of the processor's caches
        found = self._rows
        if found.dtype != dtype or found.shape[0] < count or found.shape[1] < self.size + ROW_GAP:
            found = self._rows = np.empty((count, self.size + ROW_GAP), dtype)
        return found[:count, : self.size]

    def keep(self, name: str, dtype: Any, size: int) -> Array:
        """Return a buffer for a whole small tensor; the next tensor's takes its place."""
        key = (f"kept {name}", dtype)
        found = self._buffers.get(key)
        if found is None or found.size < size:
            found = self._buffers[key] = np.empty(size, dtype)
        return found[:size]


class TensorSweep:
    """One tensor of all models, in blocks: what a method's `prepare` and `combine` see."""

    def __init__(
        self,
        job: Job,
        method: Method,
        readers: Readers,
        space: Workspace,
        keys: Mapping[str, bytes],
        check: Callable[[int], None],
    ) -> None:
        self.job = job
        self.total = job.size
        self.shape = job.shape
        self.settings: Sequence[Mapping[str, Value]] = job.settings
        self.options = job.options
        self._readers = readers
        self._space = space
        self._keys = [keys[m] for m in job.models]
        self._check = check
        self._length = block_length(method, job)
        self._has_rows = method.rows
        # rounding to half precision may make a number of a NaN
        self._looks = not method.shows_unfinite or job.arithmetic in ("BF16", "F16")
        self._kind = np.dtype(np.float64 if job.arithmetic == "F64" else np.float32)
        self.state: Any = None
        self._verified: dict[str, int] = {}
        self._keeps = False
        self._kept: dict[str, Array] = {}

    def keep(self) -> None:
        """Read a small tensor once: it is about to be gone through more often."""
        inputs = (*self.job.inputs, *([self.job.base] if self.job.base else []))
        self._keeps = sum(e.nbytes for e in inputs) <= KEEP

    @property
    def arithmetic_bytes(self) -> int:
        """Bytes of a float that blocks hold."""
        return self._kind.itemsize

    def blocks(
        self, models: Sequence[int] | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[Block]:
        """Yield blocks of the models of the given places (default: all), base included."""
        places = range(len(self.job.inputs)) if models is None else models
        stop = self.total if stop is None else stop
        space = self._space
        space.size = min(self._length, max(self.total, 1))
        for low in range(start, stop, self._length):
            size = min(self._length, stop - low)
            self._check(0)
            rows = self._rows(len(places))
            yield Block(
                tensor=self.job.name,
                start=low,
                total=self.total,
                shape=self.job.shape,
                base=self._load("base", self.job.base, low, size) if self.job.base else None,
                models=[
                    self._load(
                        f"m{p}",
                        self.job.inputs[p],
                        low,
                        size,
                        None if rows is None else rows[SPARE + at, :size],
                    )
                    for at, p in enumerate(places)
                ],
                settings=[self.settings[p] for p in places],
                options=self.options,
                keys=[self._keys[p] for p in places],
                arithmetic=self.job.arithmetic,
                state=self.state,
                statistics=[self._statistic(p, low, size) for p in places],
                spare=space.take,
                rows=None if rows is None else rows[:, :size],
            )

    def _rows(self, models: int) -> Array | None:
        if not self._has_rows or self._kind != np.float32:
            return None
        return self._space.rows(SPARE + models, self._kind)

    def look(self, start: int, size: int) -> None:
        """Look for NaN and infinity in these elements of every model.

        Raises:
            BadInput: naming the first model that holds one, and where.
        """
        self._looks, self._keeps = True, False
        for entry in (*self.job.inputs, *([self.job.base] if self.job.base else [])):
            self._verified.clear()
            self._load("looked over", entry, start, size)

    def _statistic(self, place: int, low: int, size: int) -> Array | None:
        entry = self.job.statistics[place] if self.job.statistics else None
        if entry is None:
            return None
        if entry.shape == self.job.shape:
            return self._load(f"s{place}", entry, low, size)
        values: Array = np.empty(entry.size, self._kind)
        raw = np.empty(entry.size, STORAGE[entry.code])
        self._readers.read(entry, 0, raw)
        decode(raw, entry.code, values)
        if not all_finite(values):
            raise BadInput(f"{entry.path}: the statistics '{entry.name}' hold NaN or infinity.")
        return values

    def _load(
        self, name: str, entry: Entry, start: int, size: int, into: Array | None = None
    ) -> Array:
        values = self._space.take(name, self._kind)[:size] if into is None else into
        stored = STORAGE[entry.code]
        raw = None
        if self._keeps:
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = self._space.keep(name, stored, self.total)
                self._readers.read(entry, 0, kept)
            raw = kept[start : start + size]
            decode(raw, entry.code, values)
        elif stored == self._kind and entry.code != "BF16":
            self._readers.read(entry, start, values)
        else:
            raw = self._space.take("raw", stored)[:size]
            self._readers.read(entry, start, raw)
            decode(raw, entry.code, values)
        # a tensor that is gone through again need not be looked over again
        if self._looks and start >= self._verified.get(name, 0):
            self._verified[name] = start + size
            self._refuse_unfinite(entry, start, raw, values)
        if self.job.arithmetic in ("BF16", "F16") and entry.code != self.job.arithmetic:
            spare = self._space.take("round", np.dtype(np.uint32))[:size]
            round_to(values, self.job.arithmetic, spare)
        return values

    def _refuse_unfinite(self, entry: Entry, start: int, raw: Array | None, values: Array) -> None:
        finite = None
        if raw is not None:
            spare = self._space.take("bits", raw.dtype)[: raw.size]
            finite = stored_finite(raw, entry.code, spare)
        if finite or (finite is None and all_finite(values)):
            return
        where = start + int(np.flatnonzero(~np.isfinite(values))[0])
        kind = "NaN" if np.isnan(values[where - start]) else "infinity"
        raise BadInput(
            f"{entry.path}: tensor '{entry.name}' holds {kind} (element {where:,}); "
            "a model with such weights cannot be fused: train or fetch it again."
        )


def block_length(method: Method, job: Job) -> int:
    """Return how many elements a block of a tensor holds: whole rows if the method needs them."""
    if method.whole:
        return max(job.size, 1)
    unit = method.unit(job.shape, job.options) if method.unit else 1
    return max(BLOCK // max(unit, 1), 1) * max(unit, 1)


class Engine:
    """Makes the tensors of a plan; one engine serves several threads."""

    def __init__(
        self,
        method: Method,
        readers: Readers,
        keys: Mapping[str, bytes],
        cancelled: Callable[[], bool] | None = None,
        done: Callable[[int], None] | None = None,
    ) -> None:
        self.method = method
        self._readers = readers
        self._keys = keys
        self._cancelled = cancelled
        self._done = done
        self._local = threading.local()
        self._surveyed: Any = None
        self.stopped = threading.Event()

    def check(self) -> None:
        """Stop here if somebody cancelled, or another thread failed."""
        if self.stopped.is_set() or (self._cancelled and self._cancelled()):
            raise Cancelled("The fusion was cancelled; nothing of it was kept.")

    def survey(self, jobs: Sequence[Job], threads: int) -> None:
        """Let the method go through all tensors, if it has to before it makes any."""
        changing = [job for job in jobs if not job.copies and job.size]
        if self.method.survey is None or not changing:
            return

        def each(call: Callable[[Any], Any]) -> Iterator[Any]:
            rest = iter(changing)
            waiting: list[Future[Any]] = []
            while True:
                # a few tensors ahead, as what comes of each may be large
                for job in islice(rest, max(0, 2 * threads - len(waiting))):
                    waiting.append(pool.submit(lambda job: call(self._sweep(job)), job))
                if not waiting:
                    return
                yield waiting.pop(0).result()

        with ThreadPoolExecutor(threads) as pool:
            try:
                self._surveyed = self.method.survey(each, changing[0].options)
            except BaseException:
                self.stopped.set()
                raise

    def segments(self, job: Job) -> list[tuple[int, int]]:
        """Return the ranges of a tensor that different threads may make."""
        if self.method.whole or job.copies or self._prepares(job):
            return [(0, job.size)]
        length = block_length(self.method, job)
        step = max(SEGMENT // length, 1) * length
        return [(low, min(low + step, job.size)) for low in range(0, max(job.size, 1), step)]

    def make(self, job: Job, start: int, stop: int, sink: Sink) -> None:
        """Make the elements from `start` to `stop` of a job's tensor and hand them to the sink.

        Raises:
            BadInput: for NaN or infinity in an input, or a result that its format cannot hold.
            Cancelled: if asked to stop.
        """
        self.check()
        space = self._space()
        if job.copies:
            self._copy(job, sink, space)
            return
        sweep = self._sweep(job)
        if self._prepares(job):
            assert self.method.prepare is not None
            sweep.keep()
            sweep.state = self.method.prepare(sweep)
        storage = STORAGE[job.out]
        read = sum(
            STORAGE[e.code].itemsize for e in (*job.inputs, *([job.base] if job.base else []))
        )
        kind = np.dtype(np.float64 if job.arithmetic == "F64" else np.float32)
        for block in sweep.blocks(start=start, stop=stop):
            size = block.models[0].size
            out = space.take("out", kind)[:size]
            with np.errstate(over="ignore", invalid="ignore"):
                self.method.combine(block, out)
            if not _in_range(out, job.out):
                sweep.look(block.start, size)
                raise BadInput(
                    f"Fusing tensor '{job.name}' gives values that {NAMES[job.out]} cannot hold "
                    f"(from element {block.start:,} on); choose smaller weights, or a wider "
                    "'out_dtype'."
                )
            stored = space.take("stored", storage)[:size]
            with np.errstate(over="ignore"):
                if job.arithmetic in ("BF16", "F16") and job.out != job.arithmetic:
                    block.round(out)
                encode(out, job.out, stored, space.take("code", np.dtype(np.uint32))[:size])
            sink.write(job, block.start, stored)
            if self._done:
                self._done(size * read)

    def _prepares(self, job: Job) -> bool:
        method = self.method
        return (
            method.prepare is not None
            and not job.copies
            and job.size > 0
            and method.needs_prepare(job.settings, job.options)
        )

    def _sweep(self, job: Job) -> TensorSweep:
        found = TensorSweep(
            job, self.method, self._readers, self._space(), self._keys, lambda _: self.check()
        )
        found.state = self._surveyed
        return found

    def _space(self) -> Workspace:
        space = getattr(self._local, "space", None)
        if space is None:
            space = self._local.space = Workspace()
        return space

    def _copy(self, job: Job, sink: Sink, space: Workspace) -> None:
        """Copy a tensor that is not of floats; it must be the same in every model."""
        stored = STORAGE[job.out]
        space.size = min(BLOCK, max(job.size, 1))
        for low in range(0, job.size, BLOCK):
            self.check()
            size = min(BLOCK, job.size - low)
            first = space.take("copy", stored)[:size]
            self._readers.read(job.inputs[0], low, first)
            for entry, model in zip(job.inputs[1:], job.models[1:], strict=True):
                other = space.take("other", stored)[:size]
                self._readers.read(entry, low, other)
                if not np.array_equal(first, other):
                    raise BadInput(
                        f"Tensor '{job.name}' ({job.out}) differs between '{job.models[0]}' and "
                        f"'{model}'; whole numbers cannot be fused and must agree."
                    )
            sink.write(job, low, first)
            if self._done:
                self._done(size * stored.itemsize * len(job.inputs))


def _in_range(out: Array, code: str) -> bool:
    """Tell whether a format can hold all values (NaN fails the comparison too)."""
    limit = LIMITS[code]
    return not out.size or (float(out.max()) <= limit and float(out.min()) >= -limit)
