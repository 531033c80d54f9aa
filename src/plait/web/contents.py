# SPDX-License-Identifier: Apache-2.0
"""The bytes of a file at a revision, as much of them as a page needs."""

from __future__ import annotations

import io

from plait.hub import OpenFile
from plait.web.here import Here


class FileBytes(io.RawIOBase):
    """A stored file, read by position wherever its bytes lie."""

    def __init__(self, at: Here, found: OpenFile) -> None:
        self._at = at
        self._found = found
        self._place = 0

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._found.size

    def at(self, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``start``."""
        stop = min(start + max(length, 0), self._found.size)
        if start >= stop:
            return b""
        if self._found.data is not None:
            return self._found.data[start:stop]
        blobs = self._at.visit.hub.blobs
        return b"".join(blobs.read_range(self._found.etag, start, stop))

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self.at(self._place, self._found.size if size is None or size < 0 else size)
        self._place += len(data)
        return data


def open_bytes(at: Here, oid: str, path: str) -> FileBytes:
    """Open a file at a commit.

    Raises:
        EntryNotFound: no file there, or the hub does not have its bytes.
    """
    return FileBytes(at, at.visit.hub.commits.open_file(at.record, oid, path))
