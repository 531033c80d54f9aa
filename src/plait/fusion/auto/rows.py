# SPDX-License-Identifier: Apache-2.0
"""The rows of the table, and the rule that takes one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.fusion.search.choosing import Gain, gain_between, samples_of
from plait.fusion.search.folds import Floats, FoldedTask, Mask, direction

ALIKE = 1.05
"""Sizes and costs that differ by less than this factor count as the same."""


@dataclass
class Row:
    """One candidate, measured: `tables` hold the counts of each task's documents, dealt."""

    name: str
    level: str
    recipe: Mapping[str, Any]
    data: str
    tables: list[Floats]
    bytes: int
    cost: float
    """Parameters that a prediction uses, in members."""
    make_seconds: float
    measure_seconds: float = 0.0
    usable: str | None = None
    """Why it cannot be taken, if it cannot."""
    found: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0
    low: float = 0.0
    high: float = 1.0
    tasks: Mapping[str, float] = field(default_factory=dict)
    front: bool = False


@dataclass(frozen=True)
class Decision:
    """The row that is taken, and the comparisons that decided it."""

    row: Row
    steps: tuple[tuple[Row, Row, Gain], ...]
    """Each costlier row, what it was compared with, and how much better it is."""


def measure(row: Row, decks: Sequence[FoldedTask], seed: int) -> None:
    """Fill in a row's scores and interval from its tables."""
    from plait.evaluation import bootstrap

    row.tasks = {deck.task.name: task_score(row, i, deck) for i, deck in enumerate(decks)}
    row.score = float(np.mean(list(row.tasks.values())))
    samples = samples_of(decks, [table[:, None] for table in row.tables], seed)
    row.low, row.high = bootstrap.interval(
        samples, lambda scores: scores[..., 0], bounds=(0.0, 1.0)
    )


def task_score(row: Row, place: int, deck: FoldedTask, mask: Mask | None = None) -> float:
    """Return a row's score on one task, of some documents or of all."""
    from plait.evaluation.metrics import metric

    table = row.tables[place] if mask is None else row.tables[place][mask]
    return float(metric(deck.task.metric)(table.sum(axis=0)))


def choose(
    rows: Sequence[Row],
    decks: Sequence[FoldedTask],
    confidence: float,
    seed: int,
    masks: Sequence[Mask] | None = None,
) -> Decision:
    """Take the cheapest row that no costlier one beats by more than noise.

    Rows are put into classes of like cost and size. The best of the cheapest class is taken, unless
    the best of the next class is better on the same documents with the confidence wanted (paired
    bootstrap over documents), and so on to the costliest.

    Args:
        rows: at least one that can be taken.
        decks: the documents that were measured.
        confidence: one-sided.
        seed: of the bootstrap.
        masks: which documents of each task may be looked at (default: all).
    """
    masks = masks or [np.ones(len(deck), dtype=bool) for deck in decks]
    sign = direction(decks)
    errors = NormalDist().inv_cdf(confidence)
    taken: Row | None = None
    steps = []
    for group in classes([row for row in rows if row.usable is None]):
        best = max(group, key=lambda row: sign * mean_score(row, decks, masks))
        if taken is None:
            taken = best
            continue
        gain = gain_between(
            decks,
            [table[mask] for table, mask in zip(best.tables, masks, strict=True)],
            [table[mask] for table, mask in zip(taken.tables, masks, strict=True)],
            errors,
            seed,
        )
        steps.append((best, taken, gain))
        if gain.clear:
            taken = best
    assert taken is not None, "there is a row that can be taken"
    return Decision(taken, tuple(steps))


def classes(rows: Sequence[Row]) -> list[list[Row]]:
    """Put rows into classes of like cost and size, the cheapest first; order is kept within."""
    found: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: (row.cost, row.bytes)):
        first = found[-1][0] if found else None
        if first and row.cost <= first.cost * ALIKE and _alike(row.bytes, first.bytes):
            found[-1].append(row)
        else:
            found.append([row])
    order = {id(row): place for place, row in enumerate(rows)}
    return [sorted(group, key=lambda row: order[id(row)]) for group in found]


def outside(
    rows: Sequence[Row], decks: Sequence[FoldedTask], folds: int, confidence: float, seed: int
) -> tuple[float, list[str]]:
    """Return the score of the choice itself: in each fold of what is chosen without it.

    Returns:
        The score, and what was chosen without each fold.
    """
    from plait.evaluation.metrics import metric

    tables: list[Floats] = [np.zeros_like(table) for table in rows[0].tables]
    names = []
    for fold in range(folds):
        kept: list[NDArray[np.bool_]] = [deck.folds != fold for deck in decks]
        row = choose(rows, decks, confidence, seed, kept).row
        names.append(row.name)
        for place, mask in enumerate(kept):
            tables[place][~mask] = row.tables[place][~mask]
    scores = [
        float(metric(deck.task.metric)(table.sum(axis=0)))
        for deck, table in zip(decks, tables, strict=True)
    ]
    return float(np.mean(scores)), names


def mark_front(rows: Sequence[Row], sign: int = 1) -> None:
    """Mark the rows that no other beats in score without being larger or costlier."""
    for row in rows:
        row.front = not any(_beats(other, row, sign) for other in rows if other is not row)


def _beats(one: Row, other: Row, sign: int) -> bool:
    """Whether one row is at least as good in everything and better in something."""
    mine = (sign * one.score, -one.bytes, -one.cost)
    theirs = (sign * other.score, -other.bytes, -other.cost)
    return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def _alike(one: float, other: float) -> bool:
    return max(one, other) <= ALIKE * max(1.0, min(one, other))


def mean_score(row: Row, decks: Sequence[FoldedTask], masks: Sequence[Mask] | None = None) -> float:
    """Return a row's mean score over the tasks, of some documents or of all."""
    chosen: Sequence[Mask | None] = masks or [None] * len(decks)
    return float(np.mean([task_score(row, i, deck, chosen[i]) for i, deck in enumerate(decks)]))
