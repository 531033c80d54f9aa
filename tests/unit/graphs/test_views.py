# SPDX-License-Identifier: Apache-2.0
"""Views of a graph, and the shapes that are checked on them."""

from __future__ import annotations

import pytest

from plait.errors import BadInput, TooLarge
from plait.graphs.constraints import check_shapes
from plait.graphs.graph import Builder, Graph
from plait.graphs.identity import claim
from plait.graphs.merging import merge
from plait.graphs.view import collapsed, truthy
from plait.recipes.graph import GraphFile, Predicate, Source

SHAPES = """
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix e: <urn:plait:> .
e:CountryShape a sh:NodeShape ; sh:targetClass e:Country ;
  sh:property [ sh:path e:capital ; sh:maxCount 1 ; sh:minCount 1 ; sh:message "One capital." ] ;
  sh:property [ sh:path e:area ; sh:datatype <http://www.w3.org/2001/XMLSchema#integer> ;
                sh:severity sh:Warning ] .
"""


def disagreeing(trust: float = 0.9) -> Graph:
    file = GraphFile(
        sources={"a": Source(trust=trust), "b": Source(trust=0.5)},
        predicates={"capital": Predicate(functional=True)},
    )
    builder = Builder(file)
    builder.entity("kz", types=["Country"])
    builder.label("kz", "Kazakhstan", language="en", source="a")
    builder.label("KAZ", "Қазақстан", language="kk", source="b")
    builder.statement("kz", "capital", object="astana", source="a")
    builder.statement("KAZ", "capital", object="nursultan", source="b")
    builder.statement("kz", "area", value="big", source="a")
    builder.add("identities", claim("kz", "KAZ", source="align", score=1.0))
    return merge(None, [builder.build()]).graph


def test_a_class_of_identities_is_one_entity() -> None:
    graph = disagreeing()
    one = collapsed(graph)
    assert one.entities.column("id").to_pylist() == ["KAZ", "astana", "nursultan"]
    assert {label["text"] for label in one.entities.to_pylist()[0]["labels"]} == {
        "Kazakhstan",
        "Қазақстан",
    }
    assert {row["subject"] for row in one.statements.to_pylist()} == {"KAZ"}
    assert set(one.statements.column("id").to_pylist()) == set(
        graph.statements.column("id").to_pylist()
    )
    assert graph.entities.num_rows == 4, "the graph itself is as it was"


def test_what_is_preferred_stands_alone() -> None:
    kept = truthy(collapsed(disagreeing())).statements.to_pylist()
    assert {(row["predicate"], row["object"] or row["value"]) for row in kept} == {
        ("capital", "astana"),
        ("area", "big"),
    }


def test_shapes_hold_for_a_conflict_that_was_decided_and_not_for_an_open_one() -> None:
    decided = check_shapes(disagreeing(), SHAPES)
    assert [(one.severity, one.path) for one in decided] == [("warning", "area")]
    (gravest, _) = check_shapes(disagreeing(trust=0.5), SHAPES)
    assert (gravest.severity, gravest.entity, gravest.path, gravest.message) == (
        "violation",
        "KAZ",
        "capital",
        "One capital.",
    )


def test_shapes_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"shapes\.ttl is no Turtle"):
        check_shapes(disagreeing(), "@prefix nonsense")
    imports = "<urn:x> <http://www.w3.org/2002/07/owl#imports> <http://127.0.0.1/shapes> ."
    with pytest.raises(BadInput, match="imports other files"):
        check_shapes(disagreeing(), imports)
    monkeypatch.setattr("plait.graphs.constraints.MAX_STATEMENTS", 2)
    with pytest.raises(TooLarge, match="3 statements; shapes are checked on up to 2"):
        check_shapes(disagreeing(), SHAPES)
