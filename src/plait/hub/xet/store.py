# SPDX-License-Identifier: Apache-2.0
"""Xorbs on disk: each with the index of its chunks beside it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from plait.errors import BadInput, TooLarge
from plait.hub.blobs import CHUNK, storage_errors, sync_folder
from plait.hub.xet.hashing import from_text, to_text
from plait.hub.xet.xorb import Source, XorbIndex, check_xorb, read_chunks

_INDEX = ".index"
_INDEXES_IN_MEMORY = 16


class XorbStore:
    """Xorbs in a folder, ``ab/cd/abcd…``, as sent but for the footer.

    A xorb's own name appears last, so one that is there is whole and has its index.
    """

    def __init__(self, folder: Path, temporary: Path, max_size: int) -> None:
        self.folder = folder
        self.temporary = temporary
        self.max_size = max_size
        self._index = lru_cache(maxsize=_INDEXES_IN_MEMORY)(self._read_index)

    def path(self, name: str) -> Path:
        """Return where the xorb is or would be.

        Raises:
            BadInput: ``name`` is not a Xet hash.
        """
        from_text(name)
        return self.folder / name[:2] / name[2:4] / name

    def exists(self, name: str) -> bool:
        """Tell whether the xorb is stored."""
        return self.path(name).is_file()

    def index(self, name: str) -> XorbIndex:
        """Return the chunks of a stored xorb."""
        return self._index(name)

    def write(self, name: str, body: Source) -> tuple[XorbIndex, bool]:
        """Check a serialised xorb and keep it; False if it was there already.

        Raises:
            BadInput: it is not a xorb, or not the one of that name.
            TooLarge: it is larger than a xorb may be.
            StorageFull: the disk is full.
        """
        target = self.path(name)
        with storage_errors(f"xorb {name}"), self._temporary() as (file, stream):
            self._copy(body, stream)
            stream.seek(0)
            index = check_xorb(stream)
            if index.hash != from_text(name):
                raise BadInput(f"The xorb sent as {name} is {to_text(index.hash)}.")
            if target.is_file():
                os.utime(target)
                return index, False
            stream.truncate(index.size)
            stream.flush()
            os.fsync(stream.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            self._write_index(target.with_name(name + _INDEX), index)
            file.replace(target)
            for folder in (target.parent, target.parent.parent, self.folder):
                sync_folder(folder)
        return index, True

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the uncompressed chunks ``start`` to ``stop`` (exclusive)."""
        return read_chunks(self.path(name), self.index(name), start, stop)

    def delete(self, name: str) -> bool:
        """Remove a xorb; False if it was not there."""
        target = self.path(name)
        self._index.cache_clear()
        existed = target.is_file()
        for file in (target, target.with_name(name + _INDEX)):
            with suppress(FileNotFoundError):
                file.unlink()
        return existed

    def __iter__(self) -> Iterator[str]:
        """Yield the name of every stored xorb."""
        for entry in self.folder.glob("??/??/*"):
            if entry.suffix != _INDEX:
                yield entry.name

    def _copy(self, body: Source, stream: BinaryIO) -> None:
        size = 0
        while part := body.read(CHUNK):
            size += len(part)
            if size > self.max_size:
                raise TooLarge(f"A xorb may have at most {self.max_size} bytes.")
            stream.write(part)

    def _read_index(self, name: str) -> XorbIndex:
        path = self.path(name)
        return XorbIndex.from_bytes(path.with_name(name + _INDEX).read_bytes())

    def _write_index(self, path: Path, index: XorbIndex) -> None:
        with self._temporary() as (file, stream):
            stream.write(index.to_bytes())
            stream.flush()
            os.fsync(stream.fileno())
            file.replace(path)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        file = self.temporary / f"xorb-{secrets.token_hex(12)}"
        try:
            with file.open("x+b") as stream:
                yield file, stream
        finally:
            with suppress(FileNotFoundError):
                file.unlink()
