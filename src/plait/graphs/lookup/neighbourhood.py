# SPDX-License-Identifier: Apache-2.0
"""What stands around entities, as far as a number of steps, and that as a graph of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plait.graphs.graph import Builder, Graph
from plait.graphs.lookup.index import Entity, Filters, Index, Statement

MAX_DEPTH = 4
MOST_OF_ONE = 500
"""Statements of one entity that are followed: what half of a graph has in common leads nowhere."""


@dataclass(frozen=True)
class Neighbourhood:
    """Entities by number, the statements among them, and how far each entity is."""

    entities: dict[int, Entity]
    statements: tuple[Statement, ...]
    distance: dict[int, int]
    truncated: bool
    """More stand there than were asked for."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "entities": [
                {**self.entities[no].to_json(), "distance": self.distance[no]}
                for no in sorted(self.distance, key=lambda one: (self.distance[one], one))
            ],
            "statements": [one.to_json(self.entities) for one in self.statements],
            "truncated": self.truncated,
        }


def neighbourhood(
    index: Index,
    starts: Sequence[Entity],
    *,
    depth: int = 1,
    filters: Filters | None = None,
    limit: int = 200,
) -> Neighbourhood:
    """Follow statements from some entities, nearest first.

    Args:
        depth: steps, at most `MAX_DEPTH`.
        limit: statements at most.
    """
    distance = {one.no: 0 for one in starts}
    found: dict[str, Statement] = {}
    front = list(distance)
    truncated = False
    for step in range(min(depth, MAX_DEPTH)):
        reached: list[int] = []
        for no in front:
            left = limit - len(found)
            if left <= 0:
                truncated = True
                break
            # Some of what comes may be known from the other end.
            most = min(MOST_OF_ONE, left + len(found)) + 1
            held = index.statements(no, filters, limit=most)
            truncated = truncated or len(held) == most
            for one in held[: most - 1]:
                if one.id in found:
                    continue
                if len(found) >= limit:
                    truncated = True
                    break
                found[one.id] = one
                for other in (one.subject, one.object):
                    if other is not None and other not in distance:
                        distance[other] = step + 1
                        reached.append(other)
        front = reached
    return Neighbourhood(index.numbered(distance), tuple(found.values()), distance, truncated)


def subgraph(index: Index, found: Neighbourhood) -> Graph:
    """Return a neighbourhood as a graph, which sees as one what identity claims make one."""
    builder = Builder(index.file)
    for entity in found.entities.values():
        builder.entity(entity.id, labels=entity.labels, types=entity.types, sources=entity.sources)
    for one in found.statements:
        builder.add(
            "statements",
            {
                "subject": found.entities[one.subject].id,
                "predicate": one.predicate,
                "object": None if one.object is None else found.entities[one.object].id,
                "value": one.value,
                "datatype": one.datatype,
                "language": one.language,
                "source": one.source,
                "licence": one.licence,
                "confidence": one.confidence,
                "recorded": one.recorded,
                "valid_from": one.valid_from,
                "valid_to": one.valid_to,
                "rank": one.rank,
                "evidence": list(one.evidence),
            },
        )
    return builder.build()
