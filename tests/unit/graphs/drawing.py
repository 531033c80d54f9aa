# SPDX-License-Identifier: Apache-2.0
"""Small random graphs for the laws."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from plait.graphs import schema
from plait.graphs.graph import Builder, Graph, make
from plait.graphs.identity import claim
from plait.recipes.graph import GraphFile, Predicate, Source

FILE = GraphFile(
    sources={"a": Source(trust=0.9), "b": Source(trust=0.4)},
    predicates={
        "capital": Predicate(functional=True, datatype="entity"),
        "area": Predicate(functional=True, datatype="decimal", policy=("recency",)),
        "motto": Predicate(functional=True, policy=("ask",)),
    },
)
ENTITIES = [f"e{number}" for number in range(6)]
SOURCES = ["a", "b", "c"]
TIMES = [None, "2001", "2010-05", "2020-01-31"]


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the arguments of a statement."""
    predicate = draw(st.sampled_from(["capital", "area", "motto", "borders"]))
    said: dict[str, Any] = {
        "subject": draw(st.sampled_from(ENTITIES)),
        "predicate": predicate,
        "source": draw(st.sampled_from(SOURCES)),
        "confidence": draw(st.sampled_from([None, 0.2, 0.9])),
        "recorded": draw(st.sampled_from(TIMES)),
        "rank": draw(st.sampled_from(schema.RANKS)),
        "evidence": draw(st.lists(st.sampled_from(["x", "y"]), max_size=2)),
    }
    if predicate in ("capital", "borders"):
        said["object"] = draw(st.sampled_from(ENTITIES))
    elif predicate == "area":
        said["value"] = draw(st.sampled_from(["1", "1.50", "2"]))
        said["datatype"] = "decimal"
    else:
        said["value"] = draw(st.sampled_from(["Freedom", "Order"]))
    return said


@st.composite
def graphs(draw: st.DrawFn, start: Graph | None = None) -> Graph:
    """Draw a graph; one made from another keeps most of its statements."""
    builder = Builder(FILE)
    if start is not None:
        keep = draw(st.integers(0, 3))
        for place, row in enumerate(start.statements.to_pylist()):
            if (place + keep) % 4:
                builder.add("statements", row)
        for name in ("entities", "identities", "decisions"):
            for row in start.table(name).to_pylist():
                builder.add(name, row)
    for said in draw(st.lists(statements(), max_size=6)):
        builder.statement(**said)
    for name in draw(st.lists(st.sampled_from(ENTITIES), max_size=3)):
        builder.label(name, draw(st.sampled_from(["One", "Eins"])), language="en", source="a")
    for _ in range(draw(st.integers(0, 2))):
        a, b = draw(st.permutations(ENTITIES))[:2]
        relation = draw(st.sampled_from(schema.RELATIONS))
        score = draw(st.sampled_from([0.5, 1.0]))
        source = draw(st.sampled_from(["align", "person:ann"]))
        builder.add("identities", claim(a, b, relation, source=source, score=score))
    graph = builder.build()
    held = graph.statements.column("id").to_pylist()
    chosen = draw(st.lists(st.sampled_from(held), max_size=1)) if held else []
    return make(
        FILE,
        **{name: graph.table(name).to_pylist() for name in schema.TABLES if name != "decisions"},
        decisions=[
            *graph.decisions.to_pylist(),
            *(
                {"statement": one, "by": "ann", "at": draw(st.sampled_from(TIMES))}
                for one in chosen
            ),
        ],
    )
