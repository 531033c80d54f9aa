# SPDX-License-Identifier: Apache-2.0
"""The score of `α · one + (1 - α) · other` for every α from 0 to 1, exactly.

Each class's value is a line in α, so that an item's predicted class changes at a few places only,
the corners of its lines' upper envelope; between any two such places of all items the score, which
depends on predicted classes alone, is constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from plait.evaluation.metrics import metric
from plait.fusion.outputs.items import Floats, Integers, Outputs

_CHUNK = 2_000_000
_SAME = 1e-12


@dataclass(frozen=True)
class StepFunction:
    """A step function on [0, 1]: `scores[i]` between `edges[i]` and `edges[i + 1]`."""

    edges: Floats
    scores: Floats

    def at(self, places: Floats) -> Floats:
        """Return the scores at some places; at an edge, that of the step after it."""
        index = np.searchsorted(self.edges, places, side="right") - 1
        found: Floats = self.scores[np.clip(index, 0, len(self.scores) - 1)]
        return found

    def best(self, near: float) -> float:
        """Return the place of the best step that is nearest to a near, away from the step's ends.

        An edge is where an item changes sides: a place just beside it would hang on that item.
        """
        tops = np.flatnonzero(self.scores >= self.scores.max() - _SAME)
        low, high = self.edges[tops], self.edges[tops + 1]
        inset = (high - low) / 4
        low = np.where(low > 0, low + inset, low)
        high = np.where(high < 1, high - inset, high)
        inside = np.clip(near, low, high)
        return float(inside[np.abs(inside - near).argmin()])


def steps(one: Floats, other: Floats, outputs: Outputs) -> StepFunction:
    """Return the tasks' mean score of `α · one + (1 - α) · other`, each [n, classes], over α."""
    start, places, items, classes = corners(one, other)
    order = np.argsort(places, kind="stable")
    places, items, classes = places[order], items[order], classes[order]
    before = _before(start, items, classes)
    edges, first = np.unique(places, return_index=True)
    bounds = np.append(first, len(places))
    tasks = np.unique(outputs.tasks)
    total = np.zeros(len(edges) + 1)
    for task in tasks:
        here = outputs.tasks == task
        scorer = metric(outputs.metrics[task])
        table = np.zeros((3, outputs.classes))
        labels = outputs.labels
        table[0] = np.bincount(labels[here], minlength=outputs.classes)
        table[1] = np.bincount(start[here], minlength=outputs.classes)
        right = here & (start == labels)
        table[2] = np.bincount(labels[right], minlength=outputs.classes)
        total[0] += float(scorer(table))
        for low, high in _chunks(bounds, outputs.classes):
            chosen = slice(bounds[low], bounds[high])
            mine = here[items[chosen]]
            at = np.repeat(np.arange(high - low), np.diff(bounds[low : high + 1]))[mine]
            item, new, old = (v[chosen][mine] for v in (items, classes, before))
            change = np.zeros((high - low, 3, outputs.classes))
            np.add.at(change, (at, 1, new), 1)
            np.add.at(change, (at, 1, old), -1)
            label = labels[item]
            np.add.at(change, (at, 2, label), (new == label).astype(float) - (old == label))
            tables = table + change.cumsum(axis=0)
            total[low + 1 : high + 1] += scorer(tables)
            table = tables[-1]
    return StepFunction(np.concatenate([[0.0], edges, [1.0]]), total / len(tasks))


def corners(one: Floats, other: Floats) -> tuple[Integers, Floats, Integers, Integers]:
    """Return where items change their class as α goes from 0 to 1.

    Returns:
        The classes just after 0 [n], and for every change its place, item and new class; an item's
        changes are in order.
    """
    slope = one - other
    rows = np.arange(len(one))
    tied = other >= other.max(axis=1, keepdims=True)
    start = np.where(tied, slope, -np.inf).argmax(axis=1)
    current = start.copy()
    found: list[tuple[Floats, Integers, Integers]] = []
    left = rows
    for _ in range(one.shape[1]):
        mine = current[left]
        rise = slope[left] - slope[left, mine][:, None]
        gap = other[left, mine][:, None] - other[left]
        with np.errstate(divide="ignore", invalid="ignore"):
            cross = np.where(rise > 0, gap / rise, np.inf)
        nearest = cross.min(axis=1)
        going = nearest < 1
        left, cross, rise, nearest = left[going], cross[going], rise[going], nearest[going]
        if not len(left):
            break
        new = np.where(cross <= nearest[:, None], rise, -np.inf).argmax(axis=1)
        found.append((np.clip(nearest, 0.0, 1.0), left, new))
        current[left] = new
    if not found:
        none = np.zeros(0, dtype=np.int64)
        return start, np.zeros(0), none, none
    places, items, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return start, places, items, classes


def _before(start: Integers, items: Integers, classes: Integers) -> Integers:
    """Return the class that each change leaves, changes being in order of place."""
    order = np.argsort(items, kind="stable")
    sorted_items, sorted_classes = items[order], classes[order]
    before = np.empty_like(classes)
    shifted = np.append(start[:0], sorted_classes[:-1])
    first = np.ones(len(items), dtype=bool)
    first[1:] = sorted_items[1:] != sorted_items[:-1]
    if len(items):
        shifted = np.concatenate([[0], sorted_classes[:-1]])
        before[order] = np.where(first, start[sorted_items], shifted)
    return before


def _chunks(bounds: Integers, classes: int) -> Iterator[tuple[int, int]]:
    size = max(1, _CHUNK // (3 * classes))
    for low in range(0, len(bounds) - 1, size):
        yield low, min(low + size, len(bounds) - 1)
