# SPDX-License-Identifier: Apache-2.0
"""Commits from outside: who may, whether the bytes are there, and that a retry does no harm."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import select

from plait.errors import (
    BadInput,
    Conflict,
    EntryNotFound,
    PlaitError,
    PreconditionFailed,
    RevisionNotFound,
    TooLarge,
)
from plait.hub.database import BlobGrant, Discussion, Repository, now
from plait.hub.git.operations import AddBytes, AddPointer, AddSpooled, Operation
from plait.hub.git.pointers import MAX_POINTER, is_sha256, parse_pointer
from plait.hub.git.store import Author, TreeEntry
from plait.hub.names import check_branch, check_path, check_text, is_ref_name, pull_number
from plait.hub.permissions import Actor
from plait.hub.repositories.discussions import pull_ref
from plait.hub.storage.blobs import BlobStore, storage_errors

if TYPE_CHECKING:
    from plait.hub.facade import Hub

RETRY_WINDOW = timedelta(minutes=10)
RETRY_DEPTH = 16
MAX_MESSAGE = 2**16


@dataclass(frozen=True)
class CommitOutcome:
    """The commit that now holds what was asked for, and the pull request opened for it if any."""

    oid: str
    discussion: Discussion | None = None


@dataclass(frozen=True)
class OpenFile:
    """A file at a revision; a small one's bytes are at hand, a large one's come from the store."""

    path: str
    size: int
    etag: str
    """The SHA-256 of a large file, the git id of a small one."""
    lfs: bool
    data: bytes | None = None
    blobs: BlobStore | None = None

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``end`` (exclusive)."""
        if self.blobs is not None:
            return self.blobs.read_range(self.etag, start, end)
        return iter([(self.data or b"")[start:end]])

    def open(self) -> BinaryIO:
        """Open the file for reading and searching."""
        if self.blobs is not None:
            return self.blobs.open(self.etag)
        return io.BytesIO(self.data or b"")


