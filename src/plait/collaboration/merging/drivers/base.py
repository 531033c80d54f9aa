# SPDX-License-Identifier: Apache-2.0
"""What every merge driver is given, and what it gives back."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from plait.hub.git.operations import CopyFile, Delete, Operation
from plait.hub.git.store import TreeEntry
from plait.recipes.merging import MergeSpec
from plait.tables import Side, Value

if TYPE_CHECKING:
    from plait.collaboration.merging.changes import Sides

LIMIT = 2**20
"""Bytes of files that are merged within a request; more of them make a job."""
SHOWN = 200
"""Places of one file's conflict that are listed; a side can be chosen for the others."""


@dataclass(frozen=True)
class Place:
    """One thing that main and the pull request say differently; None: not there on that side."""

    id: str
    """By this it is settled; the same for the same three versions of the file."""
    where: str
    base: Any
    main: Any
    pull: Any
    editable: bool = True
    """Whether a person may write a value of their own."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "id": self.id,
            "where": self.where,
            "base": self.base,
            "main": self.main,
            "pull": self.pull,
            "editable": self.editable,
        }


@dataclass(frozen=True)
class FileConflict:
    """A file that main and the pull request changed in ways that contradict each other."""

    path: str
    driver: str
    reason: str
    places: tuple[Place, ...] = ()
    """Where; none: the file as a whole, of which one side's is taken."""
    count: int = 1
    """How many places there are; the first of them are listed."""
    text: bool = False
    """Whether the whole file may be given as text."""

    def __str__(self) -> str:
        """Name the file and the first places, for a message."""
        if not self.places:
            return f"'{self.path}' ({self.reason})" if self.reason else f"'{self.path}'"
        shown = "; ".join(_told(place) for place in self.places[:3])
        more = f"; and {self.count - 3:,} more" if self.count > 3 else ""
        return f"'{self.path}' ({shown}{more})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "path": self.path,
            "driver": self.driver,
            "reason": self.reason,
            "count": self.count,
            "text": self.text,
            "places": [place.to_json() for place in self.places],
        }


@dataclass(frozen=True)
class Resolution:
    """What a person decided of one file: single places, the rest of them, or the whole file."""

    rest: Side | None = None
    places: Mapping[str, Side | Value] = field(default_factory=dict)
    content: str | None = None

    def of(self, place: str) -> Side | Value | None:
        """Return what was decided of a place, None if nothing was."""
        return self.places.get(place, self.rest)


@dataclass(frozen=True)
class Outcome:
    """What to do to main's tree, what a person must settle first, and what is worth telling."""

    operations: tuple[Operation, ...] = ()
    conflicts: tuple[FileConflict, ...] = ()
    notes: tuple[Mapping[str, Any], ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        """Return both together."""
        return Outcome(
            self.operations + other.operations,
            self.conflicts + other.conflicts,
            self.notes + other.notes,
        )


@dataclass(frozen=True)
class Work:
    """One merge's files: three versions of each, the repository's rules, and what was decided."""

    sides: Sides
    spec: MergeSpec = field(default_factory=MergeSpec)
    resolutions: Mapping[str, Resolution] = field(default_factory=dict)
    clean: bool = False
    """Whether git merges all files without a conflict, renames included."""
    look: bool = True
    """Whether new rows are looked through for duplicates and test items."""
    store: Callable[[str, bytes], Operation] | None = None
    """Writes a merged large file's bytes and returns the commit's operation."""
    check: Callable[[], None] = lambda: None
    """Raises if the merge was cancelled."""
    number: int | None = None
    """The pull request's; None where what it would give is looked at or settled."""

    def entries(self, path: str) -> tuple[TreeEntry | None, TreeEntry | None, TreeEntry | None]:
        """Return a file at the merge base, at main and in the pull request."""
        sides = self.sides
        return sides.at_fork.get(path), sides.at_main.get(path), sides.at_head.get(path)

    def bytes(self, path: str) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return a file's three versions, large files' own bytes included."""
        sides = self.sides
        base, main, pull = (
            None if entry is None else sides.content(oid, path)
            for entry, oid in zip(
                self.entries(path), (sides.fork, sides.main, sides.head), strict=True
            )
        )
        return base, main, pull

    def open(self, oid: str, path: str) -> BinaryIO:
        """Open a file of one commit for reading."""
        opened = self.sides.hub.commits.open_file(self.sides.repo, oid, path)
        return opened.open() if opened.lfs else io.BytesIO(opened.data or b"")

    def resolution(self, path: str) -> Resolution:
        """Return what was decided of a file."""
        return self.resolutions.get(path, Resolution())

    def take(self, path: str, side: Side) -> tuple[Operation, ...]:
        """Return what gives main's tree one side's version of a file."""
        if side == "main":
            return ()
        if path not in self.sides.at_head:
            return (Delete(path),)
        return (CopyFile(path, path, revision=self.sides.head),)


class Driver(Protocol):
    """Merges the files of one kind; registered by `register` or an entry point."""

    name: str
    whole: bool
    """Whether it is also given files that only the pull request changed."""

    def claims(self, work: Work, path: str) -> bool:
        """Tell whether a file is of its kind."""
        ...

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Tell whether merging these files is a job's work rather than a request's."""
        ...

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Merge the files of its kind, all at once."""
        ...


def same(one: TreeEntry | None, other: TreeEntry | None) -> bool:
    """Tell whether two versions are one file, or both are absent."""
    return (one.oid if one else None) == (other.oid if other else None)


def one_sided(work: Work, path: str) -> tuple[Operation, ...] | None:
    """Return the operations where one side alone changed a file; None where both did.

    A change that both made alike is none.
    """
    fork, main, head = work.entries(path)
    if same(main, head) or same(fork, head):
        return ()
    return work.take(path, "pull") if same(fork, main) else None


def settle_whole(work: Work, path: str, driver: str, reason: str, *, text: bool) -> Outcome:
    """Take the side that a person chose for a file, else report it as a conflict."""
    from plait.hub.git.operations import AddBytes

    decided = work.resolution(path)
    if decided.content is not None and text:
        return Outcome((AddBytes(path, decided.content.encode()),))
    if decided.rest is not None:
        return Outcome(work.take(path, decided.rest))
    return Outcome(conflicts=(FileConflict(path, driver, reason, text=text),))


def _told(place: Place) -> str:
    return f"{place.where}: {_short(place.main)} or {_short(place.pull)}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = " ".join(str(value).split())
    return f"'{text[:40]}{'…' if len(text) > 40 else ''}'"
