# SPDX-License-Identifier: Apache-2.0
"""The n-th largest of a tensor's scores, found by counting digits instead of sorting.

Positive floats are ordered as their bits are. Counting the upper 16 bits of all scores, and then
the lower ones of those whose upper bits are right, finds an order statistic exactly, in two passes
over blocks and next to no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.fusion.weights.methods.base import Block, Each, Sweep
from plait.fusion.weights.numbers import Array

SMALL = 16_384  # elements; smaller than the engine's blocks

Score = Callable[[Block, int], Array | None]
"""Non-negative scores of a block by the model at that place of it; None where all are 0."""


@dataclass(frozen=True)
class Cut:
    """The `rank`-th largest score of a tensor.

    Of the `equal` scores that have this value, `wanted` are among the first `rank`.
    """

    value: float
    wanted: int
    equal: int


def find_cuts(
    sweep: Sweep, score: Score, ranks: Mapping[int, Sequence[int]], *, joint: bool = False
) -> dict[tuple[int, int], Cut]:
    """Return the cut for each place and rank asked for (ranks count from 1).

    With `joint` a score is of all models together, and the one place is 0.
    """
    places = [place for place, asked in ranks.items() if asked]
    if not places:
        return {}
    seen = None if joint else places
    find = _by_partition if sweep.total <= SMALL else _by_digits
    return find(sweep, score, {place: sorted(set(ranks[place])) for place in places}, seen)


def find_whole_cuts(each: Each, densities: Sequence[float], score: Score) -> dict[int, float]:
    """Return, for each place, the score that the largest of *all tensors together* reach.

    Of n scores those from the (floor(density n) + 1)-th largest on are meant, as the authors of
    TIES have it. Places of density 0 or 1 are left out. Scores are compared as float32.
    """
    places = [place for place, density in enumerate(densities) if 0 < density < 1]

    def single(block: Block, at: int) -> Array | None:
        scores = score(block, at)
        return scores if scores is None else scores.astype(np.float32, copy=False)

    prefix = dict.fromkeys(places, 0)
    wanted: dict[int, int] = {}
    for shift in (16, 0) if places else ():
        first = shift == 16
        asked = {place: [prefix[place]] for place in places}
        total = {place: np.zeros(65536, np.int64) for place in places}

        def count(
            sweep: Sweep, asked: Any = asked, shift: int = shift, first: bool = first
        ) -> dict[tuple[int, int], Array]:
            return _count_digits(sweep, single, asked, shift, places, first=first)

        for counts in each(count):
            for place in places:
                total[place] += counts[place, prefix[place]]
        for place in places:
            from_top = np.cumsum(total[place][::-1])
            if first:
                wanted[place] = int(densities[place] * int(from_top[-1])) + 1
            back = int(np.searchsorted(from_top, wanted[place]))
            wanted[place] -= int(from_top[back - 1]) if back else 0
            prefix[place] = prefix[place] << 16 | 65535 - back
    return {p: float(np.array([bits], np.uint32).view(np.float32)[0]) for p, bits in prefix.items()}


def end_of_equals(sweep: Sweep, score: Score, place: int, cut: Cut, *, joint: bool = False) -> int:
    """Return the position up to which scores equal to the cut's value are among the first."""
    if cut.wanted >= cut.equal:
        return sweep.total
    count = cut.wanted
    for block in sweep.blocks(None if joint else [place]):
        scores = score(block, 0)
        if scores is None:
            scores = block.scratch("zero")
            scores[:] = 0
        equal = np.equal(scores, cut.value, out=block.mask("equal"))
        here = int(np.count_nonzero(equal))
        if here >= count:
            return block.start + int(np.flatnonzero(equal)[count - 1]) + 1
        count -= here
    return sweep.total


def _by_partition(
    sweep: Sweep, score: Score, ranks: Mapping[int, list[int]], seen: Sequence[int] | None
) -> dict[tuple[int, int], Cut]:
    """Find the cuts of a tensor that is small enough to have before one."""
    parts: dict[int, list[Array]] = {place: [] for place in ranks}
    for block in sweep.blocks(seen):
        for at, place in enumerate(ranks):
            scores = score(block, at)
            size = block.models[0].size
            kind = block.models[0].dtype
            parts[place].append(np.zeros(size, kind) if scores is None else scores.copy())
    found = {}
    for place, asked in ranks.items():
        scores = np.concatenate(parts[place])
        ordered = np.partition(scores, [scores.size - rank for rank in asked])
        for rank in asked:
            value = ordered[scores.size - rank]
            above = int(np.count_nonzero(scores > value))
            equal = int(np.count_nonzero(scores == value))
            found[place, rank] = Cut(float(value), rank - above, equal)
    return found


def _by_digits(
    sweep: Sweep, score: Score, ranks: Mapping[int, list[int]], seen: Sequence[int] | None
) -> dict[tuple[int, int], Cut]:
    """Find the cuts of a tensor of any size, 16 bits at a time."""
    asked = [(place, rank) for place, all_ranks in ranks.items() for rank in all_ranks]
    prefix = dict.fromkeys(asked, 0)
    wanted = {query: query[1] for query in asked}
    equal: dict[tuple[int, int], int] = {}
    digits = sweep.arithmetic_bytes // 2
    for shift in range(16 * (digits - 1), -1, -16):
        first = shift == 16 * (digits - 1)
        prefixes = {place: sorted({prefix[q] for q in asked if q[0] == place}) for place in ranks}
        counts = _count_digits(sweep, score, prefixes, shift, seen, first=first)
        for query in asked:
            here = counts[query[0], prefix[query]]
            from_top = np.cumsum(here[::-1])
            digit = 65535 - int(np.searchsorted(from_top, wanted[query]))
            equal[query] = int(here[digit])
            wanted[query] -= int(from_top[65535 - digit]) - equal[query]
            prefix[query] = prefix[query] << 16 | digit
    whole, real = (np.uint32, np.float32) if digits == 2 else (np.uint64, np.float64)
    return {
        q: Cut(float(np.array([prefix[q]], whole).view(real)[0]), wanted[q], equal[q])
        for q in asked
    }


def _count_digits(
    sweep: Sweep,
    score: Score,
    prefixes: Mapping[int, list[int]],
    shift: int,
    seen: Sequence[int] | None,
    *,
    first: bool,
) -> dict[tuple[int, int], Array]:
    """Count the 16-bit digits at `shift` of the scores that begin with each prefix."""
    counts = {(i, p): np.zeros(65536, np.int64) for i, own in prefixes.items() for p in own}
    for block in sweep.blocks(seen):
        for at, (place, own) in enumerate(prefixes.items()):
            scores = score(block, at)
            if scores is None:
                if 0 in own:
                    counts[place, 0][0] += block.models[at].size
                continue
            bits = scores.view(np.uint32 if scores.itemsize == 4 else np.uint64)
            for prefix in own:
                chosen = bits
                if not first:
                    spare = block.spare("upper", bits.dtype)[: bits.size]
                    upper = np.right_shift(bits, shift + 16, out=spare)
                    chosen = bits[np.equal(upper, prefix, out=block.mask("equal"))]
                digit = block.spare("digit", np.dtype(np.int64))[: chosen.size]
                np.right_shift(chosen, shift, out=digit, casting="unsafe")
                if not first:
                    np.bitwise_and(digit, 0xFFFF, out=digit)
                counts[place, prefix] += np.bincount(digit, minlength=65536)
    return counts
