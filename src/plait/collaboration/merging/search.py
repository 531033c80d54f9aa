# SPDX-License-Identifier: Apache-2.0
"""Choosing a method and its coefficients on validation items.

The search is a fixed function of the number of contributions and of the scores: candidates are
asked for in one order, the default first, and another one must be clearly better to be taken. So
the same contributions give the same recipe in whatever order they were merged.

Every contribution has the same weight. Weights of their own were measured and gained nothing that
held on other items: with a few hundred items, more freedom finds more noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.errors import BadInput
from plait.recipes.project import FusionSpec

CLEARLY = 0.002
"""How much better than the default, in the metric's unit, another candidate must be."""

_PER_MODEL = ("density", "epsilon", "gamma")
"""Parameters that belong to each contribution; every other one belongs to the whole recipe."""


@dataclass(frozen=True)
class Candidate:
    """A method and its values; ``parameters`` are sorted pairs, so that candidates compare."""

    method: str
    parameters: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, method: str, /, **parameters: Any) -> Candidate:
        """Make a candidate from named values."""
        return cls(method, tuple(sorted(parameters.items())))

    @property
    def values(self) -> dict[str, Any]:
        """The parameters by name, as people see them."""
        return dict(self.parameters)

    @property
    def weight(self) -> float | None:
        """The weight of each contribution, for the methods that have one."""
        weight = self.values.get("weight")
        return None if weight is None else float(weight)


@dataclass(frozen=True)
class Point:
    """A candidate that was measured."""

    candidate: Candidate
    score: float
    tasks: Mapping[str, float]


@dataclass(frozen=True)
class Search:
    """All that was measured, which was chosen, and which one would have been taken unsearched."""

    points: tuple[Point, ...]
    chosen: int
    default: int = 0

    @property
    def best(self) -> Point:
        """The chosen point."""
        return self.points[self.chosen]


Measure = Callable[[Sequence[Candidate]], Sequence[Mapping[str, float]]]
"""Gives each candidate's scores by task on the validation items."""


def candidates(spec: FusionSpec, count: int) -> list[Candidate]:
    """List what is measured, the default first; at most ``spec.budget``.

    Args:
        spec: a fixed method, or the methods that may be tried.
        count: how many contributions are fused.

    Raises:
        BadInput: the search has no values to try for one of the methods.
    """
    if spec.method != "search":
        return [_fixed(spec, count)]
    listed: list[Candidate] = []
    # A single contribution is best taken as it is; several are best merged sign by sign.
    for method in sorted(spec.methods, key=lambda name: _preference(name, count)):
        tried = _GRIDS.get(method)
        if tried is None:
            known = ", ".join(sorted(_GRIDS))
            raise BadInput(
                f"plait.yaml: the search knows no values to try for the method '{method}'; "
                f"fusion.methods may name {known}. Any other method can be given as "
                "fusion.method with its parameters."
            )
        listed += tried(count)
    return list(dict.fromkeys(listed))[: spec.budget]


def search(spec: FusionSpec, count: int, measure: Measure) -> Search:
    """Measure the candidates and choose.

    Args:
        spec: methods and budget.
        count: how many contributions are fused.
        measure: scores candidates, in any order or at the same time.
    """
    listed = candidates(spec, count)
    points = [
        Point(candidate, sum(tasks.values()) / len(tasks), dict(tasks))
        for candidate, tasks in zip(listed, measure(listed), strict=True)
    ]
    best = max(range(len(points)), key=lambda place: (points[place].score, -place))
    clear = points[best].score - points[0].score > CLEARLY
    return Search(tuple(points), best if clear else 0)


def recipe_of(candidate: Candidate, base: str, references: Sequence[str]) -> dict[str, Any]:
    """Write a candidate over some contributions as a recipe in mergekit's language.

    Leaving a contribution out changes nothing for the others: that is what credit compares.
    """
    values = candidate.values
    weight = values.pop("weight", None)
    own = {name: values.pop(name) for name in _PER_MODEL if name in values}
    if weight is not None:
        own = {"weight": weight, **own}
    recipe: dict[str, Any] = {
        "merge_method": candidate.method,
        "base_model": base,
        "models": [
            {"model": reference, **({"parameters": dict(own)} if own else {})}
            for reference in references
        ],
    }
    if values:
        recipe["parameters"] = values
    return recipe | {"dtype": "float32", "tokenizer_source": "base", "order": "canonical"}


def _fixed(spec: FusionSpec, count: int) -> Candidate:
    grid = _GRIDS.get(spec.method)
    usual = next(iter(grid(count))).values if grid is not None else {}
    return Candidate.of(spec.method, **{**usual, **spec.parameters})


def _preference(method: str, count: int) -> int:
    order = ("task_arithmetic", "ties") if count == 1 else ("ties", "task_arithmetic")
    return order.index(method) if method in order else len(order)


def _task_arithmetic(count: int) -> Iterator[Candidate]:
    weights = (1.0,) if count == 1 else (0.4, 0.5, 0.3, round(1 / count, 4))
    for weight in weights:
        yield Candidate.of("task_arithmetic", weight=weight)


def _ties(count: int) -> Iterator[Candidate]:
    scales = (1.0,) if count == 1 else (1.0, 0.8)
    for scale in scales:
        for density in (0.5,) if count == 1 else (0.5, 0.3):
            values = {"lambda": scale, "normalize": True}
            yield Candidate.of("ties", weight=1.0, density=density, **values)


def _dare_ties(count: int) -> Iterator[Candidate]:
    weight = round(1 / count, 4)
    for density in (0.7, 0.5):
        yield Candidate.of("dare_ties", weight=weight, density=density)


def _dare_linear(count: int) -> Iterator[Candidate]:
    for weight in (1.0,) if count == 1 else (0.4, 0.5):
        yield Candidate.of("dare_linear", weight=weight, density=0.7)


def _linear(count: int) -> Iterator[Candidate]:
    yield Candidate.of("linear", weight=1.0)


_GRIDS: dict[str, Callable[[int], Iterator[Candidate]]] = {
    "task_arithmetic": _task_arithmetic,
    "ties": _ties,
    "dare_ties": _dare_ties,
    "dare_linear": _dare_linear,
    "linear": _linear,
}
