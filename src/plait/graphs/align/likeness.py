# SPDX-License-Identifier: Apache-2.0
"""How alike the candidates are, by kind of evidence; what does not change is computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from plait.graphs.align import evidence
from plait.graphs.align.candidates import Candidates
from plait.graphs.align.fellows import Fellows, kinds_of
from plait.graphs.align.sides import joined
from plait.graphs.align.texts import Grams
from plait.graphs.align.words import Vocabulary, likeness, words_of


class Likeness:
    """Computes the evidence on candidates.

    Args:
        vectors: of both sides' names, if an encoder made some.
    """

    def __init__(
        self,
        candidates: Candidates,
        grams: Grams,
        vectors: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        self.candidates, self.grams, self.vectors = candidates, grams, vectors
        self.left, self.right = candidates.left, candidates.right
        vocabulary = Vocabulary()
        ours, theirs = (
            words_of(one.names, one.name_entities, list(one.edges.values()), vocabulary)
            for one in (self.left, self.right)
        )
        self._by_words = partial(likeness, ours, theirs, vocabulary)
        self._cached: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._groups: dict[tuple[str, str], Fellows] = {}

    def kinds(self, rows: np.ndarray, columns: np.ndarray, same: Any) -> dict[str, np.ndarray]:
        """Return all kinds of evidence.

        Args:
            rows: the left places of sure pairs, which tell what predicates say the same; `columns`
                their right ones.
            same: how sure it is of each pair of neighbours that they are the same.
        """
        alike = self.names()
        made = {
            "name": alike,
            "name against rivals": evidence.against_rivals(
                alike, self.candidates.rows, self.candidates.columns
            ),
        }
        if self.vectors is not None:
            made["meaning"] = self._meaning(self.vectors)
        compared = evidence.same_values(self.left, self.right, rows, columns)
        made |= self.values(compared)
        made |= self._fellows(compared, same)
        for name, (ours, theirs) in self.relations(rows, columns):
            made[name] = evidence.neighbours(
                ours, theirs, same, self.candidates.rows, self.candidates.columns
            )
        return made

    def names(self) -> np.ndarray:
        """Return the likeness of names."""
        return self._once(
            "name",
            lambda rows, columns: evidence.names(
                self.left, self.right, self.grams, self._by_words, rows, columns
            ),
        )

    def values(self, pairs: Sequence[evidence.Correspondence]) -> dict[str, np.ndarray]:
        """Return the likeness of the values of predicates that say the same."""
        made = {}
        for one in pairs:
            name = one.left if one.left == one.right else f"{one.left} ~ {one.right}"

            def of(
                rows: np.ndarray, columns: np.ndarray, one: evidence.Correspondence = one
            ) -> np.ndarray:
                return evidence.values(
                    self.left.values[one.left], self.right.values[one.right], rows, columns
                )

            made[name] = self._once(f"value {name}", of)
        return made

    def shared_values(self) -> dict[str, np.ndarray]:
        """Return the likeness of the values of predicates of one name."""
        shared = sorted(set(self.left.values) & set(self.right.values))
        return self.values([evidence.Correspondence(one, one) for one in shared])

    def relations(self, rows: np.ndarray, columns: np.ndarray) -> list[tuple[str, tuple[Any, Any]]]:
        """Return the relations that say the same, as adjacencies; each also the other way round."""
        made = []
        for one in evidence.same_relations(self.left, self.right, rows, columns):
            name = one.left if one.left == one.right else f"{one.left} ~ {one.right}"
            if _symmetric(self.left.edges[one.left]) or _symmetric(self.right.edges[one.right]):
                both = (
                    self.left.adjacency(one.left, both=True),
                    self.right.adjacency(one.right, both=True),
                )
                made.append((name, both))
                continue
            for back, arrow in ((False, "→"), (True, "←")):
                ours = self.left.adjacency(one.left, back=back)
                theirs = self.right.adjacency(one.right, back=back != one.back)
                made.append((f"{name} {arrow}", (ours, theirs)))
        return made

    def _fellows(
        self, compared: Sequence[evidence.Correspondence], same: Any
    ) -> dict[str, np.ndarray]:
        """Return how many fellows of an entity are found, by values that nothing compares with."""
        made = {}
        for one, places, matched, taken in (
            (self.left, self.candidates.rows, same.sum(1), {held.left for held in compared}),
            (self.right, self.candidates.columns, same.sum(0), {held.right for held in compared}),
        ):
            for name in kinds_of(one):
                if name in taken:
                    continue
                key = ("left" if one is self.left else "right", name)
                if key not in self._groups:
                    self._groups[key] = Fellows(one, name)
                share = self._groups[key].found(np.minimum(1.0, np.asarray(matched).ravel()))
                made[f"fellows by {name}"] = share[places]
        return made

    def _meaning(self, vectors: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        def of(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
            best = np.full(len(rows), np.nan)
            for a, b, pair in joined(
                self.left.name_entities, self.right.name_entities, rows, columns
            ):
                np.fmax.at(best, pair, np.einsum("ij,ij->i", vectors[0][a], vectors[1][b]))
            clipped: np.ndarray = np.clip(best, 0.0, 1.0)
            return clipped

        return self._once("meaning", of)

    def _once(self, kind: str, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Compute what does not change between rounds for new candidates alone."""
        now = self.candidates
        if kind not in self._cached:
            made = of(now.rows, now.columns)
        else:
            keys, held = self._cached[kind]
            if len(keys) == len(now):
                return held
            made = np.empty(len(now))
            old = np.isin(now.keys, keys, assume_unique=True)
            made[old] = held
            made[~old] = of(now.rows[~old], now.columns[~old])
        self._cached[kind] = now.keys, made
        return made


def _symmetric(pairs: np.ndarray) -> bool:
    """Tell whether a relation's pairs are there both ways, nearly all of them."""
    forward = {(int(a), int(b)) for a, b in pairs}
    return sum((b, a) in forward for a, b in forward) >= 0.9 * len(forward)
