# SPDX-License-Identifier: Apache-2.0
"""Objects that a push brings, kept apart from the repository until they were looked through."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pygit2

from plait.errors import BadInput, TooLarge
from plait.hub.git import command as gitcommand
from plait.hub.git.command import GitFailed
from plait.hub.git.pktline import Source
from plait.hub.storage.blobs import storage_errors, storage_full, sync_folder

PREFIX = "incoming-"
"""What the folders of pushes under way are called, in the repository's folder."""
MAX_OBJECTS = 1_000_000
_PIECE = 64 * 1024
_INDEX_ROOM = 256 * 2**20
_PACK_NAME = re.compile(r"pack-[0-9a-f]{40,64}\.(pack|idx|rev)")


class Quarantine:
    """A folder of objects beside a repository's own; gone at the end unless it was let in."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.folder = repository / f"{PREFIX}{secrets.token_hex(8)}"

    def __enter__(self) -> Quarantine:
        with storage_errors("the push"):
            (self.folder / "pack").mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _environ(self) -> dict[str, str]:
        return {
            "GIT_OBJECT_DIRECTORY": str(self.folder),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.repository / "objects"),
        }

    def unpack(self, source: Source, limit: int) -> None:
        """Take a pack: every object in it is whole, well formed, and refers to what is there.

        Raises:
            BadInput: it is no pack, or a damaged one; the message says what git found.
            TooLarge: it has more than ``limit`` bytes, or unpacks to too much.
            StorageFull: the disk is full.
        """
        head = source.read(12)
        if len(head) < 12 or head[:4] != b"PACK":
            raise BadInput("The push has no pack of objects. Push again.")
        count = int.from_bytes(head[8:12], "big")
        if count > MAX_OBJECTS:
            raise TooLarge(f"The push has {count} objects; at most {MAX_OBJECTS}. Push in parts.")
        try:
            gitcommand.run(
                self.repository,
                "index-pack",
                "--stdin",
                "--fix-thin",
                "--strict",
                "--threads=1",
                f"--max-input-size={limit}",
                environ=self._environ,
                feed=_pieces(head, source),
                file_size=limit + _INDEX_ROOM,
            )
        except GitFailed as error:
            raise _explain(error, self.folder, limit) from None

    def check_connected(self, tips: Sequence[str]) -> None:
        """Make sure that everything the tips refer to is here or in the repository.

        Raises:
            BadInput: something is missing.
        """
        try:
            gitcommand.run(
                self.repository,
                "rev-list",
                "--objects",
                "--stdin",
                "--not",
                "--all",
                "--quiet",
                environ=self._environ,
                feed=[f"{tip}\n".encode() for tip in tips],
            )
        except GitFailed as error:
            raise BadInput(
                f"The push lacks objects that its commits refer to ({_last(error.message)}). "
                "If your clone is shallow, run 'git fetch --unshallow' and push again."
            ) from None

    def open(self) -> Any:
        """Open the repository as it would be with these objects (not shared between threads)."""
        git = pygit2.Repository(str(self.repository))
        git.odb.add_disk_alternate(str(self.folder))
        return git

    def objects(self) -> Iterator[Any]:
        """Yield the ids of the objects that came, those included that complete a thin pack."""
        yield from pygit2.Odb(str(self.folder))

    def let_in(self) -> None:
        """Move the objects into the repository; they are on the disk when this returns.

        Raises:
            StorageFull: the disk is full.
        """
        target = self.repository / "objects" / "pack"
        with storage_errors("the push"):
            target.mkdir(exist_ok=True)
            found = [e for e in (self.folder / "pack").iterdir() if _PACK_NAME.fullmatch(e.name)]
            # The index makes a pack visible, and comes last.
            for entry in sorted(found, key=lambda e: (e.suffix == ".idx", e.name)):
                if not (target / entry.name).exists():
                    _sync(entry)
                    entry.rename(target / entry.name)
            sync_folder(target)
            sync_folder(target.parent)


def _sync(entry: Path) -> None:
    descriptor = os.open(entry, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pieces(head: bytes, source: Source) -> Iterator[bytes]:
    yield head
    while piece := source.read(_PIECE):
        yield piece


def _explain(error: GitFailed, folder: Path, limit: int) -> Exception:
    said = error.message
    status = os.statvfs(folder)
    if "No space left" in said or status.f_bavail * status.f_frsize < 2**20:
        return storage_full("the push")
    if "maximum allowed size" in said:
        return TooLarge(
            f"The push has more than {limit} bytes. Push fewer commits at a time, and keep large "
            "files in git-lfs."
        )
    if "Out of memory" in said or "out of memory" in said or "File too large" in said:
        return TooLarge("The push unpacks to more than the hub takes. Keep large files in git-lfs.")
    return BadInput(f"git found the push damaged or not allowed: {_last(said)}")


def _last(said: str) -> str:
    """Return the telling line of git's complaint."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("error:", "fatal:"))] or lines or [""]
    return told[0].removeprefix("error:").removeprefix("fatal:").strip()[:300]


__all__ = ["PREFIX", "Quarantine"]
