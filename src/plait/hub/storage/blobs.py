# SPDX-License-Identifier: Apache-2.0
"""Large files by SHA-256: whole or not there.

A blob is a row (`Blob`) and its bytes: one object of the store, or a list of chunks of Xet xorbs
(`XetFile`). **The row is the truth.** Storing and collecting garbage may race, in several
processes, on any store and either database; this is how they keep apart, for blobs and for xorbs:

* `touched_at` is the mark. Whoever is about to refer to a blob runs ``UPDATE … SET touched_at``
  first (`BlobStore.touch`). No row changed: it is not there, upload it. Else it stays for the
  grace period, in which the reference becomes visible.
* Who stores bytes puts the object under its final name first. Then, in one transaction that holds
  the name (`lock_name`), the object is looked for and the row written; if the object is gone,
  the row is not written and the bytes are put again.
* `plait gc` takes two transactions. The first holds the name and the row, looks at ``touched_at``
  again, and removes the row. The second holds the name, and removes the object only if there is
  no row. A crash between them leaves an object without a row, never a row without bytes.
* An object without a row is removed in the same way, once it is older than the grace period.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from plait.errors import (
    BadInput,
    NotFound,
    PlaitError,
    RangeNotSatisfiable,
    StoreUnavailable,
    TooLarge,
)
from plait.hub.database import Blob, BlobGrant, XetFile, lock_name, now
from plait.hub.git.pointers import is_sha256
from plait.hub.storage.base import (
    CHUNK,
    StoredObject,
    object_name,
    storage_errors,
    storage_full,
)
from plait.hub.storage.disk import sync_folder

if TYPE_CHECKING:
    from plait.hub.facade import Hub

__all__ = ["CHUNK", "BlobStore", "storage_errors", "storage_full", "sync_folder"]

FOLDER = "blobs"
_AT_ONCE = 500
"""Databases bound the number of parameters of one statement."""


class BlobStore:
    """The blobs of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.temporary = hub.settings.temporary_dir
        self.max_size = hub.settings.max_blob

    # -- what is there --------------------------------------------------------------------------

    def exists(self, sha256: str) -> bool:
        """Tell whether the hub has the blob."""
        _name(sha256)
        with self._hub.session() as session:
            return session.get(Blob, sha256) is not None

    def size(self, sha256: str) -> int:
        """Return the size in bytes.

        Raises:
            NotFound: no such blob.
        """
        _name(sha256)
        with self._hub.session() as session:
            row = session.get(Blob, sha256)
        if row is None:
            raise _missing(sha256)
        return row.size

    def __iter__(self) -> Iterator[str]:
        """Yield the SHA-256 of every blob, in order."""
        last = ""
        while True:
            with self._hub.session() as session:
                rows = session.scalars(
                    select(Blob.sha256).where(Blob.sha256 > last).order_by(Blob.sha256).limit(1000)
                ).all()
            yield from rows
            if not rows:
                return
            last = rows[-1]

    def objects(self) -> Iterator[StoredObject]:
        """Yield every flat object of the store, also those without a row."""
        return self._hub.store.list(FOLDER)

    def local_path(self, sha256: str) -> Path | None:
        """Return the file of a blob that is one flat file on this machine. Never write into it."""
        return self._hub.store.local_path(_name(sha256))

    def signed_url(self, sha256: str, seconds: int, headers: dict[str, str]) -> str | None:
        """Return an address in the store for a flat blob, if the store gives such.

        ``headers`` are those that the store's answer shall have.
        """
        name = _name(sha256)
        with self._hub.session() as session:
            row = session.get(Blob, sha256)
        if row is None or not row.flat:
            return None
        return self._hub.store.signed_url(name, seconds, headers=headers)

    # -- writing --------------------------------------------------------------------------------

    def write(
        self,
        source: BinaryIO | IO[bytes] | Path | Iterable[bytes],
        expected_sha256: str | None = None,
        expected_size: int | None = None,
    ) -> tuple[str, int]:
        """Store bytes and return their SHA-256 and size; storing the same again is harmless.

        Raises:
            BadInput: the bytes are not those that were announced.
            TooLarge: more bytes than announced, or than a blob may have.
            StorageFull: the disk is full.
        """
        limit = self.max_size if expected_size is None else min(expected_size, self.max_size)
        what = f"sha256 {expected_sha256}" if expected_sha256 else "the file"
        with storage_errors(what), self._temporary() as (file, stream):
            digest, size = hashlib.sha256(), 0
            for chunk in _chunks(source):
                size += len(chunk)
                if size > limit:
                    raise TooLarge(
                        f"More than {limit} bytes were sent for {what}. Upload it again."
                    )
                digest.update(chunk)
                stream.write(chunk)
            sha256 = digest.hexdigest()
            if expected_size is not None and size != expected_size:
                raise BadInput(
                    f"{what} should have {expected_size} bytes but {size} arrived. Upload it again."
                )
            if expected_sha256 is not None and sha256 != expected_sha256:
                raise BadInput(f"The bytes sent for {what} have sha256 {sha256}. Upload it again.")
            stream.flush()
            self.adopt(file, sha256)
        return sha256, size

    def adopt(self, file: Path, sha256: str) -> None:
        """Store a finished file of known SHA-256 (the caller has hashed it), which stays there.

        Linked and not copied, if it lies in the hub's temporary folder on a disk store.
        """
        store, name, size = self._hub.store, _name(sha256), file.stat().st_size
        if self._made_of_xorbs(sha256) and self.touch(sha256):
            return
        for again in range(2):
            with storage_errors(f"sha256 {sha256}"):
                if not self._whole(name, size):
                    store.put(name, file)
            with self._hub.session(write=True) as session:
                lock_name(session, name)
                if not self._whole(name, size):
                    # Collected a moment ago, before there was a row. While the name is held
                    # it cannot happen once more, but others may have to wait.
                    if not again:
                        continue
                    store.put(name, file)
                row = session.get(Blob, sha256)
                if row is None:
                    session.add(Blob(sha256=sha256, size=size))
                else:
                    row.flat, row.touched_at = True, now()
                return

    def _whole(self, name: str, size: int) -> bool:
        found = self._hub.store.head(name)
        return found is not None and found.size == size

    def _made_of_xorbs(self, sha256: str) -> bool:
        with self._hub.session() as session:
            row = session.get(Blob, sha256)
            return row is not None and not row.flat

    def touch(self, sha256: str, session: Session | None = None) -> bool:
        """Mark the blob as wanted now, so that `plait gc` leaves it; False if it is not there."""
        return bool(self.touch_all([sha256], session))

    def touch_all(self, names: Iterable[str], session: Session | None = None) -> dict[str, int]:
        """Mark blobs as wanted and return the sizes of those that are there.

        Args:
            names: their SHA-256.
            session: a transaction that writes; one of its own if not given.
        """
        wanted = sorted(set(names))
        if session is None:
            if not wanted:
                return {}
            with self._hub.session(write=True) as session:
                return self.touch_all(wanted, session)
        found: dict[str, int] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            these = Blob.sha256.in_(wanted[start : start + _AT_ONCE])
            session.execute(update(Blob).where(these).values(touched_at=now()))
            rows = session.execute(select(Blob.sha256, Blob.size).where(these))
            found.update((sha256, size) for sha256, size in rows)
        return found

    # -- removing -------------------------------------------------------------------------------

    def delete(self, sha256: str) -> bool:
        """Remove a blob and every grant to it; False if it was not there."""
        return self.delete_older(sha256, None)

    def delete_older(self, sha256: str, cut: datetime | None) -> bool:
        """Remove a blob that nobody has touched since ``cut``; see the module's first lines."""
        name = _name(sha256)
        with self._hub.session(write=True) as session:
            lock_name(session, name)
            row = session.get(Blob, sha256, with_for_update={"of": Blob})
            if row is None or (cut is not None and row.touched_at >= cut):
                return False
            session.execute(delete(BlobGrant).where(BlobGrant.sha256 == sha256))
            session.delete(row)
        self.delete_orphan(sha256, None)
        return True

    def delete_orphan(self, sha256: str, cut: float | None) -> bool:
        """Remove an object without a row that is older than ``cut`` (seconds since 1970)."""
        name, store = _name(sha256), self._hub.store
        with self._hub.session(write=True) as session:
            lock_name(session, name)
            if session.get(Blob, sha256) is not None:
                return False
            if cut is not None and ((found := store.head(name)) is None or found.modified >= cut):
                return False
            store.delete(name)
        return True

    # -- reading --------------------------------------------------------------------------------

    def read_range(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``end`` (exclusive), in memory that does not grow with them.

        Raises:
            NotFound: no such blob.
            RangeNotSatisfiable: the range lies outside it.
        """
        name = _name(sha256)
        with self._hub.session() as session:
            row = session.get(Blob, sha256)
        if row is None:
            raise _missing(sha256)
        end = row.size if end is None else end
        if not 0 <= start <= end <= row.size:
            raise RangeNotSatisfiable(
                f"Bytes {start}-{end} lie outside the file of {row.size} bytes."
            )
        if row.flat:
            with suppress(FileNotFoundError):
                return self._hub.store.read(name, start, end)
        return self._hub.xet.read_range(sha256, start, end)

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob as a file that can be read and searched.

        Raises:
            NotFound: no such blob.
        """
        size = self.size(sha256)
        path = self.local_path(sha256)
        if path is not None:
            with suppress(FileNotFoundError):
                return path.open("rb")
        return cast("BinaryIO", io.BufferedReader(_Ranges(self, sha256, size), CHUNK))

    def save(self, sha256: str, target: Path) -> None:
        """Write a blob to the new file ``target``: a read-only hard link where that is possible.

        Raises:
            NotFound: no such blob.
        """
        path = self.local_path(sha256)
        if path is not None and self.exists(sha256):
            with suppress(OSError):
                os.link(path, target)
                return
        with target.open("xb") as stream:
            stream.writelines(self.read_range(sha256))

    def verify(self, sha256: str) -> str | None:
        """Read a blob whole; return what is wrong with it in a few words, None if nothing is."""
        digest, size = hashlib.sha256(), 0
        try:
            expected = self.size(sha256)
            for piece in self.read_range(sha256):
                digest.update(piece)
                size += len(piece)
        except StoreUnavailable:
            raise
        except (PlaitError, OSError) as error:
            return f"the bytes of sha256 {sha256} are missing or damaged ({error})"
        if size != expected:
            return f"sha256 {sha256} should have {expected} bytes but {size} are stored"
        if digest.hexdigest() != sha256:
            return f"the bytes stored as sha256 {sha256} are damaged"
        return None

    def present(self, sha256: str) -> bool:
        """Tell whether a blob's row and all objects that it needs are there, reading none."""
        with self._hub.session() as session:
            row = session.get(Blob, sha256)
            made = row is not None and session.get(XetFile, sha256) is not None
        if row is None:
            return False
        if row.flat and self._whole(_name(sha256), row.size):
            return True
        return made and self._hub.xet.present(sha256)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        name = self.temporary / f"blob-{secrets.token_hex(12)}"
        try:
            with name.open("xb") as stream:
                yield name, stream
        finally:
            name.unlink(missing_ok=True)


class _Ranges(io.RawIOBase):
    """A blob as a raw file: reads on where it is, starts anew where it is sought to."""

    def __init__(self, blobs: BlobStore, sha256: str, size: int) -> None:
        self._blobs = blobs
        self._sha256 = sha256
        self._size = size
        self._at = 0
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        target = max(0, base + offset)
        if target != self._at:
            self._at, self._pieces, self._rest = target, None, memoryview(b"")
        return target

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        if self._pieces is None:
            self._pieces = self._blobs.read_range(self._sha256, self._at)
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._at += count
        return count


def _name(sha256: str) -> str:
    if not is_sha256(sha256):
        raise BadInput(f"{sha256[:80]!a} is not a SHA-256 (64 lowercase hex digits).")
    return object_name(FOLDER, sha256)


def _missing(sha256: str) -> NotFound:
    return NotFound(f"The hub does not have the bytes of sha256 {sha256}.")


def _chunks(source: BinaryIO | IO[bytes] | Path | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            yield from _chunks(stream)
    elif hasattr(source, "read"):
        while chunk := source.read(CHUNK):
            yield chunk
    else:
        yield from source
