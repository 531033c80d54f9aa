# SPDX-License-Identifier: Apache-2.0
"""The bootstrap behind every interval: over groups of items, inside each task, paired over models.

Groups (documents) are drawn with replacement, whole, so that sentences of one document, which
succeed and fail together, do not count as independent evidence. Models share the draws, so that a
difference is between the same items. Intervals are *expanded percentile* intervals (Hesterberg,
"What Teachers Should Know About the Bootstrap", 2015): deviations are widened by
sqrt(G / (G - 1)) and by Student's t over the normal quantile, without which few groups give
intervals that are too short.

Where a decision hangs on a bound (`plus_one`), that is not enough: harm that a few groups carry is
skewed, and groups that carry it may be missing among those drawn. There the bound is the quantile
of a Bayesian bootstrap (Rubin 1981) over the groups and **one more that is as bad as the worst**.
Of items that are right or wrong this is Clopper and Pearson's exact bound; with the worst
conceivable group in place of the worst seen it is Gaffke's for any bounded variable (2005; Learned-
Miller & Thomas, "A new confidence interval for the mean of a bounded random variable", 2019). How
often it errs is measured by ``benchmarks/gate.py``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.evaluation.measures import Measure
from plait.evaluation.metrics import Floats

RESAMPLES = 10_000

Contrast = Callable[[Floats], Floats]
"""Takes scores [..., models] to one number each [...]: a model's score or a difference of two."""


@dataclass(frozen=True)
class Sample:
    """One task's scores and their resamples."""

    estimate: Floats
    """[models]"""
    draws: Floats
    """[resamples, models]"""
    groups: int
    resolution: float
    """The difference in score that one item makes: one in the smallest class."""
    weighed: Floats | None = None
    """Scores on groups of random weights, [resamples, models]; where `plus_one` is to be asked."""
    without: Floats | None = None
    """Scores without each group in turn, [groups, models]."""
    share: Floats | None = None
    """Random weights of one more group, [resamples]: Beta(1, groups)."""


@dataclass(frozen=True)
class Deviations:
    """A contrast averaged over tasks: its value, and how far resamples stray from it (widened)."""

    effect: float
    values: NDArray[np.float64]
    widening: float
    resolution: float

    def lower(self, confidence: float) -> float:
        """Return the value that the truth exceeds with this (one-sided) confidence."""
        return self.effect - self._reach(-self.values, confidence)

    def upper(self, confidence: float) -> float:
        """Return the value that the truth stays under with this (one-sided) confidence."""
        return self.effect + self._reach(self.values, confidence)

    def p_value(self) -> float:
        """Return the two-sided p-value of the hypothesis that the contrast is zero."""
        beyond = np.count_nonzero(np.abs(self.values) >= abs(self.effect))
        return float((1 + beyond) / (1 + len(self.values)))

    def _reach(self, values: NDArray[np.float64], confidence: float) -> float:
        reach = float(np.quantile(values, confidence))
        # Where models hardly differ on the items drawn, resamples hardly vary and say nothing about
        # items not drawn: n items without one event bound its rate by -ln(1 - confidence) / n
        # (the "rule of three"), and no interval is shorter than that.
        return max(reach, -math.log(1 - confidence) * self.resolution)


@dataclass(frozen=True)
class PlusOne:
    """Bounds of a contrast that hold if one more group were as bad, or as good, as any seen."""

    effect: float
    worse: Floats
    """How far weighed groups and one more of the worst stray from the effect, [resamples]."""
    better: Floats
    """The same with one more of the best."""

    def lower(self, confidence: float) -> float:
        """Return the value that the truth exceeds with this (one-sided) confidence."""
        return self.effect - max(0.0, float(np.quantile(-self.worse, confidence)))

    def upper(self, confidence: float) -> float:
        """Return the value that the truth stays under with this (one-sided) confidence."""
        return self.effect + max(0.0, float(np.quantile(self.better, confidence)))


