# SPDX-License-Identifier: Apache-2.0
"""Which files are scanned, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from plait.hub.database import FileScan, PendingScan, Repository
from plait.hub.events import Event
from plait.hub.git.objects import TreeEntry
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.hub.facade import Hub

SUFFIXES = frozenset(
    {
        *(".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy", ".npz"),
        *(".h5", ".hdf5", ".keras"),
    }
)
"""Ends of the names of files that run code, or may, when programs load them."""
_GIT = "git:"


def can_carry_code(path: str) -> bool:
    """Tell whether a file of that name may run code when it is loaded, and is scanned."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def content_of(entry: TreeEntry) -> str:
    """Return what a file's scan is kept under: its content, wherever it is."""
    return entry.lfs.sha256 if entry.lfs else f"{_GIT}{entry.oid}"


def git_blob(content: str) -> str | None:
    """Return the id of the git blob that `content_of` named, None for a large file."""
    return content.removeprefix(_GIT) if content.startswith(_GIT) else None


class Scans:
    """What scanners said of a hub's files."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def hear(self, session: Session, event: Event) -> None:
        """Keep in mind that a ref moved; its new files are looked at later, by nobody who waits."""
        if event.action != "ref.update" or event.repo is None:
            return
        for ref in event.details.get("updated", ()):
            # A branch or tag that begins where main stands brings nothing new.
            starts_at_main = ref.get("old") is None and ref.get("new") == event.repo.head
            if ref.get("new") and not starts_at_main:
                session.add(
                    PendingScan(repository_id=event.repo.id, old=ref.get("old"), new=ref["new"])
                )

    def verdicts(self, entries: Sequence[TreeEntry]) -> dict[str, FileScan | None]:
        """Return what is known of those of the files that can carry code, by path.

        None: not scanned yet. The caller has made sure that they may be read.
        """
        wanted = {
            entry.path: content_of(entry)
            for entry in entries
            if entry.type == "file" and can_carry_code(entry.path)
        }
        contents = sorted(set(wanted.values()))
        known: dict[str, FileScan] = {}
        with self._hub.session() as session:
            for start in range(0, len(contents), 500):
                query = select(FileScan).where(FileScan.content.in_(contents[start : start + 500]))
                known |= {scan.content: scan for scan in session.scalars(query)}
        return {path: known.get(content) for path, content in wanted.items()}

    def of_revision(self, actor: Actor, repo: Repository, oid: str) -> dict[str, FileScan | None]:
        """Return what is known of all files of a commit that can carry code, by path.

        Raises:
            RepositoryNotFound: the actor may not read the repository.
        """
        self._hub.repositories.require(actor, repo, "repo.read")
        return self.verdicts(self._hub.git.tree(repo, oid, recursive=True))
