# SPDX-License-Identifier: Apache-2.0
"""What git's objects are to the hub: plain values, and how they are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Final, Literal

import pygit2
from pygit2.enums import ConfigLevel, FileMode, ObjectType

from plait.errors import EntryNotFound, RevisionNotFound
from plait.hub.git.pointers import MAX_POINTER, Pointer, parse_pointer
from plait.hub.names import check_path, is_oid, is_ref_name, is_short_oid

MAIN: Final = "refs/heads/main"
_LATEST = 253_402_300_799
"""The last second of the year 9999, beyond which there are no dates."""


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
class RefUpdate:
    """A ref that moved; ``old`` None: it is new, ``new`` None: it is gone."""

    ref: str
    old: str | None
    new: str | None


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


def ref_commit(git: Any, ref: str) -> str | None:
    """Return the commit that a full ref name stands for, None if there is no such ref."""
    try:
        return str(git.references[ref].peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError):
        return None


def raw_target(git: Any, ref: str) -> str | None:
    """Return the id that a ref itself holds (of an annotated tag, the tag's), None without one."""
    try:
        return str(git.references[ref].resolve().target)
    except (KeyError, ValueError, pygit2.GitError):
        return None


def find_revision(git: Any, revision: str) -> str | None:
    """Return the commit of a branch, tag, ``refs/…`` or commit id, None if there is none."""
    if not revision or revision == "HEAD":
        return ref_commit(git, MAIN)
    if is_oid(revision):
        found = git.get(revision)
        if found is None or found.type not in (ObjectType.COMMIT, ObjectType.TAG):
            return None
        return str(found.peel(pygit2.Commit).id)
    if not is_ref_name(revision):
        return None
    if revision.startswith("refs/"):
        return ref_commit(git, revision)
    for prefix in ("refs/heads/", "refs/tags/"):
        if (oid := ref_commit(git, prefix + revision)) is not None:
            return oid
    if is_short_oid(revision):
        try:
            return str(git[git.expand_id(revision)].peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None
    return None


def find_commit(git: Any, oid: str) -> Any:
    """Return the commit of a full id.

    Raises:
        RevisionNotFound: there is none.
    """
    found = git.get(oid) if is_oid(oid) else None
    if found is None or found.type != ObjectType.COMMIT:
        raise RevisionNotFound(f"There is no commit {oid[:80]!a} in this repository.")
    return found


def find_entry(git: Any, oid: str, path: str) -> Any:
    """Return the blob or tree at a path of a commit.

    Raises:
        EntryNotFound: there is none.
    """
    here = find_commit(git, oid).tree
    if not path:
        return here
    path = check_path(path.rstrip("/"))
    for part in path.split("/"):
        if here.type != ObjectType.TREE or part not in here or here[part].type == ObjectType.COMMIT:
            raise EntryNotFound(f"There is no file or folder '{path}' in {oid[:10]}.", commit=oid)
        here = here[part]
    return here


def folder_id(git: Any, commit: Any, folder: str) -> Any:
    """Return git's id of a folder at a commit, None if there is none; the root is ``""``."""
    oid = commit.tree.id
    for part in folder.split("/") if folder else []:
        try:
            entry = git[oid][part]
        except KeyError:
            return None
        if entry.filemode != FileMode.TREE:
            return None
        oid = entry.id
    return oid


def ids_in(git: Any, tree: Any, names: Iterable[str]) -> dict[str, str]:
    """Return git's ids of those names that a tree (its id, or None) holds."""
    if tree is None:
        return {}
    loaded = git[tree]
    return {name: str(loaded[name].id) for name in names if name in loaded}


def measure(git: Any, oid: Any) -> tuple[int, Pointer | None]:
    """Return a blob's size and, if it is a pointer, what it points to."""
    known = _known_size(str(oid))
    if not known:
        size = git.odb.read_header(oid)[1]
        pointer = parse_pointer(bytes(git[oid].data)) if size < MAX_POINTER else None
        known.append((pointer.size if pointer else size, pointer))
    return known[0]


def describe(git: Any, found: Any, path: str) -> TreeEntry:
    """Describe a blob or tree that lies at ``path``."""
    if found.type == ObjectType.TREE:
        return TreeEntry(path, "directory", str(found.id), 0)
    size, pointer = measure(git, found.id)
    return TreeEntry(path, "file", str(found.id), size, pointer)


def walk_tree(
    git: Any, tree: Any, path: str, recursive: bool, start: int = 0, stop: int | None = None
) -> Iterator[TreeEntry]:
    """Describe what a tree at ``path`` holds, in git's order, from one place to another."""
    # Only what is wanted is looked at: a page of a large folder costs as much as one of a small.
    for here, oid, mode in islice(_walk_names(tree, path, recursive), start, stop):
        if mode == FileMode.TREE:
            yield TreeEntry(here, "directory", str(oid), 0)
        else:
            size, pointer = measure(git, oid)
            yield TreeEntry(here, "file", str(oid), size, pointer)


def _walk_names(tree: Any, path: str, recursive: bool) -> Iterator[tuple[str, Any, Any]]:
    prefix = f"{path.rstrip('/')}/" if path else ""
    for entry in tree:
        mode = entry.filemode
        if mode == FileMode.COMMIT:
            continue
        here = prefix + entry.name
        yield here, entry.id, mode
        if recursive and mode == FileMode.TREE:
            yield from _walk_names(entry, here, True)


def info_of(commit: Any) -> CommitInfo:
    """Describe a commit."""
    # A commit that was pushed may claim any encoding and any time.
    message = commit.raw_message.decode("utf-8", "replace")
    title, _, rest = message.partition("\n")
    return CommitInfo(
        str(commit.id),
        title,
        rest.strip("\n"),
        datetime.fromtimestamp(min(max(commit.commit_time, 0), _LATEST), UTC),
        commit.author.raw_name.decode("utf-8", "replace"),
        tuple(str(parent) for parent in commit.parent_ids),
        message,
    )
