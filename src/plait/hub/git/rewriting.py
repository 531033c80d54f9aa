# SPDX-License-Identifier: Apache-2.0
"""Making commits anew without some large files."""

from __future__ import annotations

from typing import Any

from pygit2.enums import FileMode, ObjectType, SortMode

from plait.errors import RevisionNotFound
from plait.hub.git.objects import RefUpdate
from plait.hub.git.pointers import MAX_POINTER, parse_pointer


class Rewriter:
    """Writes the objects of a history without the pointers to some large files.

    Commits keep their authors, dates and messages; those that never had such a file before them
    keep their ids. Signatures are left out: they would be wrong. No ref moves.
    """

    def __init__(self, git: Any, names: frozenset[str]) -> None:
        self._git = git
        self._names = names
        self._trees: dict[Any, Any] = {}
        self._blobs: dict[Any, bool] = {}
        self.commits: dict[str, str] = {}
        """New ids of commits by their old ones."""
        self._seen: set[str] = set()

    def target(self, oid: str) -> str:
        """Return the new id of what a ref stands for, a commit or an annotated tag."""
        found = self._git[oid]
        if found.type == ObjectType.TAG:
            return self._tag(found)
        if found.type != ObjectType.COMMIT:
            raise RevisionNotFound(f"The ref stands for {oid}, which is no commit.")
        self._history(oid)
        return self.commits.get(oid, oid)

    def peeled(self, update: RefUpdate) -> RefUpdate:
        """Return an update in terms of commits, as everybody is told of it."""
        return RefUpdate(update.ref, self._peel(update.old), self._peel(update.new))

    def _peel(self, oid: str | None) -> str | None:
        if oid is None:
            return None
        found = self._git[oid]
        return str(found.get_object().id if found.type == ObjectType.TAG else found.id)

    def _history(self, tip: str) -> None:
        if tip in self._seen:
            return
        for commit in self._git.walk(tip, SortMode.TOPOLOGICAL | SortMode.REVERSE):
            old = str(commit.id)
            if old in self._seen:
                continue
            self._seen.add(old)
            tree = self._tree(commit.tree.id)
            if tree is None:
                tree = self._git.TreeBuilder().write()
            parents = [str(parent) for parent in commit.parent_ids]
            if tree == commit.tree.id and not any(parent in self.commits for parent in parents):
                continue
            self.commits[old] = self._commit(commit, str(tree), parents)

    def _commit(self, commit: Any, tree: str, parents: list[str]) -> str:
        head, _, message = commit.read_raw().partition(b"\n\n")
        lines: list[bytes] = [b"tree " + tree.encode()]
        lines += [b"parent " + self.commits.get(p, p).encode() for p in parents]
        inside_signature = False
        for line in head.split(b"\n"):
            if line.startswith(b" ") and inside_signature:
                continue
            inside_signature = line.startswith((b"gpgsig ", b"gpgsig-sha256 ", b"mergetag "))
            if not inside_signature and not line.startswith((b"tree ", b"parent ")):
                lines.append(line)
        raw = b"\n".join(lines) + b"\n\n" + message
        return str(self._git.write(ObjectType.COMMIT, raw))

    def _tag(self, tag: Any) -> str:
        inner = self._git[tag.target]
        if inner.type not in (ObjectType.COMMIT, ObjectType.TAG):
            return str(tag.id)
        old = str(inner.id)
        new = self.target(old)
        if new == old:
            return str(tag.id)
        raw = tag.read_raw().replace(b"object " + old.encode(), b"object " + new.encode(), 1)
        return str(self._git.write(ObjectType.TAG, raw))

    def _tree(self, oid: Any) -> Any:
        """Return the tree's new id, None if nothing is left in it."""
        if oid in self._trees:
            return self._trees[oid]
        builder = self._git.TreeBuilder(self._git[oid])
        changed = False
        for entry in self._git[oid]:
            if entry.filemode == FileMode.TREE:
                below = self._tree(entry.id)
                if below is None:
                    builder.remove(entry.name)
                elif below != entry.id:
                    builder.insert(entry.name, below, FileMode.TREE)
                changed = changed or below != entry.id
            elif entry.filemode != FileMode.COMMIT and self._refers(entry.id):
                builder.remove(entry.name)
                changed = True
        found = oid if not changed else builder.write() if len(builder) else None
        self._trees[oid] = found
        return found

    def _refers(self, oid: Any) -> bool:
        if oid not in self._blobs:
            pointer = None
            if self._git.odb.read_header(oid)[1] < MAX_POINTER:
                pointer = parse_pointer(bytes(self._git[oid].data))
            self._blobs[oid] = pointer is not None and pointer.sha256 in self._names
        return self._blobs[oid]
