# SPDX-License-Identifier: Apache-2.0
"""Which entity some words name: by names, else by likeness of spelling, else none (NIL).

A name can be several entities' (Georgia), so that candidates are weighed: how alike the name is,
whether the entity is of a type that the predicate's statements have, and whether it is a neighbour
of what else the sentence names. What is named by nothing in the graph stays unlinked; it becomes a
new entity only for who asks for that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plait.graphs.align.texts import Grams, forms
from plait.graphs.graph import Graph
from plait.graphs.read.facts import Kind
from plait.graphs.read.teaching import key_of_name
from plait.graphs.view import collapsed

LEAST = 0.76
"""The likeness of names from which words are taken for another spelling, of one first letter."""
MARGIN = 0.03
"""How much better than the next the best candidate must be, to be taken."""
TYPE = 0.15
"""What it costs to be of a type that no statement of the predicate has."""
NEIGHBOUR = 0.1
"""What it is worth to be a neighbour of another entity of the sentence."""
CANDIDATES = 5
SHORT = 4
"""Letters of a name that must be exactly right: short ones are too like each other."""


@dataclass(frozen=True)
class Candidate:
    """An entity that words may name."""

    entity: str
    name: float
    """Likeness of the name, 1 for the name itself."""
    score: float
    """With type and neighbours."""


@dataclass(frozen=True)
class Link:
    """What words name: an entity, or none, and the candidates that were weighed."""

    entity: str | None
    score: float
    candidates: tuple[Candidate, ...] = ()
    why: str = ""
    """Of words that name none: ``unknown``, or ``ambiguous``."""


@dataclass
class Linker:
    """The names of a graph, ready to be asked."""

    entities: Mapping[str, frozenset[str]]
    """Of each entity its types."""
    kinds: Mapping[str, Kind]
    keys: Mapping[str, tuple[str, ...]]
    """Of each name, normalised, the entities that have it."""
    neighbours: Mapping[str, frozenset[str]]
    _near: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, kinds: Mapping[str, Kind]) -> Linker:
        """Gather the names of a graph in all languages; entities that are the same are one."""
        view = collapsed(graph)
        keys: dict[str, dict[str, None]] = defaultdict(dict)
        entities = {}
        for row in view.entities.to_pylist():
            entities[row["id"]] = frozenset(row["types"])
            for label in row["labels"]:
                for key in _keys(label["text"]):
                    keys[key].setdefault(row["id"])
        near: dict[str, set[str]] = defaultdict(set)
        for row in view.statements.select(["subject", "object"]).to_pylist():
            if row["object"] is not None:
                near[row["subject"]].add(row["object"])
                near[row["object"]].add(row["subject"])
        return cls(
            entities,
            kinds,
            {key: tuple(found) for key, found in keys.items()},
            {name: frozenset(found) for name, found in near.items()},
        )

    def is_entity(self, text: str) -> bool:
        """Tell whether a text is the name of an entity."""
        return any(key in self.keys for key in _keys(text))

    def learn(self, texts: Collection[str]) -> None:
        """Look up names that are no entity's among those spelled alike, all at once."""
        wanted = sorted(
            {
                key_of_name(text) for text in texts
                if not self.is_entity(text) and len(key_of_name(text)) > SHORT
            } - set(self._near)
        )  # fmt: skip
        names = [one for one in self.keys if len(one) > SHORT]
        if not wanted or not names:
            return
        grams = Grams(wanted, names)
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            table = grams.left[start : start + 500] @ grams.right.T
            for place in range(len(part)):
                row = table.getrow(place)
                order = row.indices[np.argsort(-row.data)][: 4 * CANDIDATES]
                left = np.full(len(order), start + place)
                alike = grams.likeness(left, order) if len(order) else np.empty(0)
                self._near[part[place]] = [
                    (names[int(k)], float(value)) for k, value in zip(order, alike, strict=True)
                ]

    def link(
        self,
        text: str,
        *,
        predicate: str = "",
        end: str = "subject",
        beside: Collection[str] = (),
    ) -> Link:
        """Return which entity a text names.

        Args:
            text: the words.
            predicate: of the statement; `end` says whether its subject or its object is named.
            end: ``subject`` or ``object``.
            beside: entities that the sentence names too.
        """
        named: dict[str, float] = {}
        for key in _keys(text):
            for one in self.keys.get(key, ()):
                named[one] = 1.0
        if not named:
            for name, likeness in self._near.get(key_of_name(text), ()):
                if likeness >= LEAST and name[0] == key_of_name(text)[0]:
                    for one in self.keys[name]:
                        named[one] = max(named.get(one, 0.0), likeness)
        kind = self.kinds.get(predicate)
        types = (kind.subjects if end == "subject" else kind.objects) if kind else frozenset()
        scored = []
        for one, likeness in named.items():
            score = likeness
            if types and not types & self.entities[one]:
                score -= TYPE
            if any(other in self.neighbours.get(one, ()) for other in beside):
                score += NEIGHBOUR
            scored.append(Candidate(one, likeness, score))
        scored.sort(key=lambda one: (-one.score, one.entity))
        if not scored:
            return Link(None, 0.0, (), "unknown")
        if len(scored) > 1 and scored[0].score - scored[1].score < MARGIN:
            return Link(None, scored[0].score, tuple(scored[:CANDIDATES]), "ambiguous")
        return Link(scored[0].entity, min(1.0, scored[0].score), tuple(scored[:CANDIDATES]))


def _keys(text: str) -> Sequence[str]:
    """Return the forms that a name is looked up by: its own, and in Latin letters."""
    own = key_of_name(text)
    return tuple(dict.fromkeys((own, *(one.removeprefix("the ") for one in forms(text)))))
