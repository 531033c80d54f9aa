# SPDX-License-Identifier: Apache-2.0
"""Graphs go into a database by Neo4j's official driver, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import BadInput, StoreUnavailable
from plait.graphs import schema
from plait.graphs.exchange import bolt as transfer
from plait.graphs.exchange import receiving
from plait.graphs.exchange.bolt import Server, send, session
from plait.graphs.exchange.receiving import receive
from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Source


def sample(count: int = 30) -> Graph:
    builder = Builder(GraphFile(sources={"a": Source(), "b": Source()}))
    for number in range(count):
        name = f"city-{number:04}"
        builder.entity(name, types=["City", "Large `City`"] if number % 2 else ["City"])
        builder.label(name, f'City\'s "{number}" 城', language="en", source="a")
        builder.statement(
            name, "population", value=str(1000 * number), datatype="integer", source="a"
        )
        builder.statement(name, "motto", value="Line\none \\ 'two'", source="b", confidence=0.5)
        builder.statement(
            name, "lies next to", object=f"city-{(number + 1) % count:04}", source="a",
            evidence=["It lies there."], recorded="2024-05",
        )  # fmt: skip
    return builder.build()


def equal(a: Graph, b: Graph) -> bool:
    return all(a.table(name).equals(b.table(name)) for name in schema.TABLES)


def test_a_graph_comes_back_as_it_was(bolt: Server) -> None:
    graph = sample()
    assert send(graph, bolt) == {"nodes": 30, "relationships": 30}
    with session(bolt) as opened:
        found = opened.run(
            "MATCH (a:City {id: 'city-0003'})-[r:`lies next to`]->(b) "
            "RETURN a.population AS people, b.id AS next, r.source AS source"
        ).single()
        assert found.data() == {"people": 3000, "next": "city-0004", "source": "a"}
    back = receive(bolt, source="database", file=graph.file).graph
    assert equal(back, graph)


def test_sending_again_sends_nothing_and_doubles_nothing(bolt: Server) -> None:
    graph = sample()
    send(graph, bolt)
    assert send(graph, bolt) == {"nodes": 0, "relationships": 0}
    with session(bolt) as opened:
        assert opened.run("MATCH (n:Entity) RETURN count(n) AS n").single()["n"] == 30
        assert opened.run("MATCH ()-[r]->() RETURN count(r) AS n").single()["n"] == 30


def test_an_interrupted_transfer_goes_on(
    bolt: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in (transfer, __import__("plait.graphs.propertygraph", fromlist=["x"])):
        monkeypatch.setattr(module, "BATCH", 8)
    monkeypatch.setattr(receiving, "PAGE", 7)
    graph = sample()
    seen = 0

    def stop(done: int, stage: str) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(graph, bolt, progress=stop)
    sent = send(graph, bolt)
    assert 0 < sent["nodes"] < 30
    spool = tmp_path / "spool.jsonl"
    seen = 0
    with pytest.raises(KeyboardInterrupt):
        receive(bolt, source="database", file=graph.file, spool=spool, progress=stop)
    with spool.open("a") as torn:
        torn.write('["relationship", {"subj')
    assert equal(receive(bolt, source="database", file=graph.file, spool=spool).graph, graph)


def test_a_graph_that_others_wrote_is_read(bolt: Server) -> None:
    with session(bolt) as opened:
        opened.run(
            "CREATE (a:Person {key: 'ann', name: 'Ann', age: 30, tags: ['x', 'y']}), "
            "(b:Person {key: 'bob', born: date('1990-05-01')}), (a)-[:KNOWS {since: 2010}]->(b)"
        ).consume()
    made = receive(bolt, source="crm", key="key")
    rows = made.graph.statements.to_pylist()
    assert {(r["subject"], r["predicate"], r["object"] or r["value"]) for r in rows} == {
        ("ann", "KNOWS", "bob"),
        ("ann", "age", "30"),
        ("ann", "tags", "x"),
        ("ann", "tags", "y"),
        ("bob", "born", "1990-05-01"),
    }
    assert made.graph.entities.to_pylist()[0]["types"] == ["Person"]
    assert made.notes


def test_nodes_without_a_key_are_refused(bolt: Server) -> None:
    with session(bolt) as opened:
        opened.run("CREATE (:Person {name: 'Ann'})").consume()
    with pytest.raises(BadInput, match=r"1 nodes have no property 'id'.*--key"):
        receive(bolt, source="crm")


def test_nobody_there_and_a_wrong_password_are_told(arcade: Server) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        receive(Server("bolt://127.0.0.1:1"), source="x")
    with pytest.raises(StoreUnavailable, match="refuses the user 'root'"):
        receive(Server(arcade.uri, "root", "wrong", "graph"), source="x")


def test_reading_goes_on_from_wherever_it_was_interrupted(
    bolt: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builder = Builder(GraphFile(sources={"a": Source()}))
    for number in range(9):
        # A hub with more relationships than a page holds, and several between one pair.
        builder.statement("e4", f"p{number % 2}", object=f"e{number}", source="a")
        builder.statement("e4", f"q{number}", object="e5", source="a")
        builder.statement(f"e{number}", "p", object="e4", source="a")
        builder.statement(f"e{number}", "size", value=str(number), source="a")
    graph = builder.build()
    send(graph, bolt)
    monkeypatch.setattr(receiving, "PAGE", 2)
    stops = 0
    while True:
        stops += 1
        spool = tmp_path / f"{stops}.jsonl"
        seen: list[str] = []

        def stop(done: int, stage: str, seen: list[str] = seen, last: int = stops) -> None:
            seen.append(stage)
            if len(seen) == last:
                raise KeyboardInterrupt

        try:
            whole = receive(bolt, source="x", file=graph.file, spool=spool, progress=stop).graph
            break
        except KeyboardInterrupt:
            kept = spool.stat().st_size
        again: list[int] = []
        back = receive(
            bolt, source="x", file=graph.file, spool=spool,
            progress=lambda done, stage, again=again: again.append(done),
        ).graph  # fmt: skip
        assert spool.stat().st_size > kept
        assert equal(back, graph), f"interrupted {stops}"
    assert equal(whole, graph)
    assert stops > 12
    assert {"reading nodes", "reading relationships"} == set(seen)


def test_nodes_of_many_labels_or_none_are_read_once(
    bolt: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "PAGE", 2)
    with session(bolt) as opened:
        opened.run(
            "CREATE (a:B:A {no: 3}), (b:B {no: 1}), (c:C {no: 'x'}), (d {no: 2}), (e:A {no: 4}), "
            "(f:B {no: 7}), (g:B {no: 5}), (a)-[:R]->(b), (a)-[:R]->(c), (b)-[:S]->(a), "
            "(c)-[:R]->(d), (d)-[:R]->(a), (f)-[:R]->(g), (f)-[:R]->(b)"
        ).consume()
    graph = receive(bolt, source="x", key="no").graph
    said = {(r["subject"], r["predicate"], r["object"]) for r in graph.statements.to_pylist()}
    assert said == {
        ("3", "R", "1"), ("3", "R", "x"), ("1", "S", "3"), ("x", "R", "2"), ("2", "R", "3"),
        ("7", "R", "5"), ("7", "R", "1"),
    }  # fmt: skip
    types = {one["id"]: one["types"] for one in graph.entities.to_pylist()}
    assert types["3"] == ["A", "B"]
    assert types["2"] == []


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("(:A {id: 'x'}), (:A {id: 'x'})", "share the value 'x'"),
        ("(:A {id: 'v'}), (:A {id: 'w'}), (:A {id: 'x'}), (:A {id: 'x'})", "share"),
        ("(:A {id: 'x'}), (:A {id: 'x'}), (:A {id: 'y'}), (:A {id: 'z'})", "share"),
        ("(:A {id: 1}), (:B {id: 1})", "share the value '1'"),
        ("(:A {id: 1}), (:A {id: 'x'}), (:A {id: 'y'}), (:A {id: 'z'})", "texts here and numbers"),
        ("(:A {id: 1.5})", "'id' is 1.5; texts and whole numbers"),
    ],
)
def test_keys_that_identify_nothing_are_refused(
    bolt: Server, nodes: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "PAGE", 3)
    with session(bolt) as opened:
        opened.run(f"CREATE {nodes}").consume()
    with pytest.raises(BadInput, match=said):
        receive(bolt, source="x")
