# SPDX-License-Identifier: Apache-2.0
"""Writing bare git repositories: commits, refs and merges. Nothing here asks who the caller is."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any

import pygit2
from pygit2.enums import FileMode, ObjectType

from plait.errors import Conflict, PlaitError, PreconditionFailed, RevisionNotFound
from plait.hub.database import Repository
from plait.hub.git.inspection import check_tree
from plait.hub.git.loose import WORTH_IT, seed_blobs
from plait.hub.git.objects import (
    MAIN,
    Author,
    Change,
    CommitInfo,
    Ref,
    Refs,
    RefUpdate,
    TreeEntry,
    find_commit,
    raw_target,
    ref_commit,
)
from plait.hub.git.operations import AddBytes, AddSpooled, Operation
from plait.hub.git.reading import GitReader
from plait.hub.git.trees import ATTRIBUTES, build_tree, initial_attributes
from plait.hub.storage.blobs import storage_errors, storage_full, sync_folder

_TIGHT = 2**20
"""Less free space than this, in bytes, is taken as the reason for a failed write."""
_SMALL = 64 * 2**20
"""The same for a failure of which libgit2 says nothing at all."""


class GitStore(GitReader):
    """The folder of bare repositories, ``{id}.git``."""

    def __init__(self, folder: Path, blob_size: Callable[[str], int]) -> None:
        super().__init__(folder)
        self._blob_size = blob_size
        self.guards: list[Callable[[Repository | int, Any, Any], None]] = []
        """Each is given a repository, its git and the tree of every new commit, and may refuse."""

    def create(self, repo: Repository | int, author: Author) -> str:
        """Make a repository with one commit on main and return its id.

        It is made beside its place and renamed into it whole. A folder already there is what a
        crash left of a creation that never became visible, and is replaced.
        """
        target = self.path(repo)
        fresh = target.with_name(f"{target.name}.new")
        with self._writing("the repository"):
            shutil.rmtree(fresh, ignore_errors=True)
            git = pygit2.init_repository(str(fresh), bare=True, initial_head="main")
            for name in ("hooks", "info", "description"):
                leftover = fresh / name
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink(missing_ok=True)
            tree = build_tree(
                git, None, [AddBytes(ATTRIBUTES, initial_attributes())], str, self._blob_size
            )
            signature = author.signature()
            oid = git.create_commit(MAIN, signature, signature, "initial commit", tree, [])
            git.free()
            if target.exists():
                # Not removed yet: an operator who brought back an older database may want it.
                aside = f"{target.stem}-{secrets.token_hex(4)}.git.deleted"
                target.rename(target.with_name(aside))
                os.utime(target.with_name(aside))
            fresh.rename(target)
            sync_folder(self.folder)
        return str(oid)

    def delete(self, repo: Repository | int) -> None:
        """Remove a repository's folder; absent is fine."""
        target = self.path(repo)
        doomed = target.with_name(f"{target.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        try:
            target.rename(doomed)
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Say when the disk is full; libgit2 itself often says only that something failed."""
        try:
            with storage_errors(what):
                yield
        except pygit2.GitError as error:
            status = os.statvfs(self.folder)
            bound = _SMALL if str(error) in ("", "no error") else _TIGHT
            if "No space left" not in str(error) and status.f_bavail * status.f_frsize >= bound:
                raise
            raise storage_full(what) from error

    @contextmanager
    def locked(self, repo: Repository | int) -> Iterator[None]:
        """Hold the repository's write lock, against threads and other processes alike."""
        descriptor = os.open(self.path(repo) / "plait.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def commit(self, repo: Repository | int, **options: Any) -> str:
        """Do as `advance` does and return the commit's id alone."""
        return str(self.advance(repo, **options).new)

    def advance(
        self,
        repo: Repository | int,
        *,
        ref: str,
        operations: Sequence[Operation],
        message: str,
        author: Author,
        parent_oid: str | None = None,
        parents: Sequence[str] | None = None,
        expected: str | None = None,
        tree: str | None = None,
        allow_empty: bool = False,
    ) -> RefUpdate:
        """Write a commit and move ``ref`` to it, or change nothing; return what ``ref`` did.

        Args:
            repo: where.
            ref: full ref name; made if it does not exist.
            operations: applied in order to the tree of ``parent_oid``.
            message: title, blank line, description.
            author: named by the commit.
            parent_oid: the commit whose tree is changed; None: what ``ref`` stands for.
            parents: the commit's parents, when they are not just ``parent_oid`` (a merge).
            expected: what ``ref`` must stand for now; None: ``parent_oid`` if given.
            tree: start from this tree (a text merge's) instead of ``parent_oid``'s.
            allow_empty: commit even if no file changes. A merge always commits.

        Raises:
            PreconditionFailed: the ref stands for another commit.
            BadInput, EntryNotFound: an operation cannot be applied.
        """
        with self._writing("the commit"), self.locked(repo):
            git = self.open(repo)
            head = ref_commit(git, ref)
            expected = expected or parent_oid
            if head is not None and expected is not None and head != expected:
                raise moved()
            base = parent_oid or head
            if base is None and parents is None:
                raise RevisionNotFound(f"There is no ref {ref[:120]!a} to commit to.")
            oid = self.write_commit(
                repo,
                base=base,
                operations=operations,
                message=message,
                author=author,
                parents=parents,
                tree=tree,
                allow_empty=allow_empty,
            )
            _move(git, ref, oid, head)
            return RefUpdate(ref, head, oid)

    def write_commit(
        self,
        repo: Repository | int,
        *,
        base: str | None,
        operations: Sequence[Operation],
        message: str,
        author: Author,
        parents: Sequence[str] | None = None,
        tree: str | None = None,
        allow_empty: bool = False,
    ) -> str:
        """Write a commit's objects and return its id, without moving a ref.

        Returns ``base`` itself when nothing would change.
        """
        git = self.open(repo)
        old_tree = find_commit(git, base).tree.id if base else None
        new_tree = self.apply(repo, tree or (str(old_tree) if old_tree else None), operations)
        if base and parents is None and not allow_empty and new_tree == str(old_tree):
            return base
        for guard in self.guards:
            guard(repo, git, new_tree)
        signature = author.signature()
        chosen = list(parents) if parents is not None else [base] if base else []
        oid = pygit2.Oid(hex=new_tree)
        with self._writing("the commit"):
            return str(git.create_commit(None, signature, signature, message, oid, chosen))

    def apply(
        self, repo: Repository | int, tree: str | None, operations: Sequence[Operation]
    ) -> str:
        """Apply operations to a tree id and return the new tree's id."""
        git = self.open(repo)

        def commit_tree(revision: str) -> Any:
            return find_commit(git, self.resolve(repo, revision)).tree.id

        added = [o for o in operations if isinstance(o, AddBytes | AddSpooled)]
        start = pygit2.Oid(hex=tree) if tree else None
        with self._writing("the commit"):
            if len(added) >= WORTH_IT:
                # One by one: what waits on the disk is never in memory as a whole.
                seed_blobs(self.path(repo) / "objects", (o.data for o in added))
            return str(build_tree(git, start, operations, commit_tree, self._blob_size))

    def set_ref(
        self,
        repo: Repository | int,
        ref: str,
        oid: str,
        *,
        expected: str | EllipsisType | None = ...,
    ) -> str | None:
        """Make ``ref`` stand for a commit; return the one that it stood for.

        ``expected`` is what it must stand for now, None for "must not exist"; left out: anything.

        Raises:
            PreconditionFailed: it stands for another commit.
            Conflict: it exists and should not.
        """
        with self._writing("the ref"), self.locked(repo):
            git = self.open(repo)
            head = ref_commit(git, ref)
            if expected is None and head is not None:
                raise Conflict(f"Reference {ref} already exists")
            if expected is not ... and expected != head:
                raise moved()
            _move(git, ref, str(find_commit(git, oid).id), head)
            return head

    def push(
        self,
        repo: Repository | int,
        updates: Sequence[RefUpdate],
        *,
        atomic: bool,
        check: Callable[[RefUpdate], None],
        let_in: Callable[[], None],
    ) -> dict[str, PlaitError]:
        """Move several refs that somebody pushed, each from the object it stood for to another.

        Unlike elsewhere the ids are those of git's refs themselves, which for an annotated tag is
        the tag's.

        Args:
            repo: where.
            updates: at most one for each ref.
            atomic: move all or none.
            check: raises why an update must not happen now.
            let_in: brings the objects; called once, if any ref is to move.

        Returns:
            Why those refs did not move that did not.
        """
        refused: dict[str, PlaitError] = {}
        with self._writing("the push"), self.locked(repo):
            git = self.open(repo)
            for update in updates:
                try:
                    if raw_target(git, update.ref) != update.old:
                        raise moved()
                    check(update)
                    _check_room(git, update)
                except PlaitError as error:
                    refused[update.ref] = error
            if atomic and refused:
                for update in updates:
                    refused.setdefault(update.ref, Conflict("Another ref of the push was refused."))
            if len(refused) == len(updates):
                return refused
            let_in()
            git = self.open(repo)
            for update in updates:
                if update.ref in refused:
                    continue
                if update.new is not None:
                    _move(git, update.ref, update.new, update.old)
                elif update.old is not None:
                    _drop_stale_lock(git, update.ref)
                    git.references.delete(update.ref)
        return refused

    def create_tag(
        self, repo: Repository | int, name: str, oid: str, message: str | None, author: Author
    ) -> None:
        """Make a tag, annotated if it has a message.

        Raises:
            Conflict: it exists.
        """
        ref = f"refs/tags/{name}"
        with self._writing("the tag"), self.locked(repo):
            git = self.open(repo)
            if ref in git.references:
                raise Conflict(f"Reference {ref} already exists")
            if message:
                _drop_stale_lock(git, ref)
                git.create_tag(
                    name, pygit2.Oid(hex=oid), ObjectType.COMMIT, author.signature(), message
                )
            else:
                _move(git, ref, oid, None)

    def delete_ref(self, repo: Repository | int, ref: str) -> str | None:
        """Remove a ref and return the commit that it stood for.

        Raises:
            RevisionNotFound: there is none.
        """
        with self.locked(repo):
            git = self.open(repo)
            if ref not in git.references:
                raise RevisionNotFound(f"Invalid rev id: there is no {ref[:120]!a}.")
            head = ref_commit(git, ref)
            _drop_stale_lock(git, ref)
            git.references.delete(ref)
            return head

    def merge_trees(
        self, repo: Repository | int, ours: str, theirs: str, ancestor: str | None = None
    ) -> tuple[str | None, list[str]]:
        """Merge two commits' files as git does.

        Returns:
            The merged tree's id and no conflicts, or None and the paths in conflict, sorted.

        Raises:
            BadInput: both are merged well, but two names then differ by case alone.
        """
        git = self.open(repo)
        if ancestor is None:
            index = git.merge_commits(find_commit(git, ours).id, find_commit(git, theirs).id)
        else:
            index = git.merge_trees(
                find_commit(git, ancestor).tree,
                find_commit(git, ours).tree,
                find_commit(git, theirs).tree,
            )
        _merge_attributes(git, index)
        if index.conflicts is not None:
            paths = {
                entry.path
                for conflict in index.conflicts
                for entry in conflict
                if entry is not None
            }
            if paths:
                return None, sorted(paths)
        with self._writing("the merge"):
            tree = index.write_tree(git)
        check_tree(git, tree)
        return str(tree), []


def _merge_attributes(git: Any, index: Any) -> None:
    """Merge ``.gitattributes`` by taking the lines of both sides.

    The hub itself adds a line for a large file that no pattern covers, always at the end: two
    pull requests that each bring such a file would conflict over nothing.
    """
    conflicts = index.conflicts
    if conflicts is None or ATTRIBUTES not in conflicts:
        return
    ancestor, ours, theirs = conflicts[ATTRIBUTES]
    if ours is None or theirs is None:
        return
    sides = [git[side.id].data.splitlines() if side else [] for side in (ancestor, ours, theirs)]
    gone = {line for line in sides[0] if line not in sides[1] or line not in sides[2]}
    lines = [line for line in sides[1] if line not in gone]
    lines += [line for line in sides[2] if line not in gone and line not in lines]
    merged = git.create_blob(b"".join(line + b"\n" for line in lines))
    del conflicts[ATTRIBUTES]
    index.add(pygit2.IndexEntry(ATTRIBUTES, merged, FileMode.BLOB))


def moved() -> PreconditionFailed:
    """Return the error for a branch that moved, in the words that the Hub's clients know."""
    return PreconditionFailed(
        "The branch was updated since you opened this page. Please refresh and try again."
    )


def _check_room(git: Any, update: RefUpdate) -> None:
    """Refuse a new ref whose name is the folder of another, or lies below another.

    Raises:
        Conflict: it is so.
    """
    if update.old is not None or update.new is None:
        return
    parts = update.ref.split("/")
    above = ["/".join(parts[:end]) for end in range(3, len(parts))]
    below = f"{update.ref}/"
    for name in [*above, *git.references]:
        if name.startswith(below) or (name in above and name in git.references):
            raise Conflict(f"{update.ref} cannot be made while there is {name}. Choose another.")


def _move(git: Any, ref: str, oid: str, head: str | None) -> None:
    """Move a ref that stands for ``head``; libgit2 compares again under its own lock file."""
    target = pygit2.Oid(hex=oid)
    if head == oid:
        return
    _check_room(git, RefUpdate(ref, head, oid))
    _drop_stale_lock(git, ref)
    try:
        if head is None:
            git.references.create(ref, target)
        else:
            git.references[ref].set_target(target)
    except (pygit2.AlreadyExistsError, pygit2.GitError) as error:
        if isinstance(error, OSError):
            raise
        raise moved() from error


def _drop_stale_lock(git: Any, ref: str) -> None:
    """Remove the lock files of a process that was killed.

    Whoever moves refs holds the repository's own lock, which the system drops with its process:
    while we hold it, git's lock files belong to nobody.
    """
    for name in (f"{ref}.lock", "packed-refs.lock"):
        (Path(git.path) / name).unlink(missing_ok=True)


__all__ = [
    "MAIN",
    "Author",
    "Change",
    "CommitInfo",
    "GitStore",
    "Ref",
    "RefUpdate",
    "Refs",
    "TreeEntry",
    "moved",
]
