# SPDX-License-Identifier: Apache-2.0
"""Tests of whether two models differ on the same items, beside the bootstrap's intervals.

McNemar's test counts the items that one of two classifiers has right and the other wrong. Items of
one document are not independent, which it takes them to be; Durkalski et al. weigh documents
instead ("Analysis of clustered matched-pair data", Statistics in Medicine 22, 2003). For any other
metric the models' answers to whole documents are exchanged at random (Noreen 1989; Yeh,
"More accurate tests for the statistical significance of result differences", COLING 2000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.bootstrap import generator
from plait.evaluation.measures import Measure

ROUNDS = 10_000


@dataclass(frozen=True)
class McNemar:
    """How often only one of two classifiers is right, and what that says."""

    first_only: int
    second_only: int
    exact: float
    """Two-sided binomial p-value: for items that are independent."""
    mid_p: float
    """The same, less conservative (Fagerland, Lydersen & Laake 2013)."""
    clustered: float
    """Durkalski's, for items in groups; with one item a group McNemar's own without correction."""
    grouped: bool
    """Whether items share groups: then `clustered` is the one to read."""

    @property
    def p(self) -> float:
        """The p-value that fits the items: clustered where they share groups, else mid-p."""
        return self.clustered if self.grouped else self.mid_p

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "first_only": self.first_only,
            "second_only": self.second_only,
            "exact": self.exact,
            "mid_p": self.mid_p,
            "clustered": self.clustered,
            "p": self.p,
        }


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Sequence[str]) -> McNemar:
    """Test whether two classifiers are right equally often.

    Args:
        first: whether the first is right, [items].
        second: the same of the second, on the same items.
        groups: of the items.

    Raises:
        BadInput: if there are not as many of each.
    """
    if not len(first) == len(second) == len(groups):
        raise BadInput(
            f"McNemar's test needs the same items of both: there are {len(first)} and "
            f"{len(second)}, with {len(groups)} groups."
        )
    only = np.asarray(first) & ~np.asarray(second)
    other = np.asarray(second) & ~np.asarray(first)
    b, c = int(only.sum()), int(other.sum())
    names: dict[str, int] = {}
    number = np.array([names.setdefault(group, len(names)) for group in groups], dtype=int)
    sizes = np.bincount(number)
    share = np.bincount(number, only.astype(float) - other.astype(float)) / sizes
    squares = float((share**2).sum())
    statistic = float(share.sum()) ** 2 / squares if squares > 0 else 0.0
    clustered = math.erfc(math.sqrt(statistic / 2))  # chi-squared with one degree of freedom
    exact, mid = _binomial(b, c)
    return McNemar(b, c, exact, mid, clustered, grouped=len(sizes) < len(number))


def exchange_p(measure: Measure, *, rounds: int = ROUNDS, seed: int = 0, key: str = "") -> float:
    """Return the two-sided p-value of two models' difference by exchanging whole groups at random.

    If the models are as good, which of them gave which answers to a group is chance.
    """
    effect = abs(float(np.subtract(*measure.estimate())))
    scores = measure.exchange(generator(seed, f"exchange {key}"), rounds)
    strayed = np.abs(scores[:, 0] - scores[:, 1])
    # sums in another order differ by rounding: what equals the effect counts as reaching it
    beyond = np.count_nonzero(strayed >= effect - 1e-12 * max(1.0, effect))
    return float((1 + beyond) / (1 + len(strayed)))


def needed_items(n: int, reach: float, room: float, *, confidence: float, power: float) -> int:
    """Return how many items let a one-sided bound clear a limit with the chance ``power``.

    Standard errors shrink with the square root of the number of items, so with the spread of the
    paired differences found on ``n`` items, ``n * ((z_confidence + z_power) * se / room)**2`` do
    (Chow, Shao & Wang, "Sample Size Calculations in Clinical Research", section 3.2).

    Args:
        n: items that there are, in documents like those to come.
        reach: how far the bound lies from the estimate on them: ``z_confidence * se``.
        room: how far the limit lies from the truth that shall be told from it; above zero.
        confidence: of the bound.
        power: the chance with which the bound shall clear the limit.
    """
    return math.ceil(n * (detectable(reach, confidence=confidence, power=power) / room) ** 2)


def detectable(reach: float, *, confidence: float, power: float) -> float:
    """Return the smallest true difference that the items behind a bound show with this power.

    ``reach`` is how far the one-sided bound lies from the estimate.
    """
    normal = NormalDist()
    return reach * (1 + normal.inv_cdf(power) / normal.inv_cdf(confidence))


def _binomial(b: int, c: int) -> tuple[float, float]:
    """Return the exact two-sided p-value of b against c at equal chances, and the mid-p-value."""
    n, least = b + c, min(b, c)
    if n == 0:
        return 1.0, 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(least + 1)
    ]
    tail = math.fsum(math.exp(one) for one in logs)
    point = math.exp(logs[-1])
    if b == c:
        return 1.0, 1.0 - 0.5 * point
    return min(1.0, 2 * tail), min(1.0, 2 * tail - point)
