# SPDX-License-Identifier: Apache-2.0
"""Names compared word by word, each word by what it tells apart.

As Soft TF-IDF (Cohen, Ravikumar and Fienberg, IIWeb 2003): every word is held against the most
alike of the other name, and counts by how rare it is. How rare is asked where it matters: among the
names that an entity could be taken for, which are those of its siblings, the others with the same
neighbour. "Province" is rare in the world and says nothing in a country where all are provinces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plait.errors import MissingExtra

MIN_SIBLINGS = 8
"""Entities that must share a neighbour before their words are counted by themselves."""
MAX_WORDS = 12
"""Words of a name that are compared."""
CHUNK = 200_000


@dataclass(frozen=True)
class Words:
    """The words of one side's names: of each name a slice, of each word its number and weight."""

    starts: np.ndarray
    """Of each name where its words begin; one more at the end."""
    words: np.ndarray
    weights: np.ndarray


class Vocabulary:
    """The words of both sides, and how alike they are."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, word: str) -> int:
        """Return a word's number."""
        found = self._numbers.setdefault(word, len(self.texts))
        if found == len(self.texts):
            self.texts.append(word)
        return found

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return of pairs of words the share of letters that need no edit, 0 below a half."""
        try:
            from rapidfuzz import fuzz, process
        except ImportError:
            raise MissingExtra("rapidfuzz", "graph") from None
        keys, back = np.unique(left * len(self.texts) + right, return_inverse=True)
        ours = [self.texts[one] for one in keys // len(self.texts)]
        theirs = [self.texts[one] for one in keys % len(self.texts)]
        ratio = process.cpdist(ours, theirs, scorer=fuzz.ratio, dtype=np.float32) / 100.0
        made: np.ndarray = np.maximum(0.0, 2.0 * ratio - 1.0)[back]
        return made


def words_of(
    names: Sequence[str],
    name_entities: np.ndarray,
    edges: Sequence[np.ndarray],
    vocabulary: Vocabulary,
) -> Words:
    """Weigh the words of names by how few entities have them, of all and of the siblings.

    Args:
        names: texts whose words are parted by spaces.
        name_entities: of each name its entity.
        edges: of each relation its pairs of entities.
    """
    counts = np.empty(len(names) + 1, np.int64)
    counts[0] = 0
    numbers: list[int] = []
    for place, name in enumerate(names):
        numbers += map(vocabulary.number, name.split(" ")[:MAX_WORDS])
        counts[place + 1] = len(numbers)
    words = np.array(numbers, np.int64)
    entities = np.repeat(name_entities, np.diff(counts))
    width = len(vocabulary.texts) + 1
    # An entity's word once, in however many of its names it is.
    keys, back = np.unique(entities * width + words, return_inverse=True)
    whose, which = keys // width, keys % width
    total = len(np.unique(whose))
    weights = np.log((total + 1) / np.bincount(which, minlength=width)[which])
    for pairs in edges:
        for child, parent in ((0, 1), (1, 0)):
            held = _among_siblings(whose, which, width, pairs[:, child], pairs[:, parent])
            weights = np.fmin(weights, held)
    return Words(counts, words, weights[back])


def _among_siblings(
    whose: np.ndarray, which: np.ndarray, width: int, child: np.ndarray, parent: np.ndarray
) -> np.ndarray:
    """Return the weights of words among the children of one parent; NaN where they are few.

    Of an entity with several parents the one that makes a word least rare counts.
    """
    made = np.full(len(whose), np.nan)
    size = int(max(parent.max(initial=0), child.max(initial=0))) + 1
    children = np.bincount(parent, minlength=size)
    kept = children[parent] >= MIN_SIBLINGS
    child, parent = child[kept], parent[kept]
    order = np.argsort(child, kind="stable")
    child, parent = child[order], parent[order]
    start = np.searchsorted(child, whose)
    many = np.searchsorted(child, whose, side="right") - start
    item = np.repeat(np.arange(len(whose)), many)
    if not len(item):
        return made
    within = np.arange(len(item)) - np.repeat(np.cumsum(many) - many, many)
    above = parent[start[item] + within]
    _, back, count = np.unique(above * width + which[item], return_inverse=True, return_counts=True)
    np.fmin.at(made, item, np.log((children[above] + 1) / count[back]))
    return made


def likeness(
    left: Words, right: Words, vocabulary: Vocabulary, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """Return how much of two names' weight is in words that the other has too, from 0 to 1.

    Args:
        a: places of left names; `b` of right ones.
    """
    found = np.empty(len(a), np.float32)
    for start in range(0, len(a), CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = _likeness(left, right, vocabulary, a[part], b[part])
    return found


def _likeness(
    left: Words, right: Words, vocabulary: Vocabulary, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    begin_l, begin_r = left.starts[a], right.starts[b]
    many_l, many_r = left.starts[a + 1] - begin_l, right.starts[b + 1] - begin_r
    cells = many_l * many_r
    pair = np.repeat(np.arange(len(a)), cells)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(cells) - cells, cells)
    across = many_r[pair]
    ours, theirs = within // across, within % across
    alike = vocabulary.alike(left.words[begin_l[pair] + ours], right.words[begin_r[pair] + theirs])
    shared, weight = np.zeros(len(a)), np.zeros(len(a))
    for side, begin, place in ((left, begin_l, ours), (right, begin_r, theirs)):
        best = np.zeros(len(a) * MAX_WORDS)
        np.maximum.at(best, pair * MAX_WORDS + place, alike)
        held = np.zeros(len(a) * MAX_WORDS)
        held[pair * MAX_WORDS + place] = side.weights[begin[pair] + place]
        shared += (best * held).reshape(-1, MAX_WORDS).sum(1)
        weight += held.reshape(-1, MAX_WORDS).sum(1)
    made: np.ndarray = shared / np.maximum(weight, 1e-9)
    return made