class CommitService:
    """Commits to the repositories of one hub, and reading files out of them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def apply(
        self,
        actor: Actor,
        repo: Repository,
        revision: str,
        operations: Sequence[Operation],
        summary: str,
        description: str = "",
        parent: str | None = None,
        create_pr: bool = False,
        author: Author | None = None,
    ) -> CommitOutcome:
        """Commit ``operations`` to a branch or pull request, or open a pull request with them.

        The same call sent again within minutes (a client that lost the answer) returns the first
        one's outcome. A commit that changes nothing returns what the branch stands for.

        Args:
            actor: who commits.
            repo: where.
            revision: a branch or ``refs/pr/N``; with ``create_pr`` the branch to propose for.
            operations: applied in order.
            summary: the commit's title.
            description: the rest of its message.
            parent: the commit that the branch must stand for.
            create_pr: open a pull request instead of moving the branch.
            author: named by the commit instead of the actor.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not.
            RevisionNotFound: no such branch.
            PreconditionFailed: the branch stands for another commit than ``parent``.
            BadInput, EntryNotFound, TooLarge: an operation cannot be done; the message says why.
        """
        summary = summary.strip()
        if not summary:
            raise BadInput("The commit has no summary. Say in a line what it changes.")
        message = f"{summary}\n\n{description}" if description else summary
        check_text(message, "The commit message", MAX_MESSAGE)
        author = author or Author(actor.name or "plait")
        if create_pr:
            self._hub.repositories.require(actor, repo, "repo.propose")
            operations = self._checked(repo, operations)
            return self._propose(
                actor, repo, revision, operations, summary, description, message, parent, author
            )
        ref, discussion = self.target(actor, repo, revision)
        operations = self._checked(repo, operations)
        git = self._hub.git
        repeated = self._find_repeat(repo, ref, operations, message, author, parent)
        if repeated is not None:
            return CommitOutcome(repeated, discussion)
        try:
            update = git.advance(
                repo,
                ref=ref,
                operations=operations,
                message=message,
                author=author,
                parent_oid=self._full(repo, parent),
            )
        except (PreconditionFailed, EntryNotFound):
            # The request that this one repeats may have landed just now.
            repeated = self._find_repeat(repo, ref, operations, message, author, parent)
            if repeated is None:
                raise
            return CommitOutcome(repeated, discussion)
        # git has the truth; what follows only keeps lists and pages up to date with it.
        oid = str(update.new)
        if oid != update.old:
            if discussion is not None:
                self._hub.discussions.note_commit(actor, discussion, oid, summary)
            self._hub.references.moved(actor, repo, [update])
        return CommitOutcome(oid, discussion)

    def may_commit(
        self, actor: Actor, repo: Repository, revision: str, create_pr: bool = False
    ) -> None:
        """Refuse what `apply` would refuse for the actor and revision, before bytes are sent.

        Raises:
            RepositoryNotFound, Forbidden, RevisionNotFound, BadInput, Conflict: as `apply`.
        """
        if create_pr:
            self._hub.repositories.require(actor, repo, "repo.propose")
            self._start(repo, revision)
        else:
            self.target(actor, repo, revision)

    def target(
        self, actor: Actor, repo: Repository, revision: str
    ) -> tuple[str, Discussion | None]:
        """Return the full ref that a revision names and the actor may move.

        Raises:
            RepositoryNotFound, Forbidden, RevisionNotFound, BadInput, Conflict: they may not.
        """
        number = pull_number(revision)
        if number is not None:
            self._hub.repositories.require(actor, repo, "repo.read")
            try:
                discussion = self._hub.discussions.get(repo, number)
            except PlaitError:
                discussion = None
            if discussion is None or not discussion.is_pull_request:
                raise RevisionNotFound(f"There is no pull request {number} in '{repo.full_name}'.")
            self._hub.repositories.require(actor, repo, "pull.write", discussion)
            if discussion.status in ("merged", "closed"):
                raise Conflict(
                    f"Pull request {number} is {discussion.status}. Open a new one"
                    f"{', or reopen it' if discussion.status == 'closed' else ''}."
                )
            return pull_ref(number), discussion
        self._hub.repositories.require(actor, repo, "repo.write")
        ref = f"refs/heads/{_branch(revision)}"
        if self._hub.git.head(repo, ref) is None:
            raise RevisionNotFound(
                f"There is no branch {revision[:120]!a} in '{repo.full_name}' to commit to. "
                "Create it first."
            )
        self._hub.protection.require_push(actor, repo, ref)
        return ref, None

    def _full(self, repo: Repository, parent: str | None) -> str | None:
        return None if parent is None else self._hub.git.resolve(repo, parent)

    def _start(self, repo: Repository, revision: str) -> tuple[str, str]:
        """Return the branch that a proposal is for, and the commit that it starts from.

        A proposal from a tag or commit is for main.
        """
        git, name = self._hub.git, revision.removeprefix("refs/heads/")
        if is_ref_name(name) and (head := git.head(repo, f"refs/heads/{name}")) is not None:
            return name, head
        return "main", git.resolve(repo, revision)

    def _propose(
        self,
        actor: Actor,
        repo: Repository,
        revision: str,
        operations: Sequence[Operation],
        summary: str,
        description: str,
        message: str,
        parent: str | None,
        author: Author,
    ) -> CommitOutcome:
        git, discussions = self._hub.git, self._hub.discussions
        branch, start = self._start(repo, revision)
        base = self._full(repo, parent) or start
        tree = git.apply(repo, git.tree_of(repo, base), operations)
        for discussion in discussions.list(repo, pull_request=True, status="open", limit=20):
            if (
                discussion.author_id != actor.user_id
                or discussion.title != " ".join(summary.split())[:400]
                or now() - discussion.created_at > RETRY_WINDOW
            ):
                continue
            head = git.resolve(repo, pull_ref(discussion.number))
            info = git.commit_info(repo, head)
            if info.parents == (base,) and git.tree_of(repo, head) == tree:
                return CommitOutcome(head, discussion)
        oid = git.write_commit(
            repo, base=base, operations=[], tree=tree, message=message, author=author
        )
        discussion = discussions.create(
            actor,
            repo,
            " ".join(summary.split())[:400],
            description,
            True,
            status="open",
            base=branch,
            head=oid,
        )
        if oid != base:
            discussions.note_commit(actor, discussion, oid, summary)
        return CommitOutcome(oid, discussion)

    def _find_repeat(
        self,
        repo: Repository,
        ref: str,
        operations: Sequence[Operation],
        message: str,
        author: Author,
        parent: str | None,
    ) -> str | None:
        """Return the recent commit that this very request already made, if there is one.

        With a parent named, it is a commit on exactly that parent; without, only the branch's
        newest commit can be taken for one, because an older one may have been undone since.
        """
        git = self._hub.git
        oid = git.head(repo, ref)
        for _ in range(RETRY_DEPTH):
            if oid is None or oid == parent:
                return None
            info = git.commit_info(repo, oid)
            if now() - info.date > RETRY_WINDOW or not info.parents:
                return None
            if (
                info.author == author.name
                and info.full_message == message
                and (parent is None or info.parents == (parent,))
            ):
                with suppress(EntryNotFound, BadInput):
                    tree = git.apply(repo, git.tree_of(repo, info.parents[0]), operations)
                    if tree == git.tree_of(repo, oid):
                        return oid
            if parent is None:
                return None
            oid = info.parents[0]
        return None

    # -- the bytes ------------------------------------------------------------------------------

    def _checked(self, repo: Repository, operations: Sequence[Operation]) -> list[Operation]:
        """Check sizes, and that every large file's bytes are stored and were shown to us."""
        limit = self._hub.settings.max_regular_file
        checked: list[Operation] = []
        for operation in operations:
            if isinstance(operation, AddBytes | AddSpooled):
                size = operation.size if isinstance(operation, AddSpooled) else len(operation.data)
                if size > limit:
                    raise TooLarge(
                        f"'{operation.path}' has {size} bytes; files kept in git "
                        f"have at most {limit}. Upload it as a large file (LFS or Xet)."
                    )
                pointer = parse_pointer(operation.data) if size <= MAX_POINTER else None
                if pointer is not None:
                    # A pointer written by hand is a reference like any other: unchecked, it
                    # would give its author whatever bytes have that hash.
                    operation = AddPointer(operation.path, pointer.sha256, pointer.size)
            checked.append(operation)
        self.check_pointers(repo, [o for o in checked if isinstance(o, AddPointer)])
        return checked

    def check_pointers(self, repo: Repository, pointers: Sequence[AddPointer]) -> None:
        """Check that the bytes of large files are stored and were shown to us, and hold them.

        Raises:
            BadInput: some are not; the message names the file.
        """
        wanted = sorted({pointer.sha256 for pointer in pointers})
        for sha256 in wanted:
            if not is_sha256(sha256):
                raise BadInput(f"{sha256[:80]!a} is not a SHA-256 (64 lowercase hex digits).")
        granted: set[str] = set()
        with self._hub.session() as session:
            for start in range(0, len(wanted), 500):
                granted.update(
                    session.scalars(
                        select(BlobGrant.sha256).where(
                            BlobGrant.repository_id == repo.id,
                            BlobGrant.sha256.in_(wanted[start : start + 500]),
                        )
                    )
                )
        # Touched before the ref moves: `plait gc` leaves the bytes until it has.
        sizes = self._hub.blobs.touch_all(granted)
        for pointer in pointers:
            size = sizes.get(pointer.sha256)
            if size is None:
                raise BadInput(
                    f"The bytes of '{pointer.path}' (sha256 {pointer.sha256}) were not uploaded "
                    f"to '{repo.full_name}'. Upload the file and commit again."
                )
            if pointer.size is not None and pointer.size != size:
                raise BadInput(
                    f"'{pointer.path}' is announced with {pointer.size} bytes, but sha256 "
                    f"{pointer.sha256} has {size}."
                )

    def open_file(self, repo: Repository, oid: str, path: str) -> OpenFile:
        """Find a file's bytes at a commit.

        Raises:
            EntryNotFound: no file there, or the hub does not have its bytes.
        """
        hub = self._hub
        entry = hub.git.entry(repo, oid, path)
        if entry.type == "directory":
            raise EntryNotFound(f"'{path}' is a folder, not a file.", commit=oid)
        if entry.lfs is None:
            data = hub.git.read(repo, oid, path)
            return OpenFile(path, len(data), entry.oid, False, data=data)
        with hub.session() as session:
            granted = hub.has_grant(session, repo, entry.lfs.sha256)
        if not granted:
            raise EntryNotFound(
                f"The bytes of '{path}' are missing from the hub. Upload the file again.",
                commit=oid,
            )
        return OpenFile(path, entry.size, entry.lfs.sha256, True, blobs=hub.blobs)

    def materialize(
        self,
        repo: Repository,
        oid: str,
        folder: Path,
        only: Callable[[str], bool] | None = None,
    ) -> list[TreeEntry]:
        """Write a commit's files into ``folder`` and return them.

        Large files may be hard links to the blobs, read-only: replace them, never write into them.

        Args:
            repo: which repository.
            oid: which commit.
            folder: made if missing.
            only: tells which paths are wanted; all if not given.

        Raises:
            EntryNotFound: the hub does not have some file's bytes.
        """
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for entry in self._hub.git.tree(repo, oid, recursive=True):
            if entry.type == "directory" or (only is not None and not only(entry.path)):
                continue
            found = self.open_file(repo, oid, entry.path)
            # Also a tree that was not made here must not write outside the folder.
            target = folder / check_path(entry.path)
            with storage_errors(f"'{entry.path}'"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                if found.blobs is None:
                    target.write_bytes(found.data or b"")
                else:
                    found.blobs.save(found.etag, target)
            written.append(entry)
        return written


def _branch(revision: str) -> str:
    return check_branch(revision.removeprefix("refs/heads/"))
