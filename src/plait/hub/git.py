# SPDX-License-Identifier: Apache-2.0
"""Bare git repositories: commits, trees, refs and merges. Nothing here asks who the caller is."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import EllipsisType
from typing import Any, Final, Literal

import pygit2
from pygit2.enums import ConfigLevel, FileMode, ObjectType, SortMode

from plait.errors import BadInput, Conflict, EntryNotFound, PreconditionFailed, RevisionNotFound
from plait.hub.blobs import storage_errors, storage_full, sync_folder
from plait.hub.database import Repository
from plait.hub.loose import WORTH_IT, seed_blobs
from plait.hub.names import check_path, is_oid, is_ref_name, is_short_oid
from plait.hub.operations import AddBytes, Operation
from plait.hub.pointers import MAX_POINTER, Pointer, parse_pointer
from plait.hub.trees import ATTRIBUTES, build_tree, initial_attributes

MAIN: Final = "refs/heads/main"
MAX_DIFF = 2 * 2**20
_TIGHT = 2**20
"""Less free space than this, in bytes, is taken as the reason for an unexplained failure."""
MAX_WALK = 2000
"""How many commits are searched for the last change of a path before it is left unknown."""


def _prepare_libgit2() -> None:
    # Objects and refs must be on the disk when a write is reported as done.
    pygit2.settings.enable_fsync_gitdir(True)
    # The hub's folder may belong to another user of the machine or container; it is ours by path.
    pygit2.settings.owner_validation = False
    # A person's own git configuration must not change what the hub does.
    for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""


_prepare_libgit2()


@dataclass(frozen=True)
class TreeEntry:
    """A file or folder in a tree; ``size`` is the real size in bytes, also for large files."""

    path: str
    type: Literal["file", "directory"]
    oid: str
    size: int
    lfs: Pointer | None = None

    @property
    def etag(self) -> str:
        """SHA-256 of a large file, git's id of any other."""
        return self.lfs.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class CommitInfo:
    """A commit; ``title`` is its message's first line, ``message`` the rest."""

    oid: str
    title: str
    message: str
    date: datetime
    author: str
    parents: tuple[str, ...]
    full_message: str = ""


@dataclass(frozen=True)
class Ref:
    """A branch, tag or pull-request ref and the commit it stands for."""

    name: str
    ref: str
    oid: str


@dataclass(frozen=True)
class Refs:
    """All refs of a repository, each kind sorted by name."""

    branches: list[Ref]
    tags: list[Ref]
    pull_requests: list[Ref]


@dataclass(frozen=True)
class Change:
    """A path that differs between two commits, with git's ids of both sides."""

    path: str
    kind: Literal["added", "modified", "deleted"]
    old_oid: str | None
    new_oid: str | None


@dataclass(frozen=True)
class Author:
    """Who a commit names; the address is never a real one."""

    name: str
    email: str = ""

    def signature(self) -> Any:
        """Return git's form of it, at the current time."""
        email = self.email or f"{self.name}@users.noreply.plait"
        return pygit2.Signature(self.name, email)


@lru_cache(maxsize=65536)
def _known_size(oid: str) -> list[tuple[int, Pointer | None]]:
    """Return the place where the size of the blob ``oid`` is kept once known (ids are content)."""
    return []


