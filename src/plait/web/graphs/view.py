# SPDX-License-Identifier: Apache-2.0
"""A graph's page: its picture, its entities as a table, and what is said of one of them."""

from __future__ import annotations

from fastapi import Response

from plait.collaboration.graphs import open_index
from plait.graphs.lookup import Entity, Filters, Index
from plait.web.graphs.visit import GraphVisit
from plait.web.here import At

PAGE = 50
FACTS = 100
MOST_CHOICES = 200


def show(at: At) -> Response:
    """Show the graph, or one entity of it."""
    graph = GraphVisit(at)
    with open_index(at.visit.hub, graph.found) as index:
        wanted = graph.wanted("entity")
        if wanted:
            return _entity(graph, index, index.entity(wanted))
        page = _number(graph.wanted("page", 9))
        prefix, kind = graph.wanted("q", 200), graph.wanted("type")
        sources = graph.filters().sources
        held = index.search(
            prefix=prefix,
            type=kind,
            source=sources[0] if sources else "",
            after=(page - 1) * PAGE,
            limit=PAGE + 1,
        )
        return graph.render(
            "graph/view.html",
            index,
            "graph",
            entities=held[:PAGE],
            q=prefix,
            type=kind,
            chosen=sources,
            types=list(index.counts["types"].items())[:MOST_CHOICES],
            sources=[
                (name, graph.source(index, name), count)
                for name, count in list(index.counts["sources"].items())[:MOST_CHOICES]
            ],
            before=at.visit.link(page=page - 1) if page > 1 else "",
            after=at.visit.link(page=page + 1) if len(held) > PAGE else "",
        )


def facts(at: At) -> Response:
    """Send what is said of an entity, or of two, as the piece of a page."""
    graph = GraphVisit(at)
    with open_index(at.visit.hub, graph.found) as index:
        entity = index.entity(graph.wanted("entity"))
        other = graph.wanted("other")
        filters = Filters(deprecated=True)
        if other:
            both = (entity.no, index.entity(other).no)
            held = index.between(both, filters, limit=FACTS)
        else:
            held = index.statements(entity.no, filters, limit=FACTS)
        return at.visit.render(
            "graph/_facts.html",
            graph=graph,
            entity=entity,
            between=index.entity(other) if other else None,
            facts=graph.facts(index, entity, held),
            level=3,
        )


def _entity(graph: GraphVisit, index: Index, entity: Entity) -> Response:
    page = _number(graph.wanted("page", 9))
    filters = graph.filters()
    held = index.statements(entity.no, filters, after=(page - 1) * FACTS, limit=FACTS + 1)
    visit = graph.at.visit
    return graph.render(
        "graph/entity.html",
        index,
        "graph",
        entity=entity,
        facts=graph.facts(index, entity, held[:FACTS]),
        between=None,
        before=visit.link(page=page - 1) if page > 1 else "",
        after=visit.link(page=page + 1) if len(held) > FACTS else "",
        sources=[
            (name, graph.source(index, name), count)
            for name, count in list(index.counts["sources"].items())[:MOST_CHOICES]
        ],
        chosen=filters.sources,
        confidence=filters.confidence,
        formats=("turtle", "csv", "jsonld", "gexf", "graphml", "cypher"),
        level=2,
    )


def _number(text: str) -> int:
    return max(int(text), 1) if text.isascii() and text.isdigit() else 1
