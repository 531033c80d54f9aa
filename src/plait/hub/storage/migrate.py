# SPDX-License-Identifier: Apache-2.0
"""Copying all bytes from one store to another, while the hub goes on working.

Every object is checked against its name before it is written, and read back and checked after. A
journal in the hub's folder says what has been done: killed at any point, the next run goes on. An
object that arrives meanwhile is found by the next pass; passes are made until one finds nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from plait.errors import BadInput, PlaitError
from plait.hub.storage.base import ObjectStore, StoredObject, storage_errors
from plait.hub.xet.hashing import to_text
from plait.hub.xet.xorb import Pieces, XorbIndex, check_xorb
from plait.settings import Settings

_INDEX = ".index"
_THREADS = 4
_PASSES = 10


@dataclass
class Migration:
    """What `migrate` did; sizes in bytes."""

    copied: int = 0
    copied_bytes: int = 0
    there: int = 0
    """Objects that the target had already, checked now or by an earlier run."""
    damaged: list[str] = field(default_factory=list)
    """Objects that are not what their name says, and were not copied."""


def migrate(
    settings: Settings,
    source: ObjectStore,
    target: ObjectStore,
    progress: Callable[[Migration], None] = lambda _: None,
) -> Migration:
    """Copy every blob and xorb that ``target`` lacks.

    Raises:
        BadInput: the two are one store.
        StoreUnavailable, StorageFull: a store does not do its part; run it again.
    """
    if source.address == target.address:
        raise BadInput(f"The bytes lie in {source.address} already.")
    run = _Run(settings, source, target, progress)
    for _ in range(_PASSES):
        before = run.report.copied
        run.once()
        if run.report.copied == before:
            break
    run.journal.unlink(missing_ok=True)
    return run.report


class _Run:
    def __init__(
        self,
        settings: Settings,
        source: ObjectStore,
        target: ObjectStore,
        progress: Callable[[Migration], None],
    ) -> None:
        self.source, self.target = source, target
        self.temporary = settings.temporary_dir
        self.report = Migration()
        self._progress = progress
        self._lock = threading.Lock()
        digest = hashlib.sha256(f"{source.address}\0{target.address}".encode()).hexdigest()[:16]
        self.journal = settings.dir / f"migration-{digest}.txt"
        text = self.journal.read_text() if self.journal.is_file() else ""
        # A line that a kill cut short names no object, and is done again.
        self._done = set(text.splitlines())

    def once(self) -> None:
        """Go through the source once."""
        pending: set[Future[None]] = set()
        with ThreadPoolExecutor(_THREADS) as pool, self.journal.open("a") as journal:
            try:
                for item in self._wanted():
                    pending.add(pool.submit(self._move, item, journal.write, journal.flush))
                    if len(pending) >= 2 * _THREADS:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        for future in done:
                            future.result()
                for future in pending:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _wanted(self) -> Iterator[StoredObject]:
        for folder in ("blobs", "xorbs"):
            for item in self.source.list(folder):
                if item.name in self._done or item.name.endswith(_INDEX):
                    continue
                yield item

    def _move(
        self, item: StoredObject, write: Callable[[str], int], flush: Callable[[], None]
    ) -> None:
        copied = False
        try:
            if not self._whole(item):
                if not self._copy(item):
                    return  # Collected meanwhile.
                copied = True
            if (problem := _problem(self.target, item.name)) is not None:
                raise PlaitError(f"{item.name} did not arrive whole ({problem}). Run it again.")
        except _Damaged:
            with self._lock:
                if item.name not in self.report.damaged:
                    self.report.damaged.append(item.name)
            return
        with self._lock:
            self._done.add(item.name)
            write(f"{item.name}\n")
            flush()
            self.report.copied += copied
            self.report.copied_bytes += item.size if copied else 0
            self.report.there += not copied
            self._progress(self.report)

    def _whole(self, item: StoredObject) -> bool:
        found = self.target.head(item.name)
        if found is None or found.size != item.size:
            return False
        if item.name.startswith("xorbs/") and self.target.head(item.name + _INDEX) is None:
            return False
        return _problem(self.target, item.name) is None

    def _copy(self, item: StoredObject) -> bool:
        problem = _problem(self.source, item.name)
        if problem is not None:
            if self.source.head(item.name) is None:
                return False
            raise _Damaged
        names = [item.name]
        if item.name.startswith("xorbs/"):
            names.insert(0, item.name + _INDEX)
        for name in names:
            local = self.source.local_path(name)
            if local is not None:
                self._put(name, local)
                continue
            fresh = self.temporary / f"migrate-{secrets.token_hex(12)}"
            try:
                with storage_errors(name), fresh.open("xb") as stream:
                    _fill(stream, self.source.read(name))
                self._put(name, fresh)
            finally:
                fresh.unlink(missing_ok=True)
        return True

    def _put(self, name: str, file: Path) -> None:
        self.target.delete(name)
        self.target.put(name, file)


class _Damaged(Exception):
    """The object is not what its name says."""


def _fill(stream: BinaryIO, pieces: Iterator[bytes]) -> None:
    stream.writelines(pieces)


def _problem(store: ObjectStore, name: str) -> str | None:
    """Read an object; say what is wrong with it, None if it is what its name says."""
    digest = name.rsplit("/", 1)[1]
    try:
        if name.startswith("blobs/"):
            hasher = hashlib.sha256()
            for piece in store.read(name):
                hasher.update(piece)
            return None if hasher.hexdigest() == digest else "it has another SHA-256"
        index = XorbIndex.from_bytes(b"".join(store.read(name + _INDEX)))
        found = check_xorb(Pieces(store.read(name)))
        return None if found == index and to_text(found.hash) == digest else "its chunks differ"
    except FileNotFoundError:
        return "it is missing"
    except PlaitError as error:
        if error.status in (503, 507):
            raise
        return error.message
