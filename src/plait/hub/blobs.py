# SPDX-License-Identifier: Apache-2.0
"""Large files by SHA-256: whole or not there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO

from plait.errors import BadInput, NotFound, RangeNotSatisfiable, StorageFull, TooLarge
from plait.hub.pointers import is_sha256

CHUNK = 2**20


def storage_full(what: str) -> StorageFull:
    """Return the error for a disk without room for ``what``."""
    return StorageFull(
        f"There is no room left to store {what}. Free space on the hub's disk "
        "(`plait gc` removes what nothing refers to) and try again."
    )


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn a full disk into `StorageFull`; other errors of the system pass."""
    try:
        yield
    except OSError as error:
        # libgit2's errors have no number, only the system's words.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise storage_full(what) from error
        raise


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class BlobStore:
    """Blobs in a folder, ``ab/cd/abcd…``; a name appears only when its bytes are on the disk."""

    def __init__(self, folder: Path, temporary: Path, *, max_size: int = 2**62) -> None:
        self.folder = folder
        self.temporary = temporary
        self.max_size = max_size

    def path(self, sha256: str) -> Path:
        """Return where a blob is or would be.

        Raises:
            BadInput: not a SHA-256.
        """
        if not is_sha256(sha256):
            raise BadInput(f"{sha256[:80]!a} is not a SHA-256 (64 lowercase hex digits).")
        return self.folder / sha256[:2] / sha256[2:4] / sha256

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is stored."""
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Return the stored size in bytes.

        Raises:
            NotFound: no such blob.
        """
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"The hub does not have the bytes of sha256 {sha256}.") from None

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
        with storage_errors(what), self._temporary() as (name, stream):
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
            os.fsync(stream.fileno())
            self._land(name, sha256)
        return sha256, size

    def adopt(self, file: Path, sha256: str) -> None:
        """Move a finished file of known SHA-256 (the caller has hashed it) into the store.

        ``file`` must lie in the store's temporary folder, on the same file system.
        """
        with storage_errors(f"sha256 {sha256}"):
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            self._land(file, sha256)

    def _land(self, name: Path, sha256: str) -> None:
        target = self.path(sha256)
        if self.touch(sha256):
            name.unlink()
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        name.chmod(0o444)
        name.replace(target)
        for folder in (target.parent, target.parent.parent, self.folder):
            sync_folder(folder)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        name = self.temporary / f"blob-{secrets.token_hex(12)}"
        try:
            with name.open("xb") as stream:
                yield name, stream
        finally:
            with suppress(FileNotFoundError):
                name.unlink()

    @contextmanager
    def _guard(self, mode: int) -> Iterator[None]:
        """Keep marking a blob as wanted and removing it as unwanted apart, in all processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)

    def touch(self, sha256: str) -> bool:
        """Mark the blob as wanted now, so that `plait gc` leaves it; False if it is not there.

        Whoever is about to refer to a blob touches it first: from then on it stays for the
        grace period, in which the reference becomes visible.
        """
        path = self.path(sha256)
        with self._guard(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return True

    def delete_older(self, sha256: str, cut: float) -> bool:
        """Remove a blob that nobody has touched since ``cut`` (seconds since 1970)."""
        path = self.path(sha256)
        with self._guard(fcntl.LOCK_EX):
            try:
                if path.stat().st_mtime >= cut:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def open(self, sha256: str) -> BufferedReader:
        """Open a blob for reading.

        Raises:
            NotFound: no such blob.
        """
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise NotFound(f"The hub does not have the bytes of sha256 {sha256}.") from None

    def read_range(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``end`` (exclusive).

        Raises:
            NotFound: no such blob.
            RangeNotSatisfiable: the range lies outside it.
        """
        stream = self.open(sha256)
        size = os.fstat(stream.fileno()).st_size
        end = size if end is None else end
        if not 0 <= start <= end <= size:
            stream.close()
            raise RangeNotSatisfiable(f"Bytes {start}-{end} lie outside the file of {size} bytes.")
        return _read(stream, start, end)

    def delete(self, sha256: str) -> bool:
        """Remove a blob; False if it was not there."""
        try:
            self.path(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        """Yield the SHA-256 of every stored blob."""
        for entry in self.folder.glob("??/??/*"):
            if is_sha256(entry.name):
                yield entry.name


def _read(stream: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with stream:
        stream.seek(start)
        left = end - start
        while left > 0:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


def _chunks(source: BinaryIO | IO[bytes] | Path | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            yield from _chunks(stream)
    elif hasattr(source, "read"):
        while chunk := source.read(CHUNK):
            yield chunk
    else:
        yield from source
