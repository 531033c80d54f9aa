# SPDX-License-Identifier: Apache-2.0
"""Whether an entity's own kind is in the other graph at all, told by its fellows.

Where one graph says of what kind its entities are and the other does not, two of one name cannot be
told apart by themselves: a division and a district of one country that are called alike. But if the
other graph has all of the country's divisions and few of its districts, it is a list of divisions.
"""

from __future__ import annotations

import numpy as np

from plait.graphs.align.sides import Side
from plait.graphs.align.words import MIN_SIBLINGS

PER_VALUE = 3.0
"""Entities that share a value, on average, from which a predicate's values are kinds."""
MIN_FELLOWS = 2
"""Others of an entity's kind without whom nothing can be told."""


def kinds_of(side: Side) -> list[str]:
    """Return the predicates whose values are kinds: words that many entities share."""
    return [
        name
        for name, held in sorted(side.values.items())
        if np.isnan(held.numbers).all()
        and len(held.texts) >= PER_VALUE * max(1, len(set(held.texts)))
    ]


class Fellows:
    """The entities of one side that share a value and, where there are enough, a neighbour.

    Args:
        side: the graph.
        predicate: one of `kinds_of`.
    """

    def __init__(self, side: Side, predicate: str) -> None:
        held = side.values[predicate]
        number = {text: place for place, text in enumerate(sorted(set(held.texts)))}
        value = np.array([number[text] for text in held.texts], np.int64)
        width = len(number)
        below = np.zeros(len(side), bool)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        for place, (child, parent) in enumerate(_families(side), start=1):
            below[child] = True
            order = np.argsort(child, kind="stable")
            child, parent = child[order], parent[order]
            start = np.searchsorted(child, held.entities)
            many = np.searchsorted(child, held.entities, side="right") - start
            item = np.repeat(np.arange(len(value)), many)
            within = np.arange(len(item)) - np.repeat(np.cumsum(many) - many, many)
            above = parent[start[item] + within] + place * len(side)
            parts.append((held.entities[item], (above + 1) * width + value[item]))
        alone = ~below[held.entities]  # of those without siblings the value alone tells
        members = [held.entities[alone], *(one for one, _ in parts)]
        keys = [value[alone], *(one for _, one in parts)]
        self._members = np.concatenate(members)
        _, self._groups = np.unique(np.concatenate(keys), return_inverse=True)
        self._size = len(side)

    def found(self, matched: np.ndarray) -> np.ndarray:
        """Return of each entity which share of its fellows, itself aside, the other graph has.

        NaN where it has fewer than `MIN_FELLOWS`; of several groups the mean.

        Args:
            matched: how sure it is of each entity that it is one of the other graph's.
        """
        count = np.bincount(self._groups)[self._groups] - 1
        total = np.bincount(self._groups, matched[self._members])[self._groups]
        share = (total - matched[self._members]) / np.maximum(1, count)
        told = count >= MIN_FELLOWS
        who = self._members[told]
        seen = np.bincount(who, minlength=self._size)
        made = np.bincount(who, share[told], minlength=self._size) / np.maximum(1, seen)
        made[seen == 0] = np.nan
        return np.clip(made, 0.0, 1.0)


def _families(side: Side) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return children and parents: neighbours of one entity that has `MIN_SIBLINGS` of them."""
    made = []
    for pairs in side.edges.values():
        for child, parent in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
            kept = np.bincount(parent)[parent] >= MIN_SIBLINGS
            if kept.any():
                made.append((child[kept], parent[kept]))
    return made
