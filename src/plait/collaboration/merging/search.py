# SPDX-License-Identifier: Apache-2.0
"""Choosing a method and its coefficients for a merge, on validation items.

The values to try, the candidates and their recipes are those of `plait.fusion.search`. What a merge
adds is that its choice is a fixed function of the number of contributions and of the scores:
candidates are asked for in one order, the default first, and another one must be clearly better to
be taken. So the same contributions give the same recipe in whatever order they were merged, and
scores that are known need not be measured again.

Every contribution has the same weight. Weights of their own were measured and gained nothing that
held on other items: with a few hundred items, more freedom finds more noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plait.errors import BadInput
from plait.fusion.search import Candidate, default_grid, fits, recipe_of
from plait.fusion.weights import methods
from plait.recipes.project import FusionSpec

__all__ = ["Candidate", "Point", "Search", "candidates", "recipe_of", "search"]

CLEARLY = 0.002
"""How much better than the default, in the metric's unit, another candidate must be."""


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

    Of several methods each gets its default measured before any gets its second value, so that a
    small budget compares methods and a large one their coefficients too.

    Args:
        spec: a fixed method, or the methods that may be tried.
        count: how many contributions are fused.

    Raises:
        BadInput: there is no such method, it needs data of the contributions, or none can fuse so
            many contributions.
    """
    if spec.method != "search":
        return [_fixed(spec, count)]
    listed: list[list[Candidate]] = []
    # A single contribution is best taken as it is; several are best merged sign by sign.
    for name in sorted(spec.methods, key=lambda name: _preference(name, count)):
        method = methods.get(name)
        if needs_data(name):
            raise BadInput(
                f"plait.yaml: fusion.methods lists '{name}', which needs statistics or texts of "
                "the contributors' data; a merge has weights alone. Any other method can be tried."
            )
        if fits(method, count):
            listed.append(default_grid(name, count))
    if not listed:
        raise BadInput(
            f"plait.yaml: none of fusion.methods ({', '.join(spec.methods)}) can fuse {count} "
            f"contribution{'s' if count != 1 else ''}; add one that takes any number, such as ties."
        )
    return list(dict.fromkeys(_in_turn(listed)))[: spec.budget]


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


def needs_data(name: str) -> bool:
    """Tell whether a method looks at more than weights."""
    method = methods.get(name)
    return method.statistics is not None or method.learns is not None


def _in_turn(listed: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    longest = max(map(len, listed))
    return [row[place] for place in range(longest) for row in listed if place < len(row)]


def _fixed(spec: FusionSpec, count: int) -> Candidate:
    try:
        usual = default_grid(spec.method, count)[0].values
    except BadInput:
        methods.get(spec.method)  # an unknown method is told by its own sentence
        usual = {}
    return Candidate.of(spec.method, **{**usual, **spec.parameters})


def _preference(method: str, count: int) -> int:
    order = ("task_arithmetic", "ties") if count == 1 else ("ties", "task_arithmetic")
    return order.index(method) if method in order else len(order)
