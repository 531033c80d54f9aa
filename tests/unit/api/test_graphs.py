# SPDX-License-Identifier: Apache-2.0
"""Asking a graph over the API: look-up, neighbourhoods, context, queries, export, attackers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from countries import Atlas, build_atlas
from plait.graphs.exchange import import_graph
from plait.hub import AddBytes

AT = "/api/plait/datasets/ann/countries/graph/main"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    made = build_atlas(tmp_path_factory.mktemp("atlas") / "hub")
    yield made
    made.hub.close()


@pytest.fixture(scope="module")
def client(atlas: Atlas) -> TestClient:
    return TestClient(atlas.app, base_url="http://hub.test")


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(AT + path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(found: Any) -> list[str]:
    return [one["id"] for one in found["entities"]]


def test_what_it_holds(client: TestClient) -> None:
    told = get(client, "")
    assert told["title"] == "Countries"
    assert told["statements"] == 10
    assert told["entities"] == 10  # two pairs are one each
    assert (told["conflicts"], told["open"]) == (2, 1)
    assert told["sources"] == {"atlas": 5, "geo": 5}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"name": "GERMANY"}, ["de"]),
        ({"name": "德国"}, ["de"]),
        ({"name": "Federal Republic of Germany"}, ["de"]),
        ({"prefix": "Herz"}, ["ba"]),
        ({"prefix": "қаз"}, ["kz"]),
        ({"name": "Ger"}, []),
        ({"id": "geo:de"}, ["de"]),
        ({"id": "nobody"}, []),
        ({"type": "City", "prefix": "ast"}, ["astana"]),
        ({"prefix": "%"}, []),
        ({"name": "' OR 1=1 --"}, []),
    ],
)
def test_look_up(client: TestClient, asked: dict[str, str], expected: list[str]) -> None:
    assert ids(get(client, "/entities", **asked)) == expected


def test_look_up_in_pages(client: TestClient) -> None:
    first = ids(get(client, "/entities", limit=4))
    rest = ids(get(client, "/entities", offset=4, limit=1000))
    assert len(first) == 4
    assert len({*first, *rest}) == 10


def test_neighbourhood(client: TestClient) -> None:
    near = get(client, "/neighbourhood", id="paris", depth=1)
    assert {one["id"]: one["distance"] for one in near["entities"]} == {"paris": 0, "fr": 1}
    far = get(client, "/neighbourhood", id="paris", depth=3)
    assert {one["id"]: one["distance"] for one in far["entities"]}["at"] == 3
    assert all(one["source"] in ("atlas", "geo") for one in far["statements"])
    assert not far["truncated"]
    assert get(client, "/neighbourhood", id="paris", depth=3, limit=2)["truncated"]


def test_neighbourhood_filtered(client: TestClient) -> None:
    def said(**filters: Any) -> set[str]:
        found = get(client, "/neighbourhood", id="fr", **filters)["statements"]
        return {one["predicate"] for one in found}

    assert said() == {"capital", "borders", "flag"}
    assert said(predicate="capital") == {"capital"}
    assert said(source="geo") == {"borders", "flag"}
    assert said(source="geo", confidence=0.5) == {"flag"}
    answer = client.get(AT + "/neighbourhood", params={"id": "nobody"})
    assert answer.status_code == 404
    assert "no entity 'nobody'" in answer.json()["error"]


def ask(client: TestClient, **body: Any) -> Any:
    answer = client.post(AT + "/context", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_context_for_a_model(client: TestClient) -> None:
    told = ask(client, question="What is the capital of Kazakhstan?")
    assert ids(told) == ["kz"]
    # What another value is preferred to is not said.
    assert "Astana" in told["text"].splitlines()[0]
    assert "Nur-Sultan" not in told["text"]
    assert told["statements"][0]["source"] == "atlas"
    assert told["text"].splitlines()[0].startswith("[1] Kazakhstan — capital: Astana")
    chinese = ask(client, question="德国的首都是什么？")
    assert ids(chinese) == ["de"]
    assert "Berlin" in chinese["text"]


def test_context_keeps_its_budget(client: TestClient) -> None:
    full = ask(client, question="Germany and France", tokens=2000)
    for tokens in (1, 20, 40, 80):
        told = ask(client, question="Germany and France", tokens=tokens)
        assert told["tokens"] <= tokens
        assert told["truncated"]
        assert full["text"].startswith(told["text"])
        lines = len(told["text"].splitlines())
        assert {one["line"] for one in told["statements"]} == set(range(1, lines + 1))


def test_context_is_one_line_a_statement(client: TestClient, atlas: Atlas) -> None:
    assert ask(client, question="nothing of this")["text"] == ""
    assert client.post(AT + "/context", json={}).status_code == 400


def test_export_is_read_back(client: TestClient, tmp_path: Path) -> None:
    answer = client.get(AT + "/export", params={"id": "geo:de", "format": "turtle", "depth": 1})
    assert answer.status_code == 200
    path = tmp_path / "part.ttl"
    path.write_bytes(answer.content)
    graph = import_graph(path, source="x").graph
    said = {(row["predicate"], row["source"]) for row in graph.statements.to_pylist()}
    assert {("capital", "atlas"), ("population", "geo"), ("borders", "geo")} <= said
    for name in ("csv", "tsv", "ntriples", "nquads", "trig", "jsonld", "graphml", "gexf", "cypher"):
        done = client.get(AT + "/export", params={"id": "fr", "format": name})
        assert done.status_code == 200, done.text
        assert b"aris" in done.content
        assert done.headers["content-disposition"].startswith("attachment")
    bad = client.get(AT + "/export", params={"id": "fr", "format": "../../etc/passwd"})
    assert bad.status_code == 400


def query(client: TestClient, text: str, **more: Any) -> Any:
    return client.post(AT + "/query", json={"query": text, **more})


def test_cypher(client: TestClient) -> None:
    answer = query(
        client,
        "MATCH (a:Entity)-[:capital]->(b:Entity) WHERE a.name = $n RETURN b.name",
        parameters={"n": "Kazakhstan"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == [["Astana"]]
    injected = query(
        client,
        "MATCH (a:Entity) WHERE a.name = $n RETURN a.id",
        parameters={"n": "x' OR 1=1 //"},
    )
    assert injected.json()["rows"] == []


def test_sparql(client: TestClient) -> None:
    text = "SELECT ?c { <urn:plait:fr> <urn:plait:capital> ?c }"
    answer = query(client, text, language="sparql")
    assert answer.status_code == 200, answer.text
    assert "paris" in str(answer.json()["rows"])


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("cypher", "CREATE (a:Entity {id: 'x'})"),
        ("cypher", "MATCH (a) DETACH DELETE a"),
        ("cypher", "MATCH (a) SET a.name = 'x'"),
        ("cypher", "LOAD FROM '/etc/passwd' RETURN *"),
        ("cypher", "COPY (MATCH (a) RETURN a) TO '/tmp/stolen.csv'"),
        ("cypher", "ATTACH '/tmp/x' AS y (dbtype sqlite)"),
        ("cypher", "CALL show_tables() RETURN *"),
        ("cypher", "RETURN 1; MATCH (a) RETURN a"),
        ("cypher", "nonsense"),
        ("cypher", "   "),
        ("sparql", "INSERT DATA { <x:a> <x:b> <x:c> }"),
        ("sparql", "SELECT * { SERVICE <http://127.0.0.1/> { ?s ?p ?o } }"),
        ("sparql", "LOAD <file:///etc/passwd>"),
        ("gremlin", "g.V()"),
    ],
)
def test_queries_that_do_more_than_read_are_refused(
    client: TestClient, language: str, text: str
) -> None:
    answer = query(client, text, language=language)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert get(client, "")["statements"] == 10


def test_a_query_that_would_run_for_ever_is_ended(client: TestClient) -> None:
    text = (
        "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b "
        "UNWIND range(1, 100000) AS c RETURN sum(a * b + c)"
    )
    answer = query(client, text, seconds=1)
    assert answer.status_code == 413
    assert "seconds" in answer.json()["error"]


def test_what_is_private_is_not_there(client: TestClient, atlas: Atlas) -> None:
    secret, nothing = AT.replace("countries", "secret"), AT.replace("countries", "nothing")
    asked = [
        ("GET", "", None),
        ("GET", "/entities?name=France", None),
        ("GET", "/neighbourhood?id=fr", None),
        ("GET", "/export?id=fr", None),
        ("POST", "/context", {"question": "France"}),
        ("POST", "/query", {"query": "MATCH (a) RETURN a"}),
    ]
    bob = {"Authorization": f"Bearer {atlas.token('bob')}"}
    ann = {"Authorization": f"Bearer {atlas.token('ann')}"}
    for method, path, body in asked:
        for headers, status in (({}, 401), (bob, 404)):
            found = client.request(method, secret + path, json=body, headers=headers)
            other = client.request(method, nothing + path, json=body, headers=headers)
            assert found.status_code == other.status_code == status
            assert found.json() == {
                **other.json(),
                "error": other.json()["error"].replace("nothing", "secret"),
            }
        assert client.request(method, secret + path, json=body, headers=ann).status_code == 200


def test_a_gated_graph_tells_nothing(client: TestClient, atlas: Atlas) -> None:
    ann = atlas.actor()
    repo = atlas.hub.repositories.get(ann, "dataset", "ann/secret")
    atlas.hub.repositories.update(ann, repo, private=False, gated="manual")
    try:
        bob = {"Authorization": f"Bearer {atlas.token('bob')}"}
        answer = client.get(AT.replace("countries", "secret") + "/entities", headers=bob)
        assert answer.status_code == 403
    finally:
        repo = atlas.hub.repositories.get(ann, "dataset", "ann/secret")
        atlas.hub.repositories.update(ann, repo, private=True, gated="")


def test_what_is_no_graph(client: TestClient, atlas: Atlas) -> None:
    ann = atlas.actor()
    atlas.hub.repositories.create(ann, "dataset", "ann/plain")
    answer = client.get(AT.replace("countries", "plain"))
    assert answer.status_code == 404
    assert "knowledge-graph" in answer.json()["error"]


def test_a_damaged_graph_is_told_and_not_read_again(client: TestClient, atlas: Atlas) -> None:
    ann = atlas.actor()
    atlas.hub.repositories.create(ann, "dataset", "ann/damaged")
    repo = atlas.hub.repositories.get(ann, "dataset", "ann/damaged")
    files = [
        AddBytes("graph/entities.parquet", b"PAR1 no"),
        AddBytes("graph/statements.parquet", b"PAR1 no"),
    ]
    atlas.hub.commits.apply(ann, repo, "main", files, "Damaged")
    for _ in range(2):
        answer = client.get(AT.replace("countries", "damaged"))
        assert answer.status_code == 400
        assert "entities.parquet is no Parquet file" in answer.json()["error"]
        assert str(atlas.hub.settings.dir) not in answer.json()["error"]


def test_a_commit_to_the_card_makes_no_copy_anew(client: TestClient, atlas: Atlas) -> None:
    folder = atlas.hub.settings.work_dir / "graphs"
    get(client, "")
    before = {path.name for path in folder.glob("*.sqlite")}
    atlas.hub.commits.apply(
        atlas.actor(), atlas.repo, "main", [AddBytes("notes.txt", b"x")], "Notes"
    )
    get(client, "")
    assert {path.name for path in folder.glob("*.sqlite")} == before


def test_what_the_api_says_of_itself(client: TestClient) -> None:
    told = client.get("/api/plait/openapi.json").json()["paths"]
    paths = [path for path in told if "/graph/{revision}" in path]
    assert len(paths) == 8
    for path in paths:
        for one in told[path].values():
            assert one["summary"]
            assert len(one["description"]) > 40


def test_answers_over_the_api(tmp_path: Path) -> None:
    atlas = build_atlas(tmp_path / "hub")
    client = TestClient(atlas.app, base_url="http://hub.test")
    ann = {"Authorization": f"Bearer {atlas.token('ann')}"}
    bob = {"Authorization": f"Bearer {atlas.token('bob')}"}
    told = get(client, "/conflicts")
    assert (told["count"], told["open"]) == (2, 1)
    (conflict,) = told["conflicts"]
    assert [one["value"] for one in conflict["options"]] == ["83000000", "84000000"]
    chosen = conflict["options"][1]["statements"][0]
    assert (chosen["source"], chosen["licence"]) == ("geo", "CC-BY-4.0")
    body = {"statements": [chosen["id"]], "reason": "newer"}
    assert client.post(AT + "/conflicts", json=body).status_code == 401
    proposed = client.post(AT + "/conflicts", json=body, headers=bob)
    assert proposed.json()["pull"] == 1
    done = client.post(AT + "/conflicts", json=body, headers=ann)
    assert done.status_code == 200, done.text
    assert done.json()["pull"] is None
    assert get(client, "/conflicts")["open"] == 0
    assert len(get(client, "/conflicts", settled=True)["conflicts"]) == 2
    again = client.post(AT + "/conflicts", json={"statements": ["0" * 32]}, headers=ann)
    assert again.status_code == 400

    claims = get(client, "/identities")["claims"]
    assert [one["a"] for one in claims] == ["at", "de"]
    assert claims[0]["because"][0] == {"evidence": "capital", "likeness": 1.0, "bits": 6.2}
    answer = {"answers": [{"a": "geo:de", "b": "de", "same": False}]}
    assert client.post(AT + "/identities", json=answer, headers=ann).status_code == 200
    assert [one["a"] for one in get(client, "/identities")["claims"]] == ["at"]
    assert ids(get(client, "/entities", id="geo:de")) == ["geo:de"]
    atlas.hub.close()
