# SPDX-License-Identifier: Apache-2.0
"""Reading bare git repositories. Nothing here asks who the caller is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pygit2
from pygit2.enums import ObjectType, SortMode

from plait.errors import BadInput, EntryNotFound, RevisionNotFound
from plait.hub.database import Repository
from plait.hub.git.objects import (
    MAIN,
    Change,
    CommitInfo,
    Ref,
    Refs,
    TreeEntry,
    describe,
    find_commit,
    find_entry,
    find_revision,
    folder_id,
    ids_in,
    info_of,
    ref_commit,
    walk_tree,
)

MAX_DIFF = 2 * 2**20
MAX_WALK = 2000
"""How many commits are searched for the last change of a path before it is left unknown."""


class GitReader:
    """The folder of bare repositories, ``{id}.git``, as it can be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, repo: Repository | int) -> Path:
        """Return the folder of a repository."""
        number = repo if isinstance(repo, int) else repo.id
        return self.folder / f"{number}.git"

    def exists(self, repo: Repository | int) -> bool:
        """Tell whether the repository's folder is there."""
        return (self.path(repo) / "HEAD").is_file()

    def open(self, repo: Repository | int) -> Any:
        """Open the pygit2 repository (not to be shared between threads)."""
        try:
            return pygit2.Repository(str(self.path(repo)))
        except (pygit2.GitError, KeyError):
            raise RevisionNotFound("The repository's files are missing from the hub.") from None

    def resolve(self, repo: Repository | int, revision: str = "main") -> str:
        """Return the commit id of a branch, tag, ``refs/…`` or (abbreviated) commit id.

        Raises:
            RevisionNotFound: there is none of that name.
        """
        oid = find_revision(self.open(repo), revision)
        if oid is None:
            raise RevisionNotFound(
                f"There is no branch, tag or commit {revision[:120]!a} in this repository."
            )
        return oid

    def head(self, repo: Repository | int, ref: str = MAIN) -> str | None:
        """Return the commit that a full ref name stands for, None if there is no such ref."""
        return ref_commit(self.open(repo), ref)

    def entry(self, repo: Repository | int, oid: str, path: str) -> TreeEntry:
        """Return the file or folder at ``path``.

        Raises:
            EntryNotFound: there is none.
        """
        git = self.open(repo)
        return describe(git, find_entry(git, oid, path), path)

    def entries(self, repo: Repository | int, oid: str, paths: Sequence[str]) -> list[TreeEntry]:
        """Return those of ``paths`` that exist, in the order given."""
        git = self.open(repo)
        found = []
        for path in paths:
            try:
                found.append(describe(git, find_entry(git, oid, path), path))
            except (EntryNotFound, BadInput):
                continue
        return found

    def tree(
        self,
        repo: Repository | int,
        oid: str,
        path: str = "",
        recursive: bool = False,
        start: int = 0,
        stop: int | None = None,
    ) -> list[TreeEntry]:
        """List a folder in git's order; with ``recursive`` also everything below it.

        ``start`` and ``stop`` ask for a part of that list.

        Raises:
            EntryNotFound: ``path`` is not a folder there.
        """
        git = self.open(repo)
        tree = find_commit(git, oid).tree
        if path:
            tree = find_entry(git, oid, path)
            if tree.type != ObjectType.TREE:
                raise EntryNotFound(f"'{path}' is a file, not a folder.", commit=oid)
        return list(walk_tree(git, tree, path, recursive, start, stop))

    def read(self, repo: Repository | int, oid: str, path: str) -> bytes:
        """Return the bytes that git itself holds at ``path`` (a pointer's text for large files).

        Raises:
            EntryNotFound: no file there.
        """
        git = self.open(repo)
        found = find_entry(git, oid, path)
        if found.type != ObjectType.BLOB:
            raise EntryNotFound(f"'{path}' is a folder, not a file.", commit=oid)
        return bytes(found.data)

    def log(
        self, repo: Repository | int, oid: str, limit: int = 50, skip: int = 0
    ) -> list[CommitInfo]:
        """List commits reachable from ``oid``, newest first."""
        git = self.open(repo)
        walker = git.walk(find_commit(git, oid).id, SortMode.TOPOLOGICAL | SortMode.TIME)
        return [info_of(commit) for commit in islice(walker, skip, skip + limit)]

    def commit_info(self, repo: Repository | int, oid: str) -> CommitInfo:
        """Return one commit.

        Raises:
            RevisionNotFound: no such commit.
        """
        return info_of(find_commit(self.open(repo), oid))

    def count_commits(self, repo: Repository | int, oid: str, limit: int = 10_000) -> int:
        """Count the commits reachable from ``oid``, at most ``limit``."""
        git = self.open(repo)
        return sum(1 for _ in islice(git.walk(find_commit(git, oid).id, SortMode.NONE), limit))

    def last_commits(
        self, repo: Repository | int, oid: str, paths: Sequence[str]
    ) -> dict[str, CommitInfo]:
        """Return the commit that last changed each path; one beyond the search's bound is absent.

        Follows first parents, so that a merge counts as the change it brought.
        """
        git = self.open(repo)
        found: dict[str, CommitInfo] = {}
        commit = find_commit(git, oid)
        wanted: dict[str, set[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            wanted.setdefault(folder, set()).add(name)
        trees = {folder: folder_id(git, commit, folder) for folder in wanted}
        for folder, names in wanted.items():
            names.intersection_update(ids_in(git, trees[folder], names))
        for _ in range(MAX_WALK):
            wanted = {folder: names for folder, names in wanted.items() if names}
            if not wanted:
                break
            parent = commit.parents[0] if commit.parents else None
            for folder, names in wanted.items():
                before = None if parent is None else folder_id(git, parent, folder)
                if before == trees[folder]:
                    continue  # One look tells that nothing in the whole folder changed.
                here, there = (ids_in(git, tree, names) for tree in (trees[folder], before))
                changed = {name for name in names if here[name] != there.get(name)}
                found |= {f"{folder}/{n}" if folder else n: info_of(commit) for n in changed}
                names -= changed
                trees[folder] = before
            if parent is None:
                break
            commit = parent
        return found

    def refs(self, repo: Repository | int) -> Refs:
        """List all refs."""
        git = self.open(repo)
        kinds: dict[str, list[Ref]] = {"refs/heads/": [], "refs/tags/": [], "refs/pr/": []}
        for name in git.references:
            for prefix, found in kinds.items():
                if name.startswith(prefix) and (oid := ref_commit(git, name)) is not None:
                    found.append(Ref(name.removeprefix(prefix), name, oid))
        branches, tags, pulls = (sorted(found, key=lambda r: r.name) for found in kinds.values())
        return Refs(branches, tags, sorted(pulls, key=lambda r: int(r.name)))

    def changed_paths(self, repo: Repository | int, old: str, new: str) -> list[Change]:
        """List the paths that differ between two commits, sorted."""
        git = self.open(repo)
        diff = git.diff(find_commit(git, old).tree, find_commit(git, new).tree)
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
        diff = git.diff(find_commit(git, old).tree, find_commit(git, new).tree)
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

    def tree_of(self, repo: Repository | int, oid: str) -> str:
        """Return the tree id of a commit."""
        return str(find_commit(self.open(repo), oid).tree.id)
