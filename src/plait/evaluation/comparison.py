# SPDX-License-Identifier: Apache-2.0
"""Two models compared on the same items: differences with intervals, by task and on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation import bootstrap, metrics
from plait.evaluation.results import Evaluation, TaskResult


@dataclass(frozen=True)
class Difference:
    """A difference in score (first minus second) and what the items say about it."""

    effect: float
    low: float
    """Two-sided interval at the comparison's confidence."""
    high: float
    lower: float
    """One-sided: with that confidence the true difference is above this."""
    upper: float
    """One-sided: with that confidence the true difference is below this."""
    p: float
    """Two-sided, against no difference."""
    p_adjusted: float
    """Holm's adjustment over the tasks."""
    n: int
    groups: int
    smallest_class: int
    """Items of the rarest class."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "effect": self.effect,
            "low": self.low,
            "high": self.high,
            "lower": self.lower,
            "upper": self.upper,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "n": self.n,
            "groups": self.groups,
        }


@dataclass(frozen=True)
class Comparison:
    """One model against another: by task, and on the average over tasks."""

    tasks: Mapping[str, Difference]
    average: Difference
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "confidence": self.confidence,
            "tasks": {name: difference.to_json() for name, difference in self.tasks.items()},
            "average": self.average.to_json(),
        }


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    confidence: float = 0.95,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two evaluations of the same items; differences are ``a`` minus ``b``.

    A bootstrap over groups, paired (both models see the same draws), inside each task.

    Raises:
        BadInput: if the two were not measured on the same items.
    """
    if list(a.tasks) != list(b.tasks) or not a.tasks:
        raise BadInput(
            "Two evaluations can only be compared on the same tasks; one has "
            f"{list(a.tasks)}, the other {list(b.tasks)}."
        )
    contrast = bootstrap.as_difference(0, 1)
    samples: dict[str, bootstrap.Sample] = {}
    found: dict[str, Difference] = {}
    for name, first in a.tasks.items():
        second = b.tasks[name]
        _same_items(name, first, second)
        classes = max(first.classes, second.classes)
        tables = [replace(result, classes=classes).table() for result in (first, second)]
        samples[name] = bootstrap.resample(
            np.stack(tables, axis=1),
            metrics.metric(first.metric),
            resamples=resamples,
            seed=seed,
            key=name,
        )
        true = tables[0].sum(axis=0)[0]
        sizes = (first.n, first.groups, int(true[true > 0].min()))
        found[name] = _difference([samples[name]], contrast, confidence, sizes)
    adjusted = bootstrap.holm([d.p for d in found.values()])
    tasks = {
        name: replace(difference, p_adjusted=p)
        for (name, difference), p in zip(found.items(), adjusted, strict=True)
    }
    sizes = (
        sum(d.n for d in found.values()),
        sum(d.groups for d in found.values()),
        min(d.smallest_class for d in found.values()),
    )
    average = _difference(list(samples.values()), contrast, confidence, sizes)
    return Comparison(tasks, average, confidence)


def _difference(
    samples: list[bootstrap.Sample],
    contrast: bootstrap.Contrast,
    confidence: float,
    sizes: tuple[int, int, int],
) -> Difference:
    strayed = bootstrap.deviations(samples, contrast)
    side = (1 + confidence) / 2
    p = strayed.p_value()
    return Difference(
        effect=strayed.effect,
        low=max(-1.0, strayed.lower(side)),
        high=min(1.0, strayed.upper(side)),
        lower=max(-1.0, strayed.lower(confidence)),
        upper=min(1.0, strayed.upper(confidence)),
        p=p,
        p_adjusted=p,
        n=sizes[0],
        groups=sizes[1],
        smallest_class=sizes[2],
    )


def _same_items(name: str, first: TaskResult, second: TaskResult) -> None:
    same = first.metric == second.metric and first.n == second.n
    if not same or any(
        (x.id, x.group, x.label) != (y.id, y.group, y.label)
        for x, y in zip(first.items, second.items, strict=True)
    ):
        raise BadInput(
            f"Task '{name}' was not measured on the same items with the same metric both times; "
            "evaluate both models again on one revision of its data set."
        )
