# SPDX-License-Identifier: Apache-2.0
"""The same questions to every engine: Ladybug, ArcadeDB over Bolt, Neo4j if there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plait.errors import BadInput, TooLarge
from plait.graphs.exchange import export_graph
from plait.graphs.exchange.bolt import Server, send, session
from plait.graphs.graph import Builder, Graph
from plait.graphs.query import Answer, Limits, ask_bolt, ask_embedded, ask_sparql
from plait.graphs.query.projection import ensure
from plait.recipes.graph import GraphFile, Predicate

Ask = Callable[..., Answer]


def sample() -> Graph:
    file = GraphFile(predicates={"population": Predicate(datatype="integer")})
    builder = Builder(file)
    cities = {"berlin": 3677472, "paris": 2102650, "rome": 2748109}
    for name, people in cities.items():
        builder.entity(name, types=["City", "Place"])
        builder.label(name, name.title(), language="en", source="a")
        builder.statement(name, "population", value=str(people), source="a")
    builder.statement("berlin", "capital of", object="germany", source="a", confidence=0.9)
    builder.statement("paris", "capital of", object="france", source="b", recorded="2020")
    builder.statement("rome", "capital of", object="italy", source="a")
    builder.statement("bonn", "capital of", object="germany", source="a", rank="deprecated")
    builder.statement("germany", "borders", object="france", source="a", evidence=["A sentence."])
    builder.statement("france", "borders", object="italy", source="a")
    return builder.build()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ladybug", reason="ladybug is not installed")
    return ensure(sample, tmp_path_factory.mktemp("projection"), "sample")


@pytest.fixture(params=["ladybug", "arcadedb", "neo4j"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "ladybug":
        return partial(ask_embedded, request.getfixturevalue("database"))
    if request.param == "neo4j" and not os.environ.get("PLAIT_TEST_NEO4J_URI"):
        pytest.skip("PLAIT_TEST_NEO4J_URI names no Neo4j to test against")
    server: Server = (
        request.getfixturevalue("arcade")
        if request.param == "arcadedb"
        else Server(
            os.environ["PLAIT_TEST_NEO4J_URI"],
            os.environ.get("PLAIT_TEST_NEO4J_USER", "neo4j"),
            os.environ.get("PLAIT_TEST_NEO4J_PASSWORD", ""),
        )
    )
    with session(server) as opened:
        opened.run("MATCH (n) DETACH DELETE n").consume()
    send(sample(), server)
    return partial(ask_bolt, server)


def rows(answer: Answer) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in answer.rows]


def test_names_values_and_parameters(ask: Ask) -> None:
    answer = ask(
        "MATCH (c:Entity {id: $city}) RETURN c.name AS name, c.population AS people",
        {"city": "berlin"},
    )
    assert answer.columns == ("name", "people")
    assert rows(answer) == [("Berlin", 3677472)]


def test_relationships_and_where_they_come_from(ask: Ask) -> None:
    answer = ask(
        "MATCH (c:Entity)-[r:`capital of`]->(s:Entity) RETURN c.id, s.id, r.source ORDER BY c.id"
    )
    assert rows(answer) == [
        ("berlin", "germany", "a"),
        ("paris", "france", "b"),
        ("rome", "italy", "a"),
    ], "what is deprecated is not there"


def test_types_are_asked_for_alike(ask: Ask) -> None:
    answer = ask("MATCH (c:Entity) WHERE 'City' IN c.types RETURN count(c)")
    assert rows(answer) == [(3,)]


def test_two_steps_and_ordering(ask: Ask) -> None:
    answer = ask(
        "MATCH (a:Entity {id: 'berlin'})-[:`capital of`]->(s:Entity)-[:borders]->(t:Entity) "
        "RETURN s.id, t.id"
    )
    assert rows(answer) == [("germany", "france")]
    answer = ask(
        "MATCH (c:Entity) WHERE c.population IS NOT NULL "
        "RETURN c.id ORDER BY c.population DESC LIMIT 2"
    )
    assert rows(answer) == [("berlin",), ("rome",)]


def test_whole_nodes_and_relationships_have_one_shape(ask: Ask) -> None:
    ((node, relationship),) = rows(
        ask("MATCH (c:Entity {id: 'berlin'})-[r:`capital of`]->(s:Entity) RETURN c, r")
    )
    shown: Mapping[str, Any] = node
    assert (shown["id"], shown["name"], sorted(shown["types"])) == (
        "berlin",
        "Berlin",
        ["City", "Place"],
    )
    assert relationship["predicate"] == "capital of"
    assert relationship["confidence"] == 0.9


def test_too_many_rows_are_cut_and_told(ask: Ask) -> None:
    answer = ask("MATCH (a:Entity) RETURN a.id ORDER BY a.id", limits=Limits(rows=2))
    assert (len(answer.rows), answer.truncated) == (2, True)


def test_what_is_wrong_is_said(ask: Ask) -> None:
    with pytest.raises(BadInput):
        ask("MATCH (a:Entity RETURN a")
    with pytest.raises(BadInput, match="CREATE changes a graph"):
        ask("CREATE (a:Entity {id: 'x'})")


def test_a_query_that_would_run_for_ever_is_ended(database: Path) -> None:
    query = "UNWIND range(1, 1000000) AS x UNWIND range(1, 1000000) AS y RETURN sum(x * y)"
    with pytest.raises(TooLarge, match="took more than 1 seconds and was ended"):
        ask_embedded(database, query, limits=Limits(seconds=1))


def test_a_query_that_eats_memory_is_ended(database: Path) -> None:
    query = "UNWIND range(1, 50000000) AS x WITH collect(x) AS all RETURN size(all)"
    with pytest.raises(TooLarge, match="memory"):
        ask_embedded(database, query, limits=Limits(seconds=30, memory=256 * 2**20))


def test_the_copy_is_made_once_and_again_when_it_is_gone(tmp_path: Path) -> None:
    pytest.importorskip("ladybug", reason="ladybug is not installed")
    made = []

    def graph() -> Graph:
        made.append(1)
        return sample()

    first = ensure(graph, tmp_path, "x")
    assert ensure(graph, tmp_path, "x") == first
    assert len(made) == 1
    first.unlink()
    assert rows(ask_embedded(ensure(graph, tmp_path, "x"), "MATCH (a:Entity) RETURN count(a)")) == [
        (7,)
    ]
    assert len(made) == 2
    assert [one.name for one in tmp_path.iterdir()] == [first.name]


def test_sparql(tmp_path: Path) -> None:
    rdf = export_graph(sample(), tmp_path / "graph.nq")
    answer = ask_sparql(
        rdf,
        "SELECT ?c ?p WHERE { ?c <urn:plait:population> ?p . ?c a <urn:plait:City> } ORDER BY ?c",
    )
    assert answer.columns == ("c", "p")
    assert rows(answer)[0] == ("urn:plait:berlin", "3677472")
    assert rows(ask_sparql(rdf, "ASK { <urn:plait:bonn> <urn:plait:capital%20of> ?x }")) == [
        (False,)
    ]
    with pytest.raises(BadInput, match="SERVICE asks other servers"):
        ask_sparql(rdf, "SELECT * { SERVICE <http://127.0.0.1/> { ?a ?b ?c } }")
    with pytest.raises(BadInput, match="cannot be run"):
        ask_sparql(rdf, "DELETE WHERE { ?a ?b ?c }")
    endless = (
        "SELECT (COUNT(*) AS ?n) { " + " ".join(f"?a{i} ?b{i} ?c{i} ." for i in range(8)) + " }"
    )
    with pytest.raises(TooLarge, match="took more than"):
        ask_sparql(rdf, endless, Limits(seconds=0.1))