def generator(seed: int, key: str) -> np.random.Generator:
    """Return a random generator that depends on the seed and a name and on nothing else."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def resample(
    measure: Measure,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    key: str = "",
    bounds: bool = False,
) -> Sample:
    """Draw the groups of one task with replacement, and score every model on each draw.

    ``bounds``: also weigh them, for `plus_one`.
    """
    draws = measure.draw(generator(seed, key), resamples)
    made = Sample(measure.estimate(), draws, measure.groups, measure.resolution)
    if not bounds:
        return made
    weighed = measure.weigh(generator(seed, f"weighed {key}"), resamples)
    share = generator(seed, f"one more {key}").beta(1, measure.groups, size=len(weighed))
    return replace(made, weighed=weighed, without=measure.without(), share=share)


def plus_one(samples: Sequence[Sample], contrast: Contrast) -> PlusOne:
    """Average a contrast over tasks and bound it as if one more group were as bad as the worst.

    What a group adds is its influence: what the contrast loses without it, times G - 1. A group
    more is at least one item of one: with no item lost among n, the bound is the "rule of three".
    Of several tasks, one has the group more: the one where it matters most.

    Args:
        samples: drawn with ``bounds``.
        contrast: see `Contrast`.

    Raises:
        ValueError: a sample was drawn without them.
    """
    count, widening = len(samples), deviations(samples, contrast).widening
    parts = []
    for sample in samples:
        if sample.weighed is None or sample.without is None or sample.share is None:
            raise ValueError("these samples were drawn without bounds")
        groups, value = sample.groups, float(contrast(sample.estimate))
        factor = widening * math.sqrt((groups + 1) / max(1, groups - 1))
        influence = (groups - 1) * (value - contrast(sample.without))
        least = groups * sample.resolution
        parts.append(
            _Part(
                value / count,
                factor * (contrast(sample.weighed) - value) / count,
                sample.share,
                min(float(influence.min()), -least) / count,
                max(float(influence.max()), least) / count,
                groups,
            )
        )
    length = min(len(part.strayed) for part in parts)
    together = np.sum([part.strayed[:length] for part in parts], axis=0)

    def with_one(which: Callable[[_Part], float]) -> Floats:
        part = max(parts, key=lambda one: abs(which(one)) / (one.groups + 1))
        moved: Floats = part.share[:length] * (which(part) - part.strayed[:length])
        found: Floats = together + moved
        return found

    return PlusOne(
        sum(part.value for part in parts),
        with_one(lambda part: part.worst),
        with_one(lambda part: part.best),
    )


@dataclass(frozen=True)
class _Part:
    """One task's part of an average of contrasts."""

    value: float
    strayed: Floats
    share: Floats
    worst: float
    """What a group as bad as the worst adds to the value, if it had all the weight."""
    best: float
    groups: int


def deviations(samples: Sequence[Sample], contrast: Contrast) -> Deviations:
    """Average a contrast over tasks and widen its deviations for the number of groups.

    Degrees of freedom over several tasks are Welch and Satterthwaite's.
    """
    count = len(samples)
    length = min(len(sample.draws) for sample in samples)
    effect, squares, quarter = 0.0, 0.0, 0.0
    values = np.zeros(length)
    for sample in samples:
        value = float(contrast(sample.estimate))
        factor = math.sqrt(sample.groups / max(1, sample.groups - 1))
        strayed = factor * (contrast(sample.draws[:length]) - value) / count
        variance = float(strayed.var())
        effect += value / count
        values += strayed
        squares += variance
        quarter += variance**2 / max(1, sample.groups - 1)
    freedom = squares**2 / quarter if quarter > 0 else float(length)
    widening = student(0.975, freedom) / student(0.975, math.inf)
    resolution = max(sample.resolution for sample in samples) / count
    return Deviations(effect, values * widening, widening, resolution)


def interval(
    samples: Sequence[Sample],
    contrast: Contrast,
    *,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> tuple[float, float]:
    """Return a two-sided interval of a contrast averaged over tasks, cut off at ``bounds``."""
    found = deviations(samples, contrast)
    side = (1 + confidence) / 2
    return max(bounds[0], found.lower(side)), min(bounds[1], found.upper(side))


def student(probability: float, freedom: float) -> float:
    """Return Student's t quantile by the Cornish-Fisher expansion (Abramowitz & Stegun 26.7.5).

    Good to two decimals from three degrees of freedom on; below that it is too small.
    """
    z = NormalDist().inv_cdf(probability)
    if math.isinf(freedom):
        return z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (k + 1) for k, term in enumerate(terms))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the given order (Holm 1979)."""
    count = len(p_values)
    adjusted = [0.0] * count
    worst = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def as_difference(first: int, second: int) -> Contrast:
    """Return the contrast "score of model ``first`` minus score of model ``second``"."""

    def contrast(scores: Any) -> Any:
        return scores[..., first] - scores[..., second]

    return contrast
