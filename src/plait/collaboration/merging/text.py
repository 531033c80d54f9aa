# SPDX-License-Identifier: Apache-2.0
"""The merge driver of text: three-way by lines, as git and diff3 do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

MAX_LINES = 20_000
"""Files with more lines are not merged line by line."""


def merge_lines(base: str, ours: str, theirs: str) -> str | None:
    """Return both sides' changes to ``base`` together, or None where they contradict each other."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    sides = [text.splitlines(keepends=True) for text in (base, ours, theirs)]
    if max(map(len, sides)) > MAX_LINES:
        return None
    merged: list[str] = []
    for original, left, right in _regions(*sides):
        if left == right or right == original:
            merged += left
        elif left == original:
            merged += right
        else:
            return None
    return "".join(merged)


def _regions(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Cut the three texts at the lines that all share; adjacent changes stay one region."""
    at = [0, 0, 0]
    for b, o, t, length in _shared(base, ours, theirs):
        yield list(base[at[0] : b]), list(ours[at[1] : o]), list(theirs[at[2] : t])
        same = list(base[b : b + length])
        yield same, same, same
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