class GitStore:
    """The folder of bare repositories, ``{id}.git``."""

    def __init__(self, folder: Path, blob_size: Callable[[str], int]) -> None:
        self.folder = folder
        self._blob_size = blob_size

    # -- repositories ---------------------------------------------------------------------------

    def path(self, repo: Repository | int) -> Path:
        """Return the folder of a repository."""
        number = repo if isinstance(repo, int) else repo.id
        return self.folder / f"{number}.git"

    def exists(self, repo: Repository | int) -> bool:
        """Tell whether the repository's folder is there."""
        return (self.path(repo) / "HEAD").is_file()

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

    def open(self, repo: Repository | int) -> Any:
        """Open the pygit2 repository (not to be shared between threads)."""
        try:
            return pygit2.Repository(str(self.path(repo)))
        except (pygit2.GitError, KeyError):
            raise RevisionNotFound("The repository's files are missing from the hub.") from None

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Say when the disk is full; libgit2 itself often says only that something failed."""
        try:
            with storage_errors(what):
                yield
        except pygit2.GitError as error:
            status = os.statvfs(self.folder)
            if "No space left" not in str(error) and status.f_bavail * status.f_frsize >= _TIGHT:
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

    # -- reading --------------------------------------------------------------------------------

    def resolve(self, repo: Repository | int, revision: str = "main") -> str:
        """Return the commit id of a branch, tag, ``refs/…`` or (abbreviated) commit id.

        Raises:
            RevisionNotFound: there is none of that name.
        """
        oid = _resolve(self.open(repo), revision)
        if oid is None:
            raise RevisionNotFound(
                f"There is no branch, tag or commit {revision[:120]!a} in this repository."
            )
        return oid

    def head(self, repo: Repository | int, ref: str = MAIN) -> str | None:
        """Return the commit that a full ref name stands for, None if there is no such ref."""
        return _ref_commit(self.open(repo), ref)

    def entry(self, repo: Repository | int, oid: str, path: str) -> TreeEntry:
        """Return the file or folder at ``path``.

        Raises:
            EntryNotFound: there is none.
        """
        git = self.open(repo)
        return _describe(git, _lookup(git, oid, path), path)

    def entries(self, repo: Repository | int, oid: str, paths: Sequence[str]) -> list[TreeEntry]:
        """Return those of ``paths`` that exist, in the order given."""
        git = self.open(repo)
        found = []
        for path in paths:
            try:
                found.append(_describe(git, _lookup(git, oid, path), path))
            except (EntryNotFound, BadInput):
                continue
        return found

    def tree(
        self, repo: Repository | int, oid: str, path: str = "", recursive: bool = False
    ) -> list[TreeEntry]:
        """List a folder in git's order; with ``recursive`` also everything below it.

        Raises:
            EntryNotFound: ``path`` is not a folder there.
        """
        git = self.open(repo)
        tree = _commit(git, oid).tree
        if path:
            tree = _lookup(git, oid, path)
            if tree.type != ObjectType.TREE:
                raise EntryNotFound(f"'{path}' is a file, not a folder.", commit=oid)
        return list(_walk_tree(git, tree, path, recursive))

    def read(self, repo: Repository | int, oid: str, path: str) -> bytes:
        """Return the bytes that git itself holds at ``path`` (a pointer's text for large files).

        Raises:
            EntryNotFound: no file there.
        """
        git = self.open(repo)
        found = _lookup(git, oid, path)
        if found.type != ObjectType.BLOB:
            raise EntryNotFound(f"'{path}' is a folder, not a file.", commit=oid)
        return bytes(found.data)

    def log(
        self, repo: Repository | int, oid: str, limit: int = 50, skip: int = 0
    ) -> list[CommitInfo]:
        """List commits reachable from ``oid``, newest first."""
        git = self.open(repo)
        walker = git.walk(_commit(git, oid).id, SortMode.TOPOLOGICAL | SortMode.TIME)
        return [_info(commit) for commit in islice(walker, skip, skip + limit)]

    def commit_info(self, repo: Repository | int, oid: str) -> CommitInfo:
        """Return one commit.

        Raises:
            RevisionNotFound: no such commit.
        """
        return _info(_commit(self.open(repo), oid))

    def count_commits(self, repo: Repository | int, oid: str, limit: int = 10_000) -> int:
        """Count the commits reachable from ``oid``, at most ``limit``."""
        git = self.open(repo)
        return sum(1 for _ in islice(git.walk(_commit(git, oid).id, SortMode.NONE), limit))

    def last_commits(
        self, repo: Repository | int, oid: str, paths: Sequence[str]
    ) -> dict[str, CommitInfo]:
        """Return the commit that last changed each path; one beyond the search's bound is absent.

        Follows first parents, so that a merge counts as the change it brought.
        """
        git = self.open(repo)
        found: dict[str, CommitInfo] = {}
        commit = _commit(git, oid)
        current = _ids(git, commit, paths)
        for _ in range(MAX_WALK):
            open_paths = [p for p in paths if p not in found and current.get(p) is not None]
            if not open_paths:
                break
            parent = commit.parents[0] if commit.parents else None
            before = _ids(git, parent, open_paths) if parent is not None else {}
            for path in open_paths:
                if before.get(path) != current[path]:
                    found[path] = _info(commit)
            if parent is None:
                break
            commit, current = parent, before
        return found

    def refs(self, repo: Repository | int) -> Refs:
        """List all refs."""
        git = self.open(repo)
        kinds: dict[str, list[Ref]] = {"refs/heads/": [], "refs/tags/": [], "refs/pr/": []}
        for name in git.references:
            for prefix, found in kinds.items():
                if name.startswith(prefix) and (oid := _ref_commit(git, name)) is not None:
                    found.append(Ref(name.removeprefix(prefix), name, oid))
        branches, tags, pulls = (sorted(found, key=lambda r: r.name) for found in kinds.values())
        return Refs(branches, tags, sorted(pulls, key=lambda r: int(r.name)))

    def changed_paths(self, repo: Repository | int, old: str, new: str) -> list[Change]:
        """List the paths that differ between two commits, sorted."""
        git = self.open(repo)
        diff = git.diff(_commit(git, old).tree, _commit(git, new).tree)
        changes = []
        for delta in diff.deltas:
            kind: Literal["added", "modified", "deleted"] = (
                "added"
                if delta.status_char() == "A"
                else "deleted"
                if delta.status_char() == "D"
                else "modified"
            )
            changes.append(
                Change(
                    delta.new_file.path if kind != "deleted" else delta.old_file.path,
                    kind,
                    None if kind == "added" else str(delta.old_file.id),
                    None if kind == "deleted" else str(delta.new_file.id),
                )
            )
        return sorted(changes, key=lambda change: change.path)

    def diff(self, repo: Repository | int, old: str, new: str, *, limit: int = MAX_DIFF) -> str:
        """Return the difference of two commits as a patch, cut after ``limit`` bytes."""
        git = self.open(repo)
        diff = git.diff(_commit(git, old).tree, _commit(git, new).tree)
        parts: list[str] = []
        size = 0
        for patch in diff:
            data = patch.data
            size += len(data)
            if size > limit:
                parts.append("# The difference is too large to show; the rest is left out.\n")
                break
            parts.append(data.decode("utf-8", "replace"))
        return "".join(parts)

    def merge_base(self, repo: Repository | int, first: str, second: str) -> str | None:
        """Return git's merge base of two commits, None for unrelated histories."""
        base = self.open(repo).merge_base(first, second)
        return str(base) if base is not None else None

    def is_ancestor(self, repo: Repository | int, old: str, new: str) -> bool:
        """Tell whether ``old`` is ``new`` or reachable from it."""
        return old == new or bool(self.open(repo).descendant_of(new, old))

    # -- writing --------------------------------------------------------------------------------

    def commit(
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
    ) -> str:
        """Write a commit and move ``ref`` to it, or change nothing; return the commit's id.

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
            head = _ref_commit(git, ref)
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
            return oid

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
        old_tree = _commit(git, base).tree.id if base else None
        new_tree = self.apply(repo, tree or (str(old_tree) if old_tree else None), operations)
        if base and parents is None and not allow_empty and new_tree == str(old_tree):
            return base
        signature = author.signature()
        chosen = list(parents) if parents is not None else [base] if base else []
        return str(
            git.create_commit(None, signature, signature, message, pygit2.Oid(hex=new_tree), chosen)
        )

    def apply(
        self, repo: Repository | int, tree: str | None, operations: Sequence[Operation]
    ) -> str:
        """Apply operations to a tree id and return the new tree's id."""
        git = self.open(repo)

        def commit_tree(revision: str) -> Any:
            return _commit(git, self.resolve(repo, revision)).tree.id

        contents = [o.data for o in operations if isinstance(o, AddBytes)]
        if len(contents) >= WORTH_IT:
            seed_blobs(self.path(repo) / "objects", contents)
        start = pygit2.Oid(hex=tree) if tree else None
        return str(build_tree(git, start, operations, commit_tree, self._blob_size))

    def tree_of(self, repo: Repository | int, oid: str) -> str:
        """Return the tree id of a commit."""
        return str(_commit(self.open(repo), oid).tree.id)

    def set_ref(
        self,
        repo: Repository | int,
        ref: str,
        oid: str,
        *,
        expected: str | EllipsisType | None = ...,
    ) -> None:
        """Make ``ref`` stand for a commit.

        ``expected`` is what it must stand for now, None for "must not exist"; left out: anything.

        Raises:
            PreconditionFailed: it stands for another commit.
            Conflict: it exists and should not.
        """
        with self._writing("the ref"), self.locked(repo):
            git = self.open(repo)
            head = _ref_commit(git, ref)
            if expected is None and head is not None:
                raise Conflict(f"Reference {ref} already exists")
            if expected is not ... and expected != head:
                raise moved()
            _move(git, ref, str(_commit(git, oid).id), head)

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

    def delete_ref(self, repo: Repository | int, ref: str) -> None:
        """Remove a ref.

        Raises:
            RevisionNotFound: there is none.
        """
        with self.locked(repo):
            git = self.open(repo)
            if ref not in git.references:
                raise RevisionNotFound(f"Invalid rev id: there is no {ref[:120]!a}.")
            _drop_stale_lock(git, ref)
            git.references.delete(ref)

    def merge_trees(
        self, repo: Repository | int, ours: str, theirs: str, ancestor: str | None = None
    ) -> tuple[str | None, list[str]]:
        """Merge two commits' files as git does.

        Returns:
            The merged tree's id and no conflicts, or None and the paths in conflict, sorted.
        """
        git = self.open(repo)
        if ancestor is None:
            index = git.merge_commits(_commit(git, ours).id, _commit(git, theirs).id)
        else:
            index = git.merge_trees(
                _commit(git, ancestor).tree, _commit(git, ours).tree, _commit(git, theirs).tree
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
            return str(index.write_tree(git)), []


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


def _ref_commit(git: Any, ref: str) -> str | None:
    try:
        return str(git.references[ref].peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError):
        return None


def _resolve(git: Any, revision: str) -> str | None:
    if not revision or revision == "HEAD":
        return _ref_commit(git, MAIN)
    if is_oid(revision):
        found = git.get(revision)
        if found is None or found.type not in (ObjectType.COMMIT, ObjectType.TAG):
            return None
        return str(found.peel(pygit2.Commit).id)
    if not is_ref_name(revision):
        return None
    if revision.startswith("refs/"):
        return _ref_commit(git, revision)
    for prefix in ("refs/heads/", "refs/tags/"):
        if (oid := _ref_commit(git, prefix + revision)) is not None:
            return oid
    if is_short_oid(revision):
        try:
            return str(git[git.expand_id(revision)].peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None
    return None


def _move(git: Any, ref: str, oid: str, head: str | None) -> None:
    """Move a ref that stands for ``head``; libgit2 compares again under its own lock file."""
    target = pygit2.Oid(hex=oid)
    if head == oid:
        return
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


def _commit(git: Any, oid: str) -> Any:
    found = git.get(oid) if is_oid(oid) else None
    if found is None or found.type != ObjectType.COMMIT:
        raise RevisionNotFound(f"There is no commit {oid[:80]!a} in this repository.")
    return found


def _lookup(git: Any, oid: str, path: str) -> Any:
    here = _commit(git, oid).tree
    if not path:
        return here
    path = check_path(path.rstrip("/"))
    for part in path.split("/"):
        if here.type != ObjectType.TREE or part not in here or here[part].type == ObjectType.COMMIT:
            raise EntryNotFound(f"There is no file or folder '{path}' in {oid[:10]}.", commit=oid)
        here = here[part]
    return here


def _ids(git: Any, commit: Any, paths: Sequence[str]) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            found[path] = str(_lookup(git, str(commit.id), path).id)
        except EntryNotFound:
            continue
    return found


def _measure(git: Any, oid: Any) -> tuple[int, Pointer | None]:
    """Return a blob's size and, if it is a pointer, what it points to."""
    known = _known_size(str(oid))
    if not known:
        size = git.odb.read_header(oid)[1]
        pointer = parse_pointer(bytes(git[oid].data)) if size < MAX_POINTER else None
        known.append((pointer.size if pointer else size, pointer))
    return known[0]


def _describe(git: Any, found: Any, path: str) -> TreeEntry:
    if found.type == ObjectType.TREE:
        return TreeEntry(path, "directory", str(found.id), 0)
    size, pointer = _measure(git, found.id)
    return TreeEntry(path, "file", str(found.id), size, pointer)


def _walk_tree(git: Any, tree: Any, path: str, recursive: bool) -> Iterator[TreeEntry]:
    prefix = f"{path.rstrip('/')}/" if path else ""
    for entry in tree:
        if entry.filemode == FileMode.COMMIT:
            continue
        here = prefix + entry.name
        if entry.filemode == FileMode.TREE:
            yield TreeEntry(here, "directory", str(entry.id), 0)
            if recursive:
                yield from _walk_tree(git, entry, here, True)
        else:
            size, pointer = _measure(git, entry.id)
            yield TreeEntry(here, "file", str(entry.id), size, pointer)


def _info(commit: Any) -> CommitInfo:
    title, _, rest = commit.message.partition("\n")
    return CommitInfo(
        str(commit.id),
        title,
        rest.strip("\n"),
        datetime.fromtimestamp(commit.commit_time, UTC),
        commit.author.name,
        tuple(str(parent) for parent in commit.parent_ids),
        commit.message,
    )
