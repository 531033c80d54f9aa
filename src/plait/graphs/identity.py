# SPDX-License-Identifier: Apache-2.0
"""Which entities are one: identity claims, weighed, and united where nothing speaks against it.

A claim is never carried out by rewriting: statements keep the identifiers that their sources used,
and a *view* says who stands for whom. Withdrawing the claim un-merges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plait.graphs import schema
from plait.graphs.graph import Graph
from plait.recipes.graph import GraphFile

MAX_LOOKED_AT = 1_000_000
"""Entities that are looked at to tell how claims contradict each other; then ends alone are told.
"""
PERSON = "person:"
"""How the source of a claim begins that a person made; it outweighs every machine's."""


@dataclass(frozen=True)
class Contradiction:
    """Two entities that claims make one and that another claim says are different."""

    a: str
    b: str
    path: tuple[str, ...]
    """How the claims lead from `a` to `b`."""


@dataclass(frozen=True)
class Identities:
    """The view: who stands for whom."""

    representative: Mapping[str, str]
    """Of every entity that is one with another: the identifier that stands for the class."""
    members: Mapping[str, tuple[str, ...]]
    contradictions: tuple[Contradiction, ...]

    def of(self, identifier: str) -> str:
        """Return the identifier that stands for an entity."""
        return self.representative.get(identifier, identifier)


def resolve(graph: Graph) -> Identities:
    """Weigh a graph's claims and unite what they make one.

    Of the claims about one pair a person's outweigh machines', then the sum of score times the
    source's trust decides; a pair said to be different is never united. Claims are taken from the
    surest to the least sure, so that where a chain of them contradicts a claim of difference, the
    least sure link of the chain gives way; it is told in `contradictions`. Equal claims are taken
    in the order of their identifiers: the result does not depend on the order of rows.
    """
    same, different = _weighed(graph.identities.to_pylist(), graph.file)
    classes = _Classes(different)
    links: dict[str, list[str]] = defaultdict(list)
    found = []
    looked = 0
    for _, a, b in sorted((-weight, a, b) for (a, b), weight in same.items()):
        if classes.one(a, b):
            continue
        clash = classes.unite(a, b)
        if clash is None:
            _link(links, a, b)
            continue
        x, y = clash
        path = [x, y]
        if looked < MAX_LOOKED_AT:
            _link(links, a, b)
            path, seen = _path(links, x, y)
            looked += seen
            _unlink(links, a, b)
        found.append(Contradiction(x, y, tuple(path)))
    members = {min(held): tuple(sorted(held)) for held in classes.members.values() if len(held) > 1}
    return Identities(
        {one: name for name, held in members.items() for one in held}, members, tuple(found)
    )


class _Classes:
    """Entities united so far, and of each class which others it must not be united with.

    The smaller of two classes is always added to the larger, so that a million claims take time in
    proportion to them, in whatever shape they come.
    """

    def __init__(self, different: Iterable[tuple[str, str]]) -> None:
        self.members: dict[str, list[str]] = {}
        self._parent: dict[str, str] = {}
        self._against: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for a, b in different:
            self._against[a][b] = self._against[b][a] = (a, b)

    def one(self, a: str, b: str) -> bool:
        """Tell whether two entities are in one class."""
        return _root(self._parent, a) == _root(self._parent, b)

    def unite(self, a: str, b: str) -> tuple[str, str] | None:
        """Unite two classes; return None, or the pair that forbids it."""
        ra, rb = _root(self._parent, a), _root(self._parent, b)
        against = self._against.get(ra, {}).get(rb)
        if against is not None:
            return against
        if self._weight(ra) < self._weight(rb):
            ra, rb = rb, ra
        self._parent[rb] = ra
        self.members.setdefault(ra, [ra]).extend(self.members.pop(rb, [rb]))
        for other, pair in self._against.pop(rb, {}).items():
            del self._against[other][rb]
            best = min(pair, self._against[ra].get(other, pair))
            self._against[ra][other] = self._against[other][ra] = best
        return None

    def _weight(self, root: str) -> int:
        return len(self.members.get(root, ())) + len(self._against.get(root, ()))


def claim(
    a: str, b: str, relation: str = schema.SAME, *, source: str, **about: Any
) -> dict[str, Any]:
    """Return a row of the table of identities; `a` and `b` in either order."""
    first, second = sorted((a, b))
    return {"a": first, "b": second, "relation": relation, "source": source, **about}


def _weighed(
    rows: Iterable[Mapping[str, Any]], file: GraphFile
) -> tuple[dict[tuple[str, str], float], list[tuple[str, str]]]:
    weights: dict[tuple[str, str], tuple[int, float]] = {}
    for row in rows:
        sign = 1 if row["relation"] == schema.SAME else -1
        person = row["source"].startswith(PERSON)
        score = 1.0 if row["score"] is None else float(row["score"])
        people, machines = weights.get((row["a"], row["b"]), (0, 0.0))
        weights[row["a"], row["b"]] = (
            people + sign * person,
            machines + sign * score * file.trust(row["source"]) * (not person),
        )
    same, different = {}, []
    for pair, (people, machines) in weights.items():
        if people > 0 or (people == 0 and machines > 0):
            # Whatever people confirmed comes before what machines found.
            same[pair] = 1e9 * people + machines
        else:
            different.append(pair)
    return same, different


def _root(parent: dict[str, str], one: str) -> str:
    root = one
    while (above := parent.get(root, root)) != root:
        root = above
    while (above := parent.get(one, one)) != root:
        parent[one], one = root, above
    return root


def _link(links: dict[str, list[str]], a: str, b: str) -> None:
    links[a].append(b)
    links[b].append(a)


def _unlink(links: dict[str, list[str]], a: str, b: str) -> None:
    links[a].remove(b)
    links[b].remove(a)


def _path(links: Mapping[str, list[str]], start: str, end: str) -> tuple[list[str], int]:
    """Return the shortest chain of claims between two entities, and how many were looked at."""
    before: dict[str, str] = {start: start}
    front = [start]
    while front and end not in before:
        reached = []
        for one in front:
            for other in links.get(one, ()):
                if other not in before:
                    before[other] = one
                    reached.append(other)
        front = reached
    if end not in before:
        return [start, end], len(before)
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1], len(before)
