# SPDX-License-Identifier: Apache-2.0
"""Looking through commits, trees and files that somebody made elsewhere, before they count."""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import pygit2
from pygit2.enums import FileMode, ObjectType, SortMode

from plait.errors import BadInput, TooLarge
from plait.hub.git.objects import measure
from plait.hub.git.operations import AddPointer
from plait.hub.names import MAX_DEPTH, MAX_PATH, check_path

MAX_FILES = 1_000_000
"""Files and folders that one revision may have, counted as often as they appear in it."""
MAX_COMMITS = 100_000
"""New commits that one push may bring."""
MAX_MESSAGE = 2**20
"""Bytes of one commit or tag, its message included."""
_KEPT = 100_000
_MODES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.TREE)


@dataclass(frozen=True)
class TreeFacts:
    """A tree with everything below it: files and folders, longest path in bytes, depth."""

    entries: int
    length: int
    depth: int


class _Known:
    """The trees that were looked through lately; an id stands for its content for ever."""

    def __init__(self) -> None:
        self._facts: OrderedDict[str, TreeFacts] = OrderedDict()
        self._lock = Lock()

    def get(self, oid: str) -> TreeFacts | None:
        with self._lock:
            if oid in self._facts:
                self._facts.move_to_end(oid)
            return self._facts.get(oid)

    def put(self, oid: str, facts: TreeFacts) -> None:
        with self._lock:
            self._facts[oid] = facts
            if len(self._facts) > _KEPT:
                self._facts.popitem(last=False)


_known = _Known()


def check_tree(git: Any, oid: Any) -> TreeFacts:
    """Check everything that a commit's tree names, and return how large it is.

    Raises:
        BadInput: a path is not allowed, two names differ by case alone, or something is neither a
            file nor a folder.
        TooLarge: there are too many files.
    """
    facts = _facts(git, oid, 0)
    if facts.length > MAX_PATH:
        raise BadInput(f"A path is {facts.length} bytes long; at most {MAX_PATH} are allowed.")
    return facts


def _facts(git: Any, oid: Any, depth: int) -> TreeFacts:
    if depth >= MAX_DEPTH:
        raise BadInput(f"A path is more than {MAX_DEPTH} folders deep.")
    facts = _known.get(str(oid))
    if facts is None:
        facts = _look(git, git[oid], depth)
        _known.put(str(oid), facts)
    if depth + facts.depth > MAX_DEPTH:
        raise BadInput(f"A path is more than {MAX_DEPTH} folders deep.")
    if facts.entries > MAX_FILES:
        raise TooLarge(f"A revision has more than {MAX_FILES} files. Split the repository.")
    return facts


def _look(git: Any, tree: Any, depth: int) -> TreeFacts:
    names: list[str] = []
    entries = length = below = 0
    for entry in tree:
        name = _name(entry)
        names.append(name)
        entries += 1
        size = len(name.encode())
        if entry.filemode == FileMode.TREE:
            facts = _facts(git, entry.id, depth + 1)
            entries += facts.entries
            size += 1 + facts.length
            below = max(below, facts.depth)
        length = max(length, size)
    check_distinct(names)
    return TreeFacts(entries, length, below + 1)


def _name(entry: Any) -> str:
    """Return the name of a tree's entry if a file or folder may be called that."""
    try:
        name: str = entry.raw_name.decode()
    except UnicodeDecodeError:
        raise BadInput(f"The name {entry.raw_name[:80]!r} is not UTF-8. Rename it.") from None
    if "/" in name:
        raise BadInput(f"The name {name[:80]!a} contains a '/'.")
    if check_path(name) != name:
        raise BadInput(
            f"The name '{name[:80]}' is not in Unicode's form NFC. Rename it: "
            f"'{unicodedata.normalize('NFC', name)[:80]}' written the usual way."
        )
    if entry.filemode == FileMode.LINK:
        raise BadInput(f"'{name}' is a symbolic link. Commit the file itself instead.")
    if entry.filemode == FileMode.COMMIT:
        raise BadInput(f"'{name}' is a submodule. Commit its files, or name it in the card.")
    if entry.filemode not in _MODES:
        raise BadInput(f"'{name}' is neither a file nor a folder (mode {entry.filemode:o}).")
    return name


