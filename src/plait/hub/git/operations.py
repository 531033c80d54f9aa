# SPDX-License-Identifier: Apache-2.0
"""What a commit may do to the files of a repository, in the order given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AddBytes:
    """Write a file that is kept in git itself."""

    path: str
    data: bytes


@dataclass(frozen=True)
class AddSpooled:
    """Write a file that is kept in git itself and waits in a file on the disk until then."""

    path: str
    spool: Path
    start: int
    size: int

    @property
    def data(self) -> bytes:
        """The file's bytes, read anew each time."""
        with self.spool.open("rb") as stream:
            stream.seek(self.start)
            return stream.read(self.size)


@dataclass(frozen=True)
class AddPointer:
    """Write a large file whose bytes the blob store holds; ``size`` None: as stored."""

    path: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True)
class Delete:
    """Remove one file."""

    path: str


@dataclass(frozen=True)
class DeleteFolder:
    """Remove a folder and everything in it."""

    path: str


@dataclass(frozen=True)
class CopyFile:
    """Copy a file or folder within the repository; ``revision`` None: from the commit's parent."""

    source: str
    path: str
    revision: str | None = None


Operation = AddBytes | AddSpooled | AddPointer | Delete | DeleteFolder | CopyFile
