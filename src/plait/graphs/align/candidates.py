# SPDX-License-Identifier: Apache-2.0
"""The pairs that are looked at, and what people decided about some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse

from plait.errors import BadInput
from plait.graphs.align.options import Options
from plait.graphs.align.sides import Side


class Candidates:
    """Pairs of places as one number each: left · right's size + right; sorted, none twice.

    Entities whose types are known and disjoint are never paired, if the graphs share types.
    """

    def __init__(self, left: Side, right: Side) -> None:
        self.left, self.right = left, right
        self.keys = np.empty(0, np.int64)
        self._width = max(1, len(right))
        self._typed = bool(
            frozenset().union(*left.types) & frozenset().union(*right.types)
            if left.types and right.types
            else frozenset()
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def rows(self) -> np.ndarray:
        """The left places of the candidates."""
        held: np.ndarray = self.keys // self._width
        return held

    @property
    def columns(self) -> np.ndarray:
        """The right places of the candidates."""
        held: np.ndarray = self.keys % self._width
        return held

    def key(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return pairs as numbers."""
        made: np.ndarray = rows.astype(np.int64) * self._width + columns
        return made

    def add(self, keys: np.ndarray) -> None:
        """Add pairs but those whose types exclude each other."""
        fresh = np.unique(np.concatenate([self.keys, keys]))
        if self._typed:
            good = np.fromiter(
                (self._fits(int(key) // self._width, int(key) % self._width) for key in fresh),
                bool,
                len(fresh),
            )
            fresh = fresh[good]
        self.keys = fresh

    def matrix(self, values: np.ndarray) -> Any:
        """Return a value for each pair as a sparse matrix [left, right]."""
        return sparse.csr_matrix(
            (values, (self.rows, self.columns)), shape=(len(self.left), len(self.right))
        )

    def _fits(self, row: int, column: int) -> bool:
        ours, theirs = self.left.types[row], self.right.types[column]
        return not ours or not theirs or not ours.isdisjoint(theirs)


class Decided:
    """The pairs that people decided, by their numbers among the candidates.

    Raises:
        BadInput: a pair names an entity that is in neither graph.
    """

    def __init__(self, options: Options, candidates: Candidates) -> None:
        left, right = candidates.left, candidates.right
        ours = {name: place for place, name in enumerate(left.ids)}
        theirs = {name: place for place, name in enumerate(right.ids)}
        made: dict[int, bool] = {}
        for pairs, good in ((options.rejected, False), (options.confirmed, True)):
            for a, b in pairs:
                if a not in ours or b not in theirs:
                    missing = a if a not in ours else b
                    raise BadInput(f"A decided pair names '{missing}', which is not in its graph.")
                made[ours[a] * max(1, len(right)) + theirs[b]] = good
        self._answers: Mapping[int, bool] = made
        self._candidates = candidates

    @property
    def keys(self) -> np.ndarray:
        """The decided pairs, sorted."""
        return np.array(sorted(self._answers), np.int64)

    def fixed(self, probability: np.ndarray) -> np.ndarray:
        """Let decided pairs have their decision; in place."""
        if self._answers:
            places, answers = self._places()
            probability[places] = np.where(answers, 1.0, 0.0)
        return probability

    def odds(self, total: np.ndarray) -> np.ndarray:
        """Return odds (logarithms) in which decided pairs are certain."""
        if not self._answers:
            return total
        held = total.copy()
        places, answers = self._places()
        held[places] = np.where(answers, 30.0, -30.0)
        return held

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        keys = self.keys
        keys = keys[np.isin(keys, self._candidates.keys)]
        answers = np.array([self._answers[int(key)] for key in keys], bool)
        return np.searchsorted(self._candidates.keys, keys), answers
