# SPDX-License-Identifier: Apache-2.0
"""Finding pairs: candidates, then rounds of weighing evidence and letting neighbours speak."""

from __future__ import annotations

import numpy as np

from plait.graphs.align import blocking, weights
from plait.graphs.align.alignment import Alignment
from plait.graphs.align.answers import with_answers
from plait.graphs.align.candidates import Candidates, Decided
from plait.graphs.align.likeness import Likeness
from plait.graphs.align.options import Options, Progress
from plait.graphs.align.sides import Side, side
from plait.graphs.align.texts import Grams
from plait.graphs.graph import Graph
from plait.graphs.identity import resolve

SURE = 0.9
"""Pairs above this teach which predicates say the same."""
NEAREST_PAIRS = 25_000_000
"""Pairs of names up to which an encoder also proposes candidates."""


def align(
    left: Graph,
    right: Graph,
    options: Options | None = None,
    progress: Progress = lambda fraction, stage: None,
) -> Alignment:
    """Find which entities of two graphs are the same.

    What people decided in either graph (claims whose source is a person) is taken for certain.

    Raises:
        BadInput: a decided pair names an entity that is in neither graph.
        MissingExtra: scikit-learn, SciPy or anyascii is not installed.
    """
    options = options or Options()
    progress(0.0, "reading names")
    ours, theirs = resolve(left), resolve(right)
    options = with_answers(options, (left, ours), (right, theirs))
    return _Aligner(side(left, ours), side(right, theirs), options, progress).run()


class _Aligner:
    def __init__(self, left: Side, right: Side, options: Options, progress: Progress) -> None:
        self.left, self.right = left, right
        self.options, self.progress = options, progress
        self.grams = Grams(left.names, right.names)
        self.vectors = (
            (options.encoder(left.names), options.encoder(right.names))
            if options.encoder is not None and left.names and right.names
            else None
        )
        self.candidates = Candidates(left, right)
        self.decided = Decided(options, self.candidates)
        self.likeness = Likeness(self.candidates, self.grams, self.vectors)
        self.same = self.candidates.matrix(np.zeros(0))

    def run(self) -> Alignment:
        """Align."""
        self._propose()
        probability = self._begin(self.likeness.names())
        kinds: dict[str, np.ndarray] = {}
        total = logarithm = np.zeros(0)
        learned: dict[str, weights.Weight] = {}
        for number in range(self.options.rounds):
            self.progress(0.2 + 0.8 * number / self.options.rounds, f"round {number + 1}")
            probability = self._grow(probability)
            rows, columns = self.candidates.rows, self.candidates.columns
            sure = probability > SURE
            kinds = self.likeness.kinds(rows[sure], columns[sure], self.same)
            for _ in range(3):
                learned = {kind: weights.learn(one, probability) for kind, one in kinds.items()}
                total = np.full(
                    len(rows), weights.prior(len(rows), len(self.left), len(self.right))
                )
                for kind, one in kinds.items():
                    total += learned[kind].of(one)
                probability, logarithm = weights.assign(
                    rows,
                    columns,
                    self.decided.odds(total),
                    len(self.left),
                    len(self.right),
                    one_to_one=self.options.one_to_one,
                )
                self.decided.fixed(probability)
            self.same = self.candidates.matrix(probability)
        bits = np.log2(np.e)
        return Alignment(
            self.left,
            self.right,
            self.candidates.rows,
            self.candidates.columns,
            probability,
            logarithm,
            total * bits,
            tuple(kinds),
            np.stack(list(kinds.values()), 1) if kinds else np.zeros((len(total), 0)),
            np.stack([learned[kind].of(one) * bits for kind, one in kinds.items()], 1)
            if kinds
            else np.zeros((len(total), 0)),
            self.options,
        )

    def _propose(self) -> None:
        most = self.options.candidates
        key = self.candidates.key
        of_left, of_right = self.left.name_entities, self.right.name_entities
        a, b = blocking.by_grams(self.grams.left, self.grams.right, most)
        found = [key(of_left[a], of_right[b])]
        texts = [
            [
                (form, int(entity))
                for held in one.values.values()
                for entity, form in zip(held.entities, held.texts, strict=True)
            ]
            for one in (self.left, self.right)
        ]
        found.append(key(*blocking.by_values(*texts)))
        if self.vectors is not None:
            ours, theirs = self.vectors
            if len(ours) * len(theirs) <= NEAREST_PAIRS:
                for x, y, turn in ((ours, theirs, False), (theirs, ours, True)):
                    near = np.argsort(-(x @ y.T), axis=1)[:, :most]
                    a, b = np.repeat(np.arange(len(x)), near.shape[1]), near.ravel()
                    a, b = (b, a) if turn else (a, b)
                    found.append(key(of_left[a], of_right[b]))
        found.append(self.decided.keys)
        self.candidates.add(np.concatenate(found))
        self.progress(0.2, f"{len(self.candidates):,} candidates")

    def _begin(self, likeness: np.ndarray) -> np.ndarray:
        """Return first probabilities: names that are each other's best by far are likely one."""
        rows, columns = self.candidates.rows, self.candidates.columns
        held = np.nan_to_num(likeness)
        best_l, second_l = _two_best(rows, held, len(self.left))
        best_r, second_r = _two_best(columns, held, len(self.right))
        best = (held >= best_l[rows]) & (held >= best_r[columns])
        alone = held - np.maximum(second_l[rows], second_r[columns]) > 0.1
        made = 0.01 * held
        made[best & (held > 0.5)] = 0.3
        made[best & alone & (held > 0.6)] = 0.95
        if not (made > SURE).any():
            # Names tell nothing here; rare values that both have alone must begin.
            values = self.likeness.shared_values()
            if values:
                exact = np.sum([np.nan_to_num(one) >= 1.0 for one in values.values()], axis=0)
                best_l, second_l = _two_best(rows, exact.astype(float), len(self.left))
                made[(exact >= best_l[rows]) & (exact > second_l[rows]) & (exact > 0)] = 0.95
        made = self.decided.fixed(np.clip(made, 1e-4, 0.99))
        self.same = self.candidates.matrix(made)
        return made

    def _grow(self, probability: np.ndarray) -> np.ndarray:
        """Add candidates whose neighbours are the same; return probabilities for all of them."""
        sure = probability > SURE
        relations = [
            pair
            for _, pair in self.likeness.relations(
                self.candidates.rows[sure], self.candidates.columns[sure]
            )
        ]
        likely = self.same.copy()
        likely.data[likely.data < 0.3] = 0
        likely.eliminate_zeros()
        a, b = blocking.by_neighbours(relations, likely, 4 * self.options.candidates)
        old = self.candidates.keys
        self.candidates.add(self.candidates.key(a, b))
        if len(self.candidates) == len(old):
            return probability
        made = np.full(len(self.candidates), 1e-3)
        made[np.searchsorted(self.candidates.keys, old)] = probability
        return made


def _two_best(places: np.ndarray, values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best and the second best value of each place."""
    best, second = np.zeros(size), np.zeros(size)
    order = np.lexsort((-values, places))
    held = places[order]
    first = np.ones(len(held), bool)
    first[1:] = held[1:] != held[:-1]
    best[held[first]] = values[order][first]
    after = np.zeros(len(held), bool)
    after[1:] = first[:-1] & ~first[1:]
    second[held[after]] = values[order][after]
    return best, second
