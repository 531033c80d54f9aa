# SPDX-License-Identifier: Apache-2.0
"""Evidence on pairs: how alike their names and values are, and how many neighbours are the same.

Each kind of evidence is a number from 0 to 1 for each pair, NaN where one of the two has nothing to
compare. What a number is worth is learned (`plait.graphs.align.weights`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from plait.graphs.align.sides import Side, Values, joined
from plait.graphs.align.texts import Grams, forms

FOREIGN = 0.45
"""Names in scripts without a common letter tell nothing against a pair below this likeness."""
_NEAR = 0.1
"""Two numbers whose logarithms differ by this are alike to 1/e."""
ALIKE = 0.55
"""Names less alike than this say nothing against rivals: the least bad of few is not the same."""
AGREE = 0.6
MIN_SHARED = 8
"""Sure pairs that must have both predicates before they are taken for one."""


@dataclass(frozen=True)
class Correspondence:
    """A predicate or relation of the left, and the one of the right that says the same."""

    left: str
    right: str
    back: bool = False
    """Of relations: the right's is the left's inverse."""


def names(
    left: Side,
    right: Side,
    grams: Grams,
    words: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Return the likeness of the names that are most alike: n-grams, edits, and word by word."""
    found = np.full(len(rows), np.nan)
    for a, b, pair in joined(left.name_entities, right.name_entities, rows, columns):
        np.fmax.at(found, pair, (2.0 * grams.likeness(a, b) + words(a, b)) / 3.0)
    foreign = np.fromiter(
        (not (left.scripts[a] & right.scripts[b]) for a, b in zip(rows, columns, strict=True)),
        bool,
        len(rows),
    )
    found[foreign & (found < FOREIGN)] = np.nan
    return found


def against_rivals(likeness: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return how far a pair's likeness is above the best rival's of either entity.

    A half where the best rival is as alike, above it where the pair is each one's best; NaN for
    names that are not `ALIKE` at all.
    """
    held = np.nan_to_num(likeness)
    rival = np.zeros(len(held))
    for places in (rows, columns):
        order = np.lexsort((-held, places))
        first = np.ones(len(order), bool)
        first[1:] = places[order][1:] != places[order][:-1]
        group = np.cumsum(first) - 1
        best = held[order][first]
        starts = np.flatnonzero(first)
        second = np.zeros(len(starts))
        several = np.diff(np.append(starts, len(order))) > 1
        second[several] = held[order][starts[several] + 1]
        other = np.empty(len(held))
        other[order] = np.where(first, second[group], best[group])
        rival = np.maximum(rival, other)
    made: np.ndarray = np.clip(0.5 + (held - rival), 0.0, 1.0)
    made[np.isnan(likeness) | (held < ALIKE)] = np.nan
    return made


def values(left: Values, right: Values, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the likeness of the values of one predicate that are most alike."""
    found = np.full(len(rows), np.nan)
    for a, b, pair in joined(left.entities, right.entities, rows, columns):
        likeness = np.zeros(len(pair))
        x, y = left.numbers[a], right.numbers[b]
        numbers = ~np.isnan(x) & ~np.isnan(y)
        if numbers.any():
            likeness[numbers] = _numbers(x[numbers], y[numbers])
        words = ~numbers
        if words.any():
            likeness[words] = _texts(left.texts, right.texts, a[words], b[words])
        np.fmax.at(found, pair, likeness)
    return found


def _numbers(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    made: np.ndarray = (x == y).astype(float)
    positive = (x > 0) & (y > 0)
    made[positive] = np.exp(-np.abs(np.log(x[positive] / y[positive])) / _NEAR)
    return made


def _texts(left: list[str], right: list[str], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    ours, place_l = np.unique(a, return_inverse=True)
    theirs, place_r = np.unique(b, return_inverse=True)
    forms_l = [forms(left[one])[-1] for one in ours]
    forms_r = [forms(right[one])[-1] for one in theirs]
    made: np.ndarray = Grams(forms_l, forms_r).likeness(place_l, place_r)
    return made


def same_values(
    left: Side, right: Side, rows: np.ndarray, columns: np.ndarray
) -> list[Correspondence]:
    """Return the predicates that say the same: of one name, or in agreement on sure pairs."""
    found = [Correspondence(one, one) for one in sorted(left.values) if one in right.values]
    ours = [one for one in sorted(left.values) if one not in right.values]
    theirs = [one for one in sorted(right.values) if one not in left.values]
    if len(rows) < MIN_SHARED or len(ours) * len(theirs) > 400:
        return found
    shifted = np.roll(columns, 1)
    scored = []
    for one in ours:
        for other in theirs:
            here = values(left.values[one], right.values[other], rows, columns)
            if np.sum(~np.isnan(here)) < MIN_SHARED:
                continue
            agree = float(np.nanmean(here))
            # Pairs that are certainly wrong tell what would agree by chance.
            by_chance = values(left.values[one], right.values[other], rows, shifted)
            chance = float(np.nanmean(by_chance)) if np.any(~np.isnan(by_chance)) else 0.0
            if agree >= AGREE and agree - chance >= 0.3:
                scored.append((-agree, one, other))
    taken: set[str] = set()
    for _, one, other in sorted(scored):
        if one not in taken and other not in taken:
            taken |= {one, other}
            found.append(Correspondence(one, other))
    return found


def same_relations(
    left: Side, right: Side, rows: np.ndarray, columns: np.ndarray
) -> list[Correspondence]:
    """Return the relations that say the same: of one name, or between the same sure pairs."""
    found = [Correspondence(one, one) for one in sorted(left.edges) if one in right.edges]
    ours = [one for one in sorted(left.edges) if one not in right.edges]
    theirs = [one for one in sorted(right.edges) if one not in left.edges]
    to = np.full(len(left), -1)
    to[rows] = columns
    scored = []
    for one in ours:
        pairs = to[left.edges[one]]
        pairs = pairs[(pairs >= 0).all(1)]
        if len(pairs) < MIN_SHARED:
            continue
        mapped = {(int(a), int(b)) for a, b in pairs}
        for other in theirs:
            held = right.edges[other]
            for back in (False, True):
                edges = {(int(b), int(a)) if back else (int(a), int(b)) for a, b in held}
                share = len(mapped & edges) / len(mapped)
                if share >= 0.3:
                    scored.append((-share, one, other, back))
    taken: set[str] = set()
    for _, one, other, back in sorted(scored):
        if one not in taken and other not in taken:
            taken |= {one, other}
            found.append(Correspondence(one, other, back))
    return found


def neighbours(
    left: sparse.csr_matrix,
    right: sparse.csr_matrix,
    same: sparse.csr_matrix,
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Return which share of the neighbours is the same, of the one that has more of them."""
    ours = np.asarray(left.sum(1)).ravel()[rows]
    theirs = np.asarray(right.sum(1)).ravel()[columns]
    reached = (left @ same).tocsr()
    found = np.empty(len(rows))
    for start in range(0, len(rows), 100_000):
        part = slice(start, start + 100_000)
        held = reached[rows[part]].multiply(right[columns[part]]).sum(1)
        found[part] = np.asarray(held).ravel()
    found /= np.maximum(1.0, np.maximum(ours, theirs))
    found[(ours == 0) | (theirs == 0)] = np.nan
    return np.minimum(found, 1.0)
