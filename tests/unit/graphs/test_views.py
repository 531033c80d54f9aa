# SPDX-License-Identifier: Apache-2.0
"""Views of a graph, and the shapes that are checked on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import BadInput, TooLarge
from plait.graphs.constraints import Bounds, check_shapes
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


SPARQL = """
@prefix sh: <http://www.w3.org/ns/shacl#> .
<urn:plait:S> a sh:NodeShape ; sh:targetClass <urn:plait:Country> ;
  sh:sparql [ sh:select "SELECT $this WHERE { %s }" ; sh:message "No." ] .
"""


def test_queries_that_reach_out_are_refused(tmp_path: Path) -> None:
    for query, said in (
        ("SERVICE <http://127.0.0.1:1/> { $this ?p ?o }", "SERVICE"),
        ("$this ?p ?o } #\\nFROM <http://127.0.0.1:1/> {", "FROM"),
    ):
        with pytest.raises(BadInput, match=f"with {said}, which reaches out"):
            check_shapes(disagreeing(), SPARQL % query)
    # What is only called so is a query like any other.
    assert check_shapes(disagreeing(), SPARQL % "$this <urn:service> ?from") == []
    with pytest.raises(BadInput, match=r"shapes\.ttl cannot be used: .*SPARQL"):
        check_shapes(disagreeing(), SPARQL % "MINUS { $this ?p ?o }")


RULE = """
@prefix sh: <http://www.w3.org/ns/shacl#> .
<urn:plait:S> a sh:NodeShape ; sh:targetSubjectsOf <urn:plait:%s> ;
  sh:rule [ a sh:TripleRule ; sh:subject sh:this ; sh:predicate <urn:plait:reached> ;
            sh:object [ sh:path ( <urn:plait:reached> <urn:plait:reached> ) ] ] ;
  sh:rule [ a sh:TripleRule ; sh:subject sh:this ; sh:predicate <urn:plait:reached> ;
            sh:object [ sh:path <urn:plait:next> ] ] ;
  sh:property [ sh:path <urn:plait:reached> ; sh:maxCount %d ; sh:message "Too far." ] .
"""


def test_rules_of_shapes_are_applied_until_they_say_nothing_new() -> None:
    builder = Builder()
    for number in range(6):
        builder.statement(f"e{number}", "next", object=f"e{number + 1}", source="a")
    graph = builder.build()
    found = check_shapes(graph, RULE % ("next", 4))
    assert [(one.entity, one.message) for one in found] == [("e0", "Too far."), ("e1", "Too far.")]
    assert len(check_shapes(graph, RULE % ("next", 6))) == 0


def test_rules_without_an_end_are_ended() -> None:
    breeding = '''
    @prefix sh: <http://www.w3.org/ns/shacl#> .
    <urn:plait:S> a sh:NodeShape ; sh:targetSubjectsOf <urn:plait:capital> ;
      sh:rule [ a sh:SPARQLRule ; sh:construct
        """CONSTRUCT { $this <urn:plait:capital> ?n }
           WHERE { $this <urn:plait:capital> ?o . BIND(UUID() AS ?n) }""" ] .
    '''
    with pytest.raises((BadInput, TooLarge), match=r"iteration|was ended"):
        check_shapes(disagreeing(), breeding, bounds=Bounds(seconds=3))
    slow = SPARQL % "?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l . ?m ?n ?o . ?p ?q ?r . ?s ?t ?u"
    with pytest.raises(TooLarge, match=r"more than 3 seconds or 4 GiB .* was ended"):
        check_shapes(disagreeing(), slow, bounds=Bounds(seconds=3))
