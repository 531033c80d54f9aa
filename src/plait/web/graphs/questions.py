# SPDX-License-Identifier: Apache-2.0
"""The page on which a graph is asked in Cypher or SPARQL."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response

from plait.collaboration.graphs import ask, open_index
from plait.errors import BadInput, NotReady, TooLarge
from plait.graphs.lookup import Index
from plait.graphs.query import Answer
from plait.web.graphs.visit import GraphVisit
from plait.web.here import At
from plait.web.session import Form

ROWS = 200
LONGEST = 2_000
"""Characters of a cell."""


def show(at: At) -> Response:
    """Show an empty form, with queries that fit this graph."""
    graph = GraphVisit(at)
    with open_index(at.visit.hub, graph.found) as index:
        return _page(graph, index, graph.wanted("language", 20) or "cypher", "")


def ask_it(at: At, form: Form) -> Response:
    """Ask, and show the answer under the query."""
    graph = GraphVisit(at)
    language, query = form.get("language", "cypher")[:20], form.get("query", "")
    found = graph.found
    problem, answer, code = "", None, 200
    try:
        answer = ask(at.visit.hub, found, language, query.replace("\r\n", "\n"), rows=ROWS)
    except (BadInput, TooLarge, NotReady) as error:
        problem, code = error.message, error.status
    with open_index(at.visit.hub, found) as index:
        return _page(graph, index, language, query, answer, problem, code)


def _page(
    graph: GraphVisit,
    index: Index,
    language: str,
    query: str,
    answer: Answer | None = None,
    problem: str = "",
    code: int = 200,
) -> Response:
    return graph.render(
        "graph/query.html",
        index,
        "query",
        code=code,
        language="sparql" if language == "sparql" else "cypher",
        query=query,
        answer=answer,
        rows=[[_cell(graph, one) for one in row] for row in answer.rows] if answer else [],
        problem=problem,
        examples=_examples(index),
        predicates=list(index.counts["predicates"].items())[:30],
    )


def _cell(graph: GraphVisit, value: Any) -> tuple[str, str]:
    """Return a value as text, and the address of its page if it is an entity."""
    if isinstance(value, dict) and "id" in value and "types" in value:
        return str(value.get("name") or value["id"])[:LONGEST], graph.address(entity=value["id"])
    if value is None:
        return "", ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:LONGEST], ""


def _examples(index: Index) -> list[tuple[str, str]]:
    """Return queries over the graph's own predicates."""
    between = index.database.execute(
        "SELECT predicate FROM statement WHERE object IS NOT NULL GROUP BY 1 "
        "ORDER BY count(*) DESC, 1 LIMIT 1"
    ).fetchone()
    if between is None:
        return [("cypher", "MATCH (a:Entity) RETURN a.name, a.types LIMIT 20")]
    name = str(between[0]).replace("`", "``")
    most = f"MATCH (a:Entity)-[:`{name}`]-(b:Entity)\nRETURN a, count(b) AS n ORDER BY n DESC"
    return [
        ("cypher", f"MATCH (a:Entity)-[r:`{name}`]->(b:Entity)\nRETURN a, b, r.source LIMIT 20"),
        ("cypher", f"{most} LIMIT 20"),
        ("sparql", "SELECT ?subject ?predicate ?object\nWHERE { ?subject ?predicate ?object }"),
    ]
