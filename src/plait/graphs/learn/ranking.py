# SPDX-License-Identifier: Apache-2.0
"""How well held-out statements are ranked among all others: filtered, ties averaged.

For each statement (h, r, t) every entity is tried as tail, and as head; others that are known to be
true are left out of the ranks (Bordes et al. 2013). Entities of equal scores share the mean of the
best and the worst rank they could have, so that a constant score earns nothing ("realistic";
Sun et al. 2020, arXiv:1911.03903).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.graphs.learn.triples import Rows

Scores = Callable[[Rows, str], NDArray[np.float32]]
"""Of rows and `tail` or `head`: a score for every entity in that place [rows, entities]."""

HITS = (1, 3, 10)
CELLS = 8_000_000
"""Scores that are held at once."""


@dataclass(frozen=True)
class Ranks:
    """Of held-out statements, for each side: the rank and how many candidates there were."""

    rank: NDArray[np.float64]
    """[statements, 2]: of the tail, of the head; 1 is best."""
    candidates: NDArray[np.int64]
    relations: NDArray[np.int64]


@dataclass(frozen=True)
class Metrics:
    """The field's figures over both sides of some statements."""

    statements: int
    mrr: float
    """Mean of 1 / rank."""
    hits_at_1: float
    hits_at_3: float
    hits_at_10: float
    amri: float
    """Adjusted mean rank index: 1 perfect, 0 random (Berrendorf et al. 2020, arXiv:2002.06914)."""
    random_mrr: float
    """What a random order would give."""


def rank(scores: Scores, rows: Rows, known: Rows, entities: int) -> Ranks:
    """Rank statements, both ways.

    Args:
        scores: the model.
        rows: the statements to rank.
        known: all true statements, `rows` among them: filtered out.
        entities: how many there are.
    """
    made = np.empty((len(rows), 2))
    counts = np.empty((len(rows), 2), dtype=np.int64)
    step = max(1, CELLS // entities)
    for column, side in enumerate(("tail", "head")):
        target, given = (2, 0) if side == "tail" else (0, 2)
        true = _true(known, given, target)
        for start in range(0, len(rows), step):
            batch = rows[start : start + step]
            found = scores(batch, side)
            for place, row in enumerate(batch.tolist()):
                line = found[place]
                own = line[row[target]]
                others = true[row[given], row[1]]
                taken = line[others]
                better = int((line > own).sum() - (taken > own).sum())
                equal = int((line == own).sum() - (taken == own).sum())
                made[start + place, column] = 1 + better + equal / 2
                counts[start + place, column] = entities - len(others) + 1
    return Ranks(made, counts, rows[:, 1].copy())


def metrics(ranks: Ranks, which: NDArray[np.bool_] | None = None) -> Metrics:
    """Return the figures of all ranks, or of those of some statements."""
    rank, count = ranks.rank, ranks.candidates
    if which is not None:
        rank, count = rank[which], count[which]
    rank, count = rank.reshape(-1), count.reshape(-1)
    harmonic = _harmonic(int(count.max()))
    worst = float((count - 1).sum()) / 2
    return Metrics(
        statements=len(rank) // 2,
        mrr=float((1 / rank).mean()),
        hits_at_1=float((rank <= HITS[0]).mean()),
        hits_at_3=float((rank <= HITS[1]).mean()),
        hits_at_10=float((rank <= HITS[2]).mean()),
        amri=1.0 if worst == 0 else 1 - float((rank - 1).sum()) / worst,
        random_mrr=float((harmonic[count - 1] / count).mean()),
    )


def by_relation(ranks: Ranks, names: Sequence[str]) -> dict[str, Metrics]:
    """Return the figures of each predicate that has statements."""
    return {
        names[one]: metrics(ranks, ranks.relations == one)
        for one in np.unique(ranks.relations).tolist()
    }


def _true(known: Rows, given: int, target: int) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Return for each (entity, predicate) which entities are true in the other place."""
    order = np.lexsort((known[:, target], known[:, 1], known[:, given]))
    held = known[order]
    cut = np.flatnonzero(np.any(np.diff(held[:, [given, 1]], axis=0), axis=1)) + 1
    return {
        (int(part[0, given]), int(part[0, 1])): np.unique(part[:, target])
        for part in np.split(held, cut)
        if len(part)
    }


def _harmonic(most: int) -> NDArray[np.float64]:
    return np.cumsum(1 / np.arange(1, most + 1))
