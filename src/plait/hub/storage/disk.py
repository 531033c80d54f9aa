# SPDX-License-Identifier: Apache-2.0
"""Objects in a folder: temporary name, fsync, rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from plait.hub.storage.base import CHUNK, ObjectStore, StoredObject, check_name, storage_errors


class DiskStore(ObjectStore):
    """Objects under ``folder``; ``temporary`` lies on the same file system."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.folder)

    def path(self, name: str) -> Path:
        """Return where an object is or would be."""
        return self.folder / check_name(name)

    def put(self, name: str, source: Path | bytes) -> None:
        """Store bytes; a file on the same file system is linked and not copied."""
        target = self.path(name)
        self.temporary.mkdir(parents=True, exist_ok=True)
        fresh = self.temporary / f"object-{secrets.token_hex(12)}"
        with storage_errors(target.name):
            try:
                _fill(fresh, source)
                with fresh.open("rb") as stream:
                    os.fsync(stream.fileno())
                fresh.chmod(0o444)
                target.parent.mkdir(parents=True, exist_ok=True)
                fresh.replace(target)
            finally:
                # A link renamed onto another name of the same file stays as it is.
                fresh.unlink(missing_ok=True)
            for folder in (target.parent, target.parent.parent, target.parent.parent.parent):
                sync_folder(folder)

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes ``start`` to ``end`` (exclusive)."""
        stream = self.path(name).open("rb", buffering=0)
        size = os.fstat(stream.fileno()).st_size
        return _read(stream, start, size if end is None else end)

    def head(self, name: str) -> StoredObject | None:
        """Describe an object; None if it is not there."""
        with suppress(FileNotFoundError, NotADirectoryError):
            status = self.path(name).stat()
            return StoredObject(name, status.st_size, status.st_mtime)
        return None

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object of a folder, in the order of names."""
        top = self.folder / prefix
        for folder in _folders(top):
            for inner in _folders(folder):
                for entry in sorted(os.scandir(inner), key=lambda entry: entry.name):
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        name = str(Path(entry.path).relative_to(self.folder))
                        yield StoredObject(name, status.st_size, status.st_mtime)

    def local_path(self, name: str) -> Path | None:
        """Return the object's file if it is there."""
        path = self.path(name)
        return path if path.is_file() else None


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folders(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(entry for entry in folder.iterdir() if len(entry.name) == 2)
    return []


def _fill(fresh: Path, source: Path | bytes) -> None:
    if isinstance(source, bytes):
        fresh.write_bytes(source)
        return
    try:
        os.link(source, fresh)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, fresh)


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
