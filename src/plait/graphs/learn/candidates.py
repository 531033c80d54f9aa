# SPDX-License-Identifier: Apache-2.0
"""Answers to (subject, predicate, ?) that could be proposed, and what scores say of each.

A statement is a candidate if its entities fit the predicate's places, if it is not known, not even
the other way round (symmetric and inverse predicates), and if a functional predicate has no value
yet. Validation and test ask exactly as a prediction does, so that what is measured there is what is
proposed later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.errors import Cancelled
from plait.evaluation.metrics import Floats
from plait.graphs.learn.places import Places
from plait.graphs.learn.ranking import CELLS, Scores
from plait.graphs.learn.triples import Rows
from plait.recipes.graph import GraphFile

Progress = Callable[[int, int, str], None]
"""Called with the questions asked, the questions in all and what is done."""

FEATURES = ("score", "share", "rank")
"""Of a candidate: the model's score, the logarithm of its share of a softmax over all entities, and
that of its rank among the question's candidates."""


@dataclass(frozen=True)
class Known:
    """What is known beforehand: no candidate says it again."""

    objects: Mapping[tuple[int, int], frozenset[int]]
    """Of a subject and predicate."""
    functional: frozenset[int]
    loops: frozenset[int]
    """Predicates that an entity may have with itself."""

    def filled(self, subject: int, predicate: int) -> bool:
        """Tell whether a functional predicate has its value."""
        return predicate in self.functional and bool(self.objects.get((subject, predicate)))


@dataclass(frozen=True)
class Candidates:
    """Candidate statements and what is known of each."""

    rows: Rows
    features: Floats
    """[candidates, 3]: see `FEATURES`."""
    rank: NDArray[np.int64]
    of: NDArray[np.int64]
    """How many candidates the question had."""
    weight: Floats
    """How many candidates it stands for."""
    true: NDArray[np.bool_]


def known(rows: Rows, relations: tuple[str, ...], file: GraphFile) -> Known:
    """Return what statements say, also the other way round where ``graph.yaml`` tells so."""
    number = {name: place for place, name in enumerate(relations)}
    held: dict[tuple[int, int], set[int]] = defaultdict(set)
    back: dict[int, set[int]] = defaultdict(set)
    for name, one in file.predicates.items():
        if name in number and one.symmetric:
            back[number[name]].add(number[name])
        if name in number and one.inverse in number:
            back[number[name]].add(number[one.inverse])
            back[number[one.inverse]].add(number[name])
    loops = set()
    for subject, predicate, target in rows.tolist():
        held[subject, predicate].add(target)
        if subject == target:
            loops.add(predicate)
        for other in back.get(predicate, ()):
            held[target, other].add(subject)
    return Known(
        {pair: frozenset(said) for pair, said in held.items()},
        frozenset(
            number[name]
            for name, one in file.predicates.items()
            if one.functional and name in number
        ),
        frozenset(loops),
    )


def questions(where: Places, before: Known, relations: Collection[int]) -> Rows:
    """Return every subject and predicate [questions, 2] that may be asked for objects."""
    made = [
        (subject, predicate)
        for predicate in sorted(relations)
        for subject in where.subjects[predicate].tolist()
        if not before.filled(subject, predicate)
    ]
    return np.array(made, dtype=np.int64).reshape(-1, 2)


def ask(
    scores: Scores,
    asked: Rows,
    where: Places,
    before: Known,
    *,
    best: int,
    others: int = 0,
    truth: Mapping[tuple[int, int], frozenset[int]] | None = None,
    weights: Floats | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stage: str = "asking",
    cancelled: Callable[[], bool] | None = None,
) -> Candidates:
    """Return the best candidates of each question, and a sample of its others.

    Args:
        asked: subjects and predicates [questions, 2].
        best: candidates of highest score that are kept of each question.
        others: candidates that are drawn from the rest and stand for it.
        truth: true objects by subject and predicate; these are kept whatever their score.
        weights: how many questions each stands for.

    Raises:
        Cancelled: if `cancelled` says so.
    """
    random = np.random.default_rng(seed)
    parts: list[tuple[Rows, Floats, NDArray[np.int64], int, Floats, NDArray[np.bool_]]] = []
    size = max((int(one.max(initial=0)) for one in where.objects), default=0) + 1
    step = max(1, CELLS // max(1, size) // 4)
    for start in range(0, len(asked), step):
        batch = asked[start : start + step]
        if cancelled is not None and cancelled():
            raise Cancelled("The prediction was cancelled; nothing was written.")
        found = scores(np.pad(batch, ((0, 0), (0, 1))), "tail")
        peak = found.max(axis=1, keepdims=True)
        total = peak[:, 0] + np.log(np.exp(found - peak).sum(axis=1))
        for place, (subject, predicate) in enumerate(batch.tolist()):
            said = before.objects.get((subject, predicate), frozenset())
            if predicate not in before.loops:
                said = said | {subject}
            pool = where.objects[predicate]
            pool = pool[~np.isin(pool, list(said))]
            if not len(pool):
                continue
            line = found[place, pool]
            order = np.argsort(-line, kind="stable")
            rank = np.empty(len(pool), dtype=np.int64)
            rank[order] = np.arange(1, len(pool) + 1)
            right = np.isin(pool, list((truth or {}).get((subject, predicate), ())))
            kept = (rank <= best) | right
            weight = np.ones(len(pool))
            rest = np.flatnonzero(~kept)
            if others and len(rest):
                drawn = random.choice(rest, min(others, len(rest)), replace=False)
                weight[drawn] = len(rest) / len(drawn)
                kept[drawn] = True
            chosen = pool[kept]
            rows = np.empty((len(chosen), 3), dtype=np.int64)
            rows[:, 0], rows[:, 1], rows[:, 2] = subject, predicate, chosen
            features = np.stack(
                [line[kept], line[kept] - total[place], np.log(rank[kept])], axis=1
            ).astype(np.float64)
            own = 1.0 if weights is None else float(weights[start + place])
            parts.append((rows, features, rank[kept], len(pool), weight[kept] * own, right[kept]))
        if progress is not None:
            progress(min(start + step, len(asked)), len(asked), stage)
    if not parts:
        none = np.zeros(0)
        return Candidates(
            np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3)), none.astype(np.int64),
            none.astype(np.int64), none, none.astype(bool),
        )  # fmt: skip
    return Candidates(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([np.full(len(part[0]), part[3]) for part in parts]),
        np.concatenate([part[4] for part in parts]),
        np.concatenate([part[5] for part in parts]),
    )


def truth_of(rows: Rows) -> dict[tuple[int, int], frozenset[int]]:
    """Return the objects of statements by subject and predicate."""
    held: dict[tuple[int, int], set[int]] = defaultdict(set)
    for subject, predicate, target in rows.tolist():
        held[subject, predicate].add(target)
    return {pair: frozenset(said) for pair, said in held.items()}
