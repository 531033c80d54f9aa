# SPDX-License-Identifier: Apache-2.0
"""Three versions of a text, cut into the regions that one side, both or none changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_LINES = 20_000
"""Files with more lines are not merged line by line."""


@dataclass(frozen=True)
class Region:
    """The same part of three texts: lines of the base, and what each side has in their place."""

    line: int
    """The number of the first line in ours."""
    base: str
    ours: str
    theirs: str

    @property
    def merged(self) -> str | None:
        """What both sides' changes give, None if they contradict each other."""
        if self.ours == self.theirs or self.theirs == self.base:
            return self.ours
        return self.theirs if self.ours == self.base else None


def merge_lines(base: str, ours: str, theirs: str) -> str | None:
    """Return both sides' changes to ``base`` together, or None where they contradict each other."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    cut = regions(base, ours, theirs)
    if cut is None or any(region.merged is None for region in cut):
        return None
    return "".join(region.merged or "" for region in cut)


def regions(base: str, ours: str, theirs: str) -> list[Region] | None:
    """Cut three texts at the lines that all share; None for texts of too many lines.

    Adjacent changes stay one region, as git and diff3 have it.
    """
    sides = [text.splitlines(keepends=True) for text in (base, ours, theirs)]
    if max(map(len, sides)) > MAX_LINES:
        return None
    return list(_regions(*sides))


def _regions(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Region]:
    at = [0, 0, 0]
    for b, o, t, length in _shared(base, ours, theirs):
        apart = ("".join(base[at[0] : b]), "".join(ours[at[1] : o]), "".join(theirs[at[2] : t]))
        if any(apart):
            yield Region(at[1] + 1, *apart)
        same = "".join(base[b : b + length])
        if same:
            yield Region(o + 1, same, same, same)
        at = [b + length, o + length, t + length]


def _shared(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[int, int, int, int]]:
    left = SequenceMatcher(None, base, ours, autojunk=False).get_matching_blocks()
    right = SequenceMatcher(None, base, theirs, autojunk=False).get_matching_blocks()
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        start, end = max(a.a, b.a), min(a.a + a.size, b.a + b.size)
        if start < end:
            yield start, a.b + start - a.a, b.b + start - b.a, end - start
        if a.a + a.size < b.a + b.size:
            i += 1
        else:
            j += 1
    yield len(base), len(ours), len(theirs), 0
