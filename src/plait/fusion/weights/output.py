# SPDX-License-Identifier: Apache-2.0
"""The folder that a fusion writes: hidden until it is whole, and taken up again after a crash.

Beside the output lies `.NAME.fusing` with the files at their final size and a journal. A part of a
tensor enters the journal after its bytes are on the disk; a new run with the same recipe, inputs
and software makes only the parts that are not in it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from plait.errors import Conflict, StorageFull
from plait.fusion.places import exchange
from plait.fusion.results import REPORT
from plait.fusion.weights.checksums import hash_files
from plait.fusion.weights.engine import SEGMENT
from plait.fusion.weights.numbers import STORAGE, Array
from plait.fusion.weights.plan import Job, Plan
from plait.fusion.weights.safetensors import layout
from plait.recipes.fusion import dump_recipe

SOFTWARE = version("plait")
INDEX = "model.safetensors.index.json"
JOURNAL = ".journal"
JOURNAL_SECONDS = 5.0  # how much work a crash can cost


def partial_folder(out: Path) -> Path:
    """Return where the work for `out` lies until it is whole."""
    return out.parent / f".{out.name}.fusing"


def same_folder(one: Path, other: Path) -> bool:
    """Tell whether two paths are one folder; a path that is not there is none."""
    return one.exists() and other.exists() and one.samefile(other)


class Output:
    """A model folder in the making; a context that leaves nothing behind when the work fails."""

    def __init__(
        self, out: Path, plan: Plan, hashes: Mapping[Path, str], shard_size: int | None
    ) -> None:
        self.out = out.absolute()
        self.folder = partial_folder(self.out)
        self.resumed = False
        self.shards = _split(plan, shard_size)
        self._digest = _digest(plan, hashes, shard_size)
        self._places: dict[str, tuple[int, int]] = {}
        self._files: dict[str, int] = {}
        self._done: set[tuple[str, int]] = set()
        self._waiting: list[tuple[str, int]] = []
        self._flushed = time.monotonic()
        self._lock = threading.Lock()
        self.bytes = 0
        self._guard = -1
        self._journal = -1

    def __enter__(self) -> Output:
        self._guard = _lock_folder(self.folder, self.out)
        try:
            self._take_up()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An error of the input would come again: nothing is kept. An interrupt leaves the work.
        keep = error is not None and not isinstance(error, Exception)
        if keep:
            self._flush()
        if error is not None and not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    def has(self, job: Job, start: int) -> bool:
        """Tell whether this part of a tensor was made by a run before."""
        return (job.name, start) in self._done

    def write(self, job: Job, start: int, stored: Array) -> None:
        """Write elements of a tensor at their place."""
        descriptor, offset = self._places[job.name]
        view = stored.view(np.uint8).data
        offset += start * stored.itemsize
        while view:
            count = os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count

    def finish(self, job: Job, start: int) -> None:
        """Note that a part of a tensor is made; it is journalled when its bytes are on the disk."""
        self._waiting.append((job.name, start))
        if time.monotonic() - self._flushed >= JOURNAL_SECONDS:
            self._flush()

    def sync(self) -> None:
        """Bring all weights to the disk."""
        self._flush()

    def hashes(self, threads: int, tick: Callable[[int], None]) -> dict[str, str]:
        """Return the sha256 of each file of weights."""
        paths = [self.folder / name for name in self.shards]
        found = hash_files(paths, threads=threads, tick=tick, cached=False)
        return {path.name: found[path] for path in paths}

    def publish(self, report: Mapping[str, Any], overwrite: bool) -> None:
        """Write the report and give the folder its name, in one step that others see."""
        if len(self.shards) > 1:
            _write_json(self.folder / INDEX, self._index())
        _write_json(self.folder / REPORT, report)
        for path in self.folder.iterdir():
            if path.name != JOURNAL:
                _sync_path(path)
        (self.folder / JOURNAL).unlink()
        _sync_path(self.folder)
        if self.out.exists() and overwrite and any(self.out.iterdir()):
            exchange(self.folder, self.out)
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            try:
                self.folder.rename(self.out)
            except OSError as error:
                raise Conflict(f"{self.out} came into being meanwhile: {error.strerror}.") from None
        _sync_path(self.out.parent)

    def _take_up(self) -> None:
        """Go on with an earlier run's folder if it was for the same work, else start anew."""
        journal = self.folder / JOURNAL
        lines = journal.read_text("utf-8", "replace").split("\n") if journal.is_file() else []
        if lines and lines[0] == self._digest:
            self.resumed = True
            for line in lines[1:-1]:  # what follows the last newline was cut off by the crash
                name, _, start = line.rpartition(" ")
                if start.isdigit():
                    self._done.add((json.loads(name), int(start)))
        elif self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        for name, jobs in self.shards.items():
            self._open(name, jobs)
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._journal = os.open(journal, flags, 0o644)
        if not self.resumed:
            os.write(self._journal, (self._digest + "\n").encode())
        self._flushed = time.monotonic()

    def _open(self, name: str, jobs: list[Job]) -> None:
        header, starts, size = layout((j.name, j.out, j.shape) for j in jobs)
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        descriptor = self._files[name] = os.open(self.folder / name, flags, 0o644)
        if os.fstat(descriptor).st_size != size:
            self._done -= {d for d in self._done if d[0] in starts}
            os.ftruncate(descriptor, size)
            try:
                os.posix_fallocate(descriptor, 0, size)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise StorageFull(
                        f"There is no room for {self.out} ({size:,} bytes): {error.strerror}."
                    ) from None
                # a file system that cannot reserve space says so when it is written to
        os.pwrite(descriptor, header, 0)
        self.bytes += size
        for job in jobs:
            self._places[job.name] = (descriptor, starts[job.name])

    def _flush(self) -> None:
        if self._journal < 0:
            return
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for descriptor in self._files.values():
                os.fdatasync(descriptor)
            lines = "".join(f"{json.dumps(name)} {start}\n" for name, start in waiting)
            os.write(self._journal, lines.encode())
            os.fdatasync(self._journal)
            self._flushed = time.monotonic()

    def _index(self) -> dict[str, Any]:
        where = {job.name: name for name, jobs in self.shards.items() for job in jobs}
        size = sum(j.size * STORAGE[j.out].itemsize for jobs in self.shards.values() for j in jobs)
        return {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))}

    def _close(self) -> None:
        for descriptor in (*self._files.values(), self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._files.clear()
        self._journal = -1
        if self._guard >= 0:
            _guard_path(self.folder).unlink()
            os.close(self._guard)
            self._guard = -1


def _guard_path(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.lock"


def _lock_folder(folder: Path, out: Path) -> int:
    """Take the lock on the work for `out`; the system frees it if the process dies."""
    path = _guard_path(folder)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise Conflict(
                f"Another run is making {out}; wait for it, or choose another folder."
            ) from None
        try:
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the run that held it ended and removed it between the two calls


def _split(plan: Plan, shard_size: int | None) -> dict[str, list[Job]]:
    """Say which file each tensor goes into: one, or as many as the shard size asks for."""
    groups: list[list[Job]] = [[]]
    filled = 0
    for job in plan.jobs:
        size = job.size * STORAGE[job.out].itemsize
        if shard_size and groups[-1] and filled + size > shard_size:
            groups.append([])
            filled = 0
        groups[-1].append(job)
        filled += size
    if len(groups) == 1:
        return {"model.safetensors": groups[0]}
    count = len(groups)
    return {f"model-{i:05d}-of-{count:05d}.safetensors": g for i, g in enumerate(groups, 1)}


def _digest(plan: Plan, hashes: Mapping[Path, str], shard_size: int | None) -> str:
    """Hash all that the bytes depend on; a journal with another digest is not gone on with."""
    told = {
        "software": [SOFTWARE, np.__version__, SEGMENT],
        "recipe": dump_recipe(plan.recipe),
        "shards": shard_size,
        "jobs": [
            [
                j.name,
                j.out,
                j.arithmetic,
                j.shape,
                [hashes[e.path] for e in j.inputs],
                dict(j.options),
            ]
            for j in plan.jobs
        ],
        "inputs": sorted(hashes.values()),
        "vocabulary": plan.vocabulary.digest if plan.vocabulary else None,
        "basis": plan.basis,
        "settings": [[dict(s) for s in j.settings] for j in plan.jobs],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", "utf-8")


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
