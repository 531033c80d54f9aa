# SPDX-License-Identifier: Apache-2.0
"""What was found: pairs with their probabilities, matches, and questions worth asking."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plait.graphs import schema
from plait.graphs.align.options import Options
from plait.graphs.align.sides import Side
from plait.graphs.identity import claim


@dataclass(frozen=True)
class Match:
    """A pair and why: weights in bits, for it above zero and against it below."""

    left: str
    right: str
    probability: float
    bits: float
    """All evidence and the prior together."""
    because: tuple[tuple[str, float | None, float], ...]
    """Kind of evidence, likeness from 0 to 1 (None: nothing to compare), weight in bits."""


@dataclass(frozen=True)
class Question:
    """A pair that is worth asking a person about."""

    match: Match
    worth: float


@dataclass
class Alignment:
    """What was found. Pairs are parallel arrays: `rows`, `columns`, `probability`, …."""

    left: Side
    right: Side
    rows: np.ndarray
    columns: np.ndarray
    probability: np.ndarray
    logarithm: np.ndarray
    """Of the probability, base 2."""
    bits: np.ndarray
    kinds: tuple[str, ...]
    likeness: np.ndarray
    """[pairs, kinds]."""
    weights: np.ndarray
    """[pairs, kinds], in bits."""
    options: Options
    _threshold: float | None = field(default=None)

    @property
    def threshold(self) -> float:
        """The probability from which matches are taken: where their expected F1 is highest.

        Decided pairs take part through the probabilities, which they correct. A threshold where F1
        on the decided pairs is highest would be too high: people are asked what is in doubt.
        """
        if self._threshold is None:
            self._threshold = self._expected()
        return self._threshold

    def matches(self, threshold: float | None = None) -> list[Match]:
        """Return the pairs from a probability on (default: `threshold`), surest first."""
        least = self.threshold if threshold is None else threshold
        order = np.lexsort((self.columns, self.rows, -self.probability))
        taken_l: set[int] = set()
        taken_r: set[int] = set()
        found = []
        for place in order:
            if self.probability[place] < least:
                break
            row, column = int(self.rows[place]), int(self.columns[place])
            if self.options.one_to_one and (row in taken_l or column in taken_r):
                continue
            taken_l.add(row)
            taken_r.add(column)
            found.append(self.match(int(place)))
        return found

    def match(self, place: int) -> Match:
        """Return one pair with what speaks for and against it."""
        because = sorted(
            (
                (
                    kind,
                    None if np.isnan(self.likeness[place, k]) else float(self.likeness[place, k]),
                    float(self.weights[place, k]),
                )
                for k, kind in enumerate(self.kinds)
            ),
            key=lambda one: -abs(one[2]),
        )
        return Match(
            self.left.ids[int(self.rows[place])],
            self.right.ids[int(self.columns[place])],
            float(self.probability[place]),
            float(self.bits[place]),
            tuple(because),
        )

    def ranked(self) -> dict[str, list[tuple[str, float]]]:
        """Return each left entity's candidates with the logarithm of their probability.

        Who is the same as another entity for sure is a worse candidate than its name says.
        """
        held: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for row, column, value in zip(self.rows, self.columns, self.logarithm, strict=True):
            held[self.left.ids[row]].append((self.right.ids[column], float(value)))
        return held

    def questions(self, most: int = 20) -> list[Question]:
        """Return the pairs whose answer would help most: in doubt, and with many neighbours.

        One of each entity; those that were decided are not asked again.
        """
        decided = self.options.confirmed | self.options.rejected
        p = np.clip(self.probability, 1e-9, 1 - 1e-9)
        doubt = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        degree = np.zeros(len(self.left))
        for pairs in self.left.edges.values():
            np.add.at(degree, pairs.ravel(), 1)
        worth = doubt * (1.0 + np.log1p(degree[self.rows]))
        found: list[Question] = []
        seen: set[int] = set()
        for place in np.lexsort((self.columns, self.rows, -worth)):
            row = int(self.rows[place])
            pair = (self.left.ids[row], self.right.ids[int(self.columns[place])])
            if row in seen or pair in decided:
                continue
            if worth[place] <= 0 or len(found) == most:
                break
            seen.add(row)
            found.append(Question(self.match(int(place)), float(worth[place])))
        return found

    def claims(self, source: str = "align", threshold: float | None = None) -> list[dict[str, Any]]:
        """Return identity claims for the matches, each with its explanation."""
        return [
            claim(
                one.left,
                one.right,
                schema.SAME,
                source=source,
                method="plait.graphs.align",
                score=round(one.probability, 6),
                explanation=json.dumps(
                    {kind: [likeness, round(bits, 2)] for kind, likeness, bits in one.because}
                ),
            )
            for one in self.matches(threshold)
            if one.left != one.right
        ]

    def _expected(self) -> float:
        """Return where the F1 that the probabilities themselves expect is highest."""
        best = np.sort([one.probability for one in self.matches(0.0)])[::-1]
        if not len(best):
            return 0.5
        right = np.cumsum(best)
        f1 = 2 * right / (np.arange(1, len(best) + 1) + right[-1])
        return float(min(0.5, best[int(np.argmax(f1))]))
