# SPDX-License-Identifier: Apache-2.0
"""What the items of one task say about one or several models, ready to be drawn again.

A measure gives scores [..., models] for numbers of times that each group of items is taken
[..., groups]. Most metrics need only sums over the groups; ranks change with what was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from plait.evaluation.metrics.counts import Floats, Integers, ratio
from plait.evaluation.metrics.sums import pearson

MAX_CELLS = 4_000_000
MAX_DRAWN = 400_000_000
LEAST = 1_000
"""Resamples that are always drawn, however many groups there are."""


class Measure(Protocol):
    """One task's items, scored by one metric for one or several models."""

    @property
    def resolution(self) -> float:
        """The difference in score that one item makes."""

    @property
    def groups(self) -> int:
        """How many groups the items are in."""

    def estimate(self) -> Floats:
        """Return the scores on the items as they are, [models]."""

    def draw(self, random: np.random.Generator, resamples: int) -> Floats:
        """Return the scores on groups drawn with replacement, [resamples, models]."""

    def weigh(self, random: np.random.Generator, resamples: int) -> Floats:
        """Return the scores on groups of random weights, [resamples, models].

        The weights are Dirichlet(1, …, 1): Rubin's Bayesian bootstrap ("The Bayesian bootstrap",
        Annals of Statistics 9, 1981).
        """

    def without(self) -> Floats:
        """Return the scores without each of the groups in turn, [groups, models]."""

    def exchange(self, random: np.random.Generator, rounds: int) -> Floats:
        """Return two models' scores with their answers to random groups exchanged, [rounds, 2]."""


