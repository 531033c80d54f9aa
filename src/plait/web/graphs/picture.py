# SPDX-License-Identifier: Apache-2.0
"""What the picture of a graph is drawn from: entities with most statements, or around one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fastapi import Response

from plait.collaboration.graphs import open_index
from plait.graphs.lookup import Entity, Filters, Index, Statement, neighbourhood
from plait.web.graphs.visit import GraphVisit
from plait.web.here import At

MOST_NODES = 10_000
MOST_EDGES = 30_000
SHOWN = 5_000
"""Entities that are drawn if nobody says otherwise."""
AROUND = 300


class _Numbers:
    """Names as small numbers, in the order in which they come."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))


def send(at: At) -> Response:
    """Send nodes and edges as JSON, packed: names once, rows as lists."""
    graph = GraphVisit(at)
    with open_index(at.visit.hub, graph.found) as index:
        asked = graph.wanted("limit", 6)
        limit = min(int(asked), MOST_NODES) if asked.isascii() and asked.isdigit() else SHOWN
        wanted = graph.wanted("entity")
        filters = Filters(deprecated=True)
        if wanted:
            start = index.entity(wanted)
            near = neighbourhood(index, [start], depth=1, filters=filters, limit=AROUND)
            entities = list(near.entities.values())
            held = index.between(list(near.entities), filters, limit=MOST_EDGES)
        else:
            entities = _largest(index, limit)
            held = index.between([one.no for one in entities], filters, limit=MOST_EDGES)
        data = packed(graph, index, entities, held)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    headers = {"Cache-Control": "private, no-cache", "Vary": "Cookie, Accept-Language"}
    return Response(text, media_type="application/json", headers=headers)


def packed(
    graph: GraphVisit, index: Index, entities: Iterable[Entity], held: Iterable[Statement]
) -> dict[str, Any]:
    """Return entities and statements as the script of the page reads them."""
    places: dict[int, int] = {}
    types, sources, predicates = _Numbers(), _Numbers(), _Numbers()
    nodes = []
    for one in entities:
        places[one.no] = len(places)
        kind = types(one.types[0]) if one.types else -1
        known = [sources(name) for name in one.sources[:8]]
        nodes.append([one.id, one.named(graph.language)[:120], kind, known, one.degree])
    edges = [
        [
            places[one.subject],
            places[one.object],
            predicates(one.predicate),
            sources(one.source),
            1 if one.confidence is None else round(one.confidence, 4),
            -1 if one.contribution is None else one.contribution,
        ]
        for one in held
        if one.object is not None and one.subject in places and one.object in places
    ]
    return {
        "nodes": nodes,
        "edges": edges,
        "types": list(types.names),
        "sources": [graph.source(index, name) for name in sources.names],
        "predicates": [graph.label(index, name) for name in predicates.names],
        "contributions": [
            f"{one['title'][:80]} ({one['author'][:60]})" for one in index.contributions
        ],
        "entities": index.counts["entities"],
    }


def _largest(index: Index, limit: int) -> list[Entity]:
    found: list[Entity] = []
    while len(found) < limit:
        part = index.search(after=len(found), limit=min(1_000, limit - len(found)))
        found += part
        if len(part) < 1_000:
            break
    return found
