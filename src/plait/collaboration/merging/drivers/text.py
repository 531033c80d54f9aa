# SPDX-License-Identifier: Apache-2.0
"""The driver of text: three-way by lines; and of every file that no other driver takes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from plait.collaboration.merging.drivers.base import (
    SHOWN,
    FileConflict,
    Outcome,
    Place,
    Resolution,
    Work,
    one_sided,
    settle_whole,
)
from plait.collaboration.merging.text import Region, regions
from plait.errors import BadInput
from plait.hub.git.operations import AddBytes
from plait.tables import Value

MAX_TEXT = 2 * 2**20
"""Files larger than this are never merged line by line."""
ATTRIBUTES = ".gitattributes"


class TextDriver:
    """Merges text by lines. Of what is no text, a side is taken."""

    name = "text"
    whole = False

    def claims(self, work: Work, path: str) -> bool:
        """Take whatever is left."""
        return True

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Text is merged at once."""
        return False

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Merge each file; where git already found no conflict, its merge stands."""
        found = Outcome()
        for path in () if work.clean else paths:
            operations = one_sided(work, path)
            found += self._merge(work, path) if operations is None else Outcome(operations)
        return found

    def _merge(self, work: Work, path: str) -> Outcome:
        _, main, head = work.entries(path)
        if main is None or head is None:
            gone, kept = (
                ("main", "the pull request") if main is None else ("the pull request", "main")
            )
            return settle_whole(
                work, path, self.name, f"{gone} removed it, {kept} changed it", text=False
            )
        if any(e is not None and (e.lfs or e.size > MAX_TEXT) for e in work.entries(path)):
            return settle_whole(work, path, self.name, "too large to merge by lines", text=False)
        try:
            base, ours, theirs = ((d or b"").decode("utf-8") for d in work.bytes(path))
        except UnicodeDecodeError:
            return settle_whole(work, path, self.name, "not text", text=False)
        decided = work.resolution(path)
        if decided.content is not None:
            return Outcome((AddBytes(path, decided.content.encode()),))
        if path == ATTRIBUTES:
            return Outcome((AddBytes(path, _union(base, ours, theirs).encode()),))
        merged, places = merge_text(base, ours, theirs, decided)
        if merged is not None:
            return Outcome((AddBytes(path, merged.encode()),))
        conflict = FileConflict(
            path, self.name, "both changed the same lines", places[:SHOWN], len(places), text=True
        )
        return Outcome(conflicts=(conflict,))


class WholeDriver(TextDriver):
    """Never looks into a file: where both sides changed it, one of them is taken."""

    name = "whole"

    def claims(self, work: Work, path: str) -> bool:
        """Take only what `plait.yaml` gives it."""
        return False

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Take the side that changed a file; of two, the one that a person chose."""
        found = Outcome()
        for path in paths:
            operations = one_sided(work, path)
            if operations is None:
                found += settle_whole(
                    work, path, self.name, "both changed it, and it is taken whole", text=False
                )
            else:
                found += Outcome(operations)
        return found


def merge_text(
    base: str, ours: str, theirs: str, decided: Resolution, prefix: str = ""
) -> tuple[str | None, tuple[Place, ...]]:
    """Merge three texts by lines.

    Args:
        base: what both started from.
        ours: main's.
        theirs: the pull request's.
        decided: what a person decided, by place.
        prefix: of the places' ids.

    Returns:
        The merged text and no places; or None and those that are left to settle.
    """
    if ours == theirs or theirs == base:
        return ours, ()
    if ours == base:
        return theirs, ()
    cut = regions(base, ours, theirs)
    if cut is None:
        whole = Region(1, base, ours, theirs)
        cut = [whole]
    merged: list[str] = []
    places: list[Place] = []
    for number, region in enumerate(cut):
        text = region.merged
        if text is None:
            place = _place(region, number, prefix)
            choice = decided.of(place.id)
            if choice is None:
                places.append(place)
                continue
            text = _chosen(region, choice, place)
        merged.append(text)
    return (None, tuple(places)) if places else ("".join(merged), ())


def _place(region: Region, number: int, prefix: str) -> Place:
    told = "\0".join((region.base, region.ours, region.theirs))
    name = f"{prefix}{number}-{sha256(told.encode()).hexdigest()[:8]}"
    count = max(1, region.ours.count("\n"))
    where = f"line {region.line}" + (f" to {region.line + count - 1}" if count > 1 else "")
    return Place(name, where, region.base, region.ours, region.theirs)


def _chosen(region: Region, choice: object, place: Place) -> str:
    if not isinstance(choice, Value):
        return region.ours if choice == "main" else region.theirs
    if not isinstance(choice.value, str):
        raise BadInput(f"What stands in {place.where} must be text.")
    text = choice.value.replace("\r\n", "\n")
    return (
        text if not text or text.endswith("\n") or not region.ours.endswith("\n") else text + "\n"
    )


def _union(base: str, ours: str, theirs: str) -> str:
    """Keep the lines of both sides but those that either removed, as the hub's own merges do."""
    sides = [text.splitlines() for text in (base, ours, theirs)]
    gone = {line for line in sides[0] if line not in sides[1] or line not in sides[2]}
    kept = [line for line in sides[0] if line not in gone]
    new = sorted({line for side in sides[1:] for line in side if line not in sides[0]})
    return "".join(f"{line}\n" for line in [*kept, *new])