@dataclass(frozen=True)
class Additive:
    """A metric of sums: each group's numbers for each model, [groups, models, ...]."""

    table: Floats
    metric: Callable[[Floats], Floats]
    resolution: float

    @property
    def groups(self) -> int:
        """How many groups the items are in."""
        return len(self.table)

    def estimate(self) -> Floats:
        """Return the scores on the items as they are, [models]."""
        return self.metric(self.table.sum(axis=0))

    def draw(self, random: np.random.Generator, resamples: int) -> Floats:
        """Return the scores on groups drawn with replacement, [resamples, models].

        Groups with the same numbers are alike: drawing kinds of groups gives the same distribution
        and costs far less than drawing groups.
        """
        groups = self.groups

        def drawn(often: Integers, size: int) -> Floats:
            return random.multinomial(groups, often / groups, size=size).astype(np.float64)

        return self._over_kinds(drawn, resamples)

    def weigh(self, random: np.random.Generator, resamples: int) -> Floats:
        """Return the scores on groups of random weights, [resamples, models].

        The weights of alike groups sum to a gamma variable of their number.
        """
        groups = self.groups

        def drawn(often: Integers, size: int) -> Floats:
            found = random.standard_gamma(often, size=(size, len(often)))
            weights: Floats = found * (groups / found.sum(axis=1, keepdims=True))
            return weights

        return self._over_kinds(drawn, resamples)

    def without(self) -> Floats:
        """Return the scores without each of the groups in turn, [groups, models]."""
        return self.metric(self.table.sum(axis=0)[None] - self.table)

    def _over_kinds(self, drawn: Callable[[Integers, int], Floats], resamples: int) -> Floats:
        groups, shape = len(self.table), self.table.shape[1:]
        kinds, often = np.unique(self.table.reshape(groups, -1), axis=0, return_counts=True)
        resamples = max(LEAST, min(resamples, MAX_DRAWN // len(kinds)))
        parts = []
        chunk = max(1, MAX_CELLS // len(kinds))
        for start in range(0, resamples, chunk):
            size = min(chunk, resamples - start)
            parts.append(self.metric((drawn(often, size) @ kinds).reshape(size, *shape)))
        return np.concatenate(parts)

    def exchange(self, random: np.random.Generator, rounds: int) -> Floats:
        """Return two models' scores with their answers to random groups exchanged, [rounds, 2]."""
        first, second = self.table[:, 0], self.table[:, 1]
        groups, shape = len(first), first.shape[1:]
        apart = (second - first).reshape(groups, -1)
        keep = np.abs(apart).sum(axis=1) > 0  # exchanging equals changes nothing
        apart = apart[keep]
        both = [self.table[:, k].sum(axis=0) for k in range(2)]
        parts = []
        chunk = max(1, MAX_CELLS // max(1, len(apart)))
        for start in range(0, rounds, chunk):
            size = min(chunk, rounds - start)
            swapped = random.integers(0, 2, size=(size, len(apart))).astype(np.float64)
            moved = (swapped @ apart).reshape(size, *shape)
            parts.append(self.metric(np.stack([both[0] + moved, both[1] - moved], axis=1)))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Ranked:
    """Spearman's correlation: ranks are of the items drawn, so each draw ranks again."""

    target: Floats
    """[items]"""
    predicted: Floats
    """[models, items]"""
    group: Integers
    """The number of each item's group."""
    resolution: float

    @property
    def groups(self) -> int:
        """How many groups the items are in."""
        return int(self.group.max()) + 1

    def estimate(self) -> Floats:
        """Return the correlations on the items as they are, [models]."""
        found: Floats = self._scores(np.ones((1, len(self.target))))[0]
        return found

    def draw(self, random: np.random.Generator, resamples: int) -> Floats:
        """Return the correlations on groups drawn with replacement, [resamples, models]."""
        shares = np.full(self.groups, 1 / self.groups)
        return self._drawn(
            lambda n: random.multinomial(self.groups, shares, size=n).astype(np.float64), resamples
        )

    def weigh(self, random: np.random.Generator, resamples: int) -> Floats:
        """Return the correlations on groups of random weights, [resamples, models]."""
        return self._drawn(lambda n: random.standard_gamma(1.0, (n, self.groups)), resamples)

    def without(self) -> Floats:
        """Return the correlations without each of the groups in turn, [groups, models]."""
        chunk = max(1, MAX_CELLS // len(self.target))
        numbers = np.arange(self.groups)
        parts = [
            self._scores((self.group[None] != numbers[at : at + chunk, None]).astype(np.float64))
            for at in range(0, self.groups, chunk)
        ]
        return np.concatenate(parts)

    def _drawn(self, weights: Callable[[int], Floats], resamples: int) -> Floats:
        resamples = max(LEAST, min(resamples, MAX_DRAWN // (4 * len(self.target))))
        parts = []
        chunk = max(1, MAX_CELLS // len(self.target))
        for start in range(0, resamples, chunk):
            drawn = weights(min(chunk, resamples - start))
            parts.append(self._scores(drawn[:, self.group]))
        return np.concatenate(parts)

    def exchange(self, random: np.random.Generator, rounds: int) -> Floats:
        """Return two models' scores with their answers to random groups exchanged, [rounds, 2].

        Models may predict on different scales, so that their ranks are exchanged, not their values;
        the statistic is then Pearson's correlation of ranks, which needs only sums.
        """
        ones = np.ones((1, len(self.target)))
        middle = (len(self.target)) / 2
        x = weighted_ranks(self.target, ones)[0] - middle
        table = np.zeros((self.groups, len(self.predicted), 6))
        for model, row in enumerate(self.predicted):
            y = weighted_ranks(row, ones)[0] - middle
            for place, column in enumerate((ones[0], x, y, x * x, y * y, x * y)):
                np.add.at(table[:, model, place], self.group, column)
        return Additive(table, pearson, self.resolution).exchange(random, rounds)

    def _scores(self, weights: Floats) -> Floats:
        target = weighted_ranks(self.target, weights)
        rows = [_correlation(target, weighted_ranks(p, weights), weights) for p in self.predicted]
        return np.stack(rows, axis=-1)


def weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Return the mid-ranks [draws, items] of values [items] taken so many times [draws, items]."""
    distinct, place = np.unique(values, return_inverse=True)
    size = len(distinct)
    rows = np.arange(len(weights))[:, None] * size + place[None, :]
    mass = np.bincount(rows.ravel(), weights.ravel(), minlength=len(weights) * size)
    mass = mass.reshape(len(weights), size)
    middle = np.cumsum(mass, axis=1) - mass / 2
    found: Floats = middle[:, place]
    return found


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    apart = (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
    return np.clip(ratio((weights * x * y).sum(axis=1), np.sqrt(apart)), -1.0, 1.0)