def check_distinct(names: Iterable[str]) -> None:
    """Refuse names of one folder that not every system can tell apart.

    Raises:
        BadInput: two differ by case alone, or by forms of one letter.
    """
    seen: dict[str, str] = {}
    for name in names:
        folded = name.lower()
        if not folded.isascii():
            # Forms of one letter (full width, ligatures, composed or not) look alike, too.
            folded = unicodedata.normalize("NFKC", name).casefold()
            folded = unicodedata.normalize("NFKC", folded)
        if (other := seen.setdefault(folded, name)) != name:
            raise BadInput(
                f"'{other}' and '{name}' in one folder differ by case alone, or by forms of "
                "one letter, which not every system can check out. Rename one."
            )


@dataclass
class Inspection:
    """What the commits of one push hold that the repository did not have."""

    max_file: int
    """Bytes that a file kept in git may have."""
    commits: list[str] = field(default_factory=list)
    pointers: list[AddPointer] = field(default_factory=list)
    seen: set[Any] = field(default_factory=set)
    """Ids of the commits, trees and blobs that were looked at."""

    def inspect(self, git: Any, tips: Iterable[str], known: Sequence[str]) -> None:
        """Check each commit that is reachable from ``tips`` and not from ``known``.

        Raises:
            BadInput, TooLarge: something in it is not allowed; the message names it.
        """
        walker = git.walk(None, SortMode.TOPOLOGICAL | SortMode.REVERSE)
        for tip in tips:
            walker.push(pygit2.Oid(hex=tip))
        for oid in known:
            walker.hide(pygit2.Oid(hex=oid))
        for commit in walker:
            if commit.id in self.seen:
                continue
            self.seen.add(commit.id)
            self.commits.append(str(commit.id))
            if len(self.commits) > MAX_COMMITS:
                raise TooLarge(f"The push has more than {MAX_COMMITS} commits. Push in parts.")
            try:
                self._message(git, commit.id)
                check_tree(git, commit.tree_id)
                parents = [git[parent].tree for parent in commit.parent_ids]
                self._files(git, commit.tree, parents, "")
            except BadInput as error:
                raise BadInput(f"Commit {str(commit.id)[:10]}: {error.message}") from None
            except TooLarge as error:
                raise TooLarge(f"Commit {str(commit.id)[:10]}: {error.message}") from None

    def _message(self, git: Any, oid: Any) -> None:
        if git.odb.read_header(oid)[1] > MAX_MESSAGE:
            raise TooLarge(f"A commit or tag has more than {MAX_MESSAGE} bytes of text.")

    def _files(self, git: Any, tree: Any, before: Sequence[Any], prefix: str) -> None:
        """Check the files below ``tree`` that lie in none of ``before``, the parents' folders."""
        self.seen.add(tree.id)
        old = [{entry.raw_name: entry for entry in other} for other in before]
        for entry in tree:
            if entry.id in self.seen:
                continue
            same = [names[entry.raw_name] for names in old if entry.raw_name in names]
            if any(entry.id == other.id for other in same):
                continue
            path = f"{prefix}{entry.name}"
            if entry.filemode == FileMode.TREE:
                folders = [other for other in same if other.filemode == FileMode.TREE]
                self._files(git, entry, folders, f"{path}/")
            else:
                self.seen.add(entry.id)
                self._file(git, entry.id, path)

    def _file(self, git: Any, oid: Any, path: str) -> None:
        kind, size = git.odb.read_header(oid)[:2]
        if kind != ObjectType.BLOB:
            raise BadInput(f"'{path}' is not a file.")
        if size > self.max_file:
            raise TooLarge(
                f"'{path}' has {size} bytes; files kept in git have at most {self.max_file}. "
                f"Track it with git-lfs: git lfs migrate import --include='{path}'"
            )
        pointer = measure(git, oid)[1]
        if pointer is not None:
            self.pointers.append(AddPointer(path, pointer.sha256, pointer.size))

    def leftovers(self, git: Any, unpacked: Iterable[Any], has: Any) -> None:
        """Refuse objects that came along and that no pushed ref needs.

        Args:
            git: the repository with the new objects.
            unpacked: ids of the objects that came.
            has: tells whether the repository itself has an object.

        Raises:
            BadInput, TooLarge: there are some.
        """
        for oid in unpacked:
            if oid in self.seen or has(oid):
                continue
            if git.odb.read_header(oid)[0] == ObjectType.TAG:
                self._message(git, oid)
                continue
            raise BadInput(
                f"The push brings an object that none of its refs needs ({str(oid)[:10]}). "
                "Push from a fresh clone."
            )
