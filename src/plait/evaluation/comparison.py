# SPDX-License-Identifier: Apache-2.0
"""Two models compared on the same items: differences with intervals, by task and on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation import bootstrap, metrics
from plait.evaluation.results import Evaluation, TaskResult
from plait.evaluation.significance import McNemar, exchange_p, mcnemar
from plait.evaluation.types import task_type
from plait.evaluation.types.classification import Classification


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
    smallest_class: int | None = None
    """Items of the rarest class, in classification."""
    direction: int = 1
    """1 where more is better, -1 where less is (an error, a perplexity)."""
    share: bool = True
    """Whether it is a difference of shares, told in points of a hundred."""
    p_exchange: float | None = None
    """Two-sided, by exchanging the models' answers to whole groups at random."""
    mcnemar: McNemar | None = None
    """Of classification: the items that only one of the two has right."""

    @property
    def gain(self) -> float:
        """The difference for the better: above zero where the first model is better."""
        return self.direction * self.effect

    @property
    def least_gain(self) -> float:
        """One-sided: with the comparison's confidence the true gain is above this."""
        return self.lower if self.direction > 0 else -self.upper

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
            "direction": self.direction,
            "p_exchange": self.p_exchange,
            "mcnemar": None if self.mcnemar is None else self.mcnemar.to_json(),
        }


@dataclass(frozen=True)
class Comparison:
    """One model against another: by task, and on the average over tasks."""

    tasks: Mapping[str, Difference]
    average: Difference
    confidence: float
    seen: Difference | None = None
    """On the average over the tasks of contributors, where there are others too."""
    unseen: Difference | None = None
    """On the average over the tasks that no contributor owns."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        data: dict[str, Any] = {
            "confidence": self.confidence,
            "tasks": {name: difference.to_json() for name, difference in self.tasks.items()},
            "average": self.average.to_json(),
        }
        if self.seen is not None and self.unseen is not None:
            data |= {"seen": self.seen.to_json(), "unseen": self.unseen.to_json()}
        return data


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    confidence: float = 0.95,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two evaluations of the same items; differences are ``a`` minus ``b``.

    A bootstrap over groups, paired (both models see the same draws), inside each task; its bounds
    hold if one more group were as bad as the worst (`bootstrap.plus_one`). Beside it stand a test
    by exchanging whole groups and, for classification, McNemar's.

    Raises:
        BadInput: if the two were not measured on the same items.
    """
    if list(a.tasks) != list(b.tasks) or not a.tasks:
        raise BadInput(
            "Two evaluations can only be compared on the same tasks; one has "
            f"{list(a.tasks)}, the other {list(b.tasks)}."
        )
    samples: dict[str, bootstrap.Sample] = {}
    found: dict[str, Difference] = {}
    for name, first in a.tasks.items():
        second = b.tasks[name]
        _same_items(name, first, second)
        kind = task_type(first.type)
        measure = kind.measure(
            [first.items, second.items], [first.about, second.about], first.metric
        )
        samples[name] = bootstrap.resample(
            measure, resamples=resamples, seed=seed, key=name, bounds=True
        )
        found[name] = replace(
            _difference([samples[name]], [first], confidence),
            smallest_class=kind.smallest_class(first.items, first.about),
            p_exchange=exchange_p(measure, rounds=resamples, seed=seed, key=name),
            mcnemar=_mcnemar(first, second),
        )
    adjusted = bootstrap.holm([d.p for d in found.values()])
    tasks = {
        name: replace(difference, p_adjusted=p)
        for (name, difference), p in zip(found.items(), adjusted, strict=True)
    }

    def average(names: Sequence[str]) -> Difference:
        made = _difference([samples[n] for n in names], [a.tasks[n] for n in names], confidence)
        sizes = [s for n in names if (s := found[n].smallest_class) is not None]
        return replace(made, smallest_class=min(sizes, default=None))

    return Comparison(
        tasks,
        average(a.averaged),
        confidence,
        None if a.seen is None else average(a.seen.tasks),
        None if a.unseen is None else average(a.unseen.tasks),
    )


def _difference(
    samples: Sequence[bootstrap.Sample], results: Sequence[TaskResult], confidence: float
) -> Difference:
    kinds = [metrics.metric(result.metric) for result in results]
    most = max(one.high - one.low for one in kinds)
    bounds = bootstrap.plus_one(samples, bootstrap.as_difference(0, 1))
    side = (1 + confidence) / 2
    p = bootstrap.deviations(samples, bootstrap.as_difference(0, 1)).p_value()
    return Difference(
        effect=bounds.effect,
        low=max(-most, bounds.lower(side)),
        high=min(most, bounds.upper(side)),
        lower=max(-most, bounds.lower(confidence)),
        upper=min(most, bounds.upper(confidence)),
        p=p,
        p_adjusted=p,
        n=sum(result.n for result in results),
        groups=sum(result.groups for result in results),
        direction=kinds[0].direction,
        share=all(one.share for one in kinds),
    )


def _mcnemar(first: TaskResult, second: TaskResult) -> McNemar | None:
    if not isinstance(task_type(first.type), Classification):
        return None
    right = [np.array([i.label == i.predicted for i in one.items]) for one in (first, second)]
    return mcnemar(right[0], right[1], [item.group for item in first.items])


def _same_items(name: str, first: TaskResult, second: TaskResult) -> None:
    kind = task_type(first.type)
    same = (first.metric, first.n, first.type) == (second.metric, second.n, second.type)
    if not same or any(
        (x.id, x.group, kind.truth(x)) != (y.id, y.group, kind.truth(y))
        for x, y in zip(first.items, second.items, strict=True)
    ):
        raise BadInput(
            f"Task '{name}' was not measured on the same items with the same metric both times; "
            "evaluate both models again on one revision of its data set."
        )
