# SPDX-License-Identifier: Apache-2.0
"""A graph's page, its picture's data, what is said of an entity, queries."""

from __future__ import annotations

import re
from hashlib import sha256
from importlib.resources import files

import pytest

from countries import HOSTILE, Atlas
from plait.hub import AddBytes

from .conftest import Browser

AT = "/datasets/ann/countries/graph"


def test_the_page_has_a_table_beside_its_picture(browser: Browser) -> None:
    text = browser(None).get(AT).text
    assert "data-graph=" in text
    for name in ("France", "Germany", "Kazakhstan", "Berlin"):
        assert f">{name}</a></th>" in text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert 'aria-current="page">Graph' in text


def test_names_are_shown_in_the_visitors_language(browser: Browser) -> None:
    client = browser(None)
    text = client.get(AT, params={"lang": "zh"}).text
    assert ">德国</a></th>" in text
    data = client.get(AT + "/picture", params={"lang": "zh"}).json()
    assert {"德国", "法国"} <= {node[1] for node in data["nodes"]}
    assert "首都" in data["predicates"]


@pytest.mark.parametrize(
    ("asked", "found", "missing"),
    [
        ({"q": "herz"}, "Bosnia", "France"),
        ({"type": "City"}, "Berlin", ">France</a></th>"),
        ({"source": "geo"}, "Kazakhstan", ">Bosnia"),
        ({"q": "<script>"}, "Nothing of that name", "<script>alert"),
        ({"page": "99999999"}, "Nothing of that name", ">France</a></th>"),
    ],
)
def test_the_table_is_filtered(
    browser: Browser, asked: dict[str, str], found: str, missing: str
) -> None:
    text = browser(None).get(AT, params=asked).text
    assert found in text
    assert missing not in text


def test_an_entity_shows_every_statement_with_its_source(browser: Browser) -> None:
    text = browser(None).get(AT, params={"entity": "kz"}).text
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    preferred = next(row for row in rows if "Astana" in row)
    other = next(row for row in rows if "Nur-Sultan" in row)
    assert "preferred" in preferred
    assert "The Atlas" in preferred
    assert "Geo" in other
    assert "0.50" in other
    german = browser(None).get(AT, params={"entity": "de"}).text
    assert "Berlin is the capital." in german
    assert "CC0-1.0" in german
    assert "Federal Republic of Germany" in german
    sure = browser(None).get(AT, params={"entity": "kz", "confidence": "0.9"}).text
    assert "Nur-Sultan" not in sure
    assert browser(None).get(AT, params={"entity": "nobody"}).status_code == 404


def test_the_picture_has_what_it_shows_by_source_and_contribution(
    browser: Browser, atlas: Atlas
) -> None:
    data = browser(None).get(AT + "/picture").json()
    names = [node[1] for node in data["nodes"]]
    assert HOSTILE in names  # data; the script writes it as text
    said = {
        (names[a], data["predicates"][p], names[b], data["sources"][s])
        for a, b, p, s, _, _ in data["edges"]
    }
    assert ("France", "capital", "Paris", "The Atlas") in said
    assert ("Kazakhstan", "capital", "Nur-Sultan", "Geo") in said
    assert data["contributions"] == ["The graph (ann)"]
    assert {edge[5] for edge in data["edges"]} == {0}
    few = browser(None).get(AT + "/picture", params={"limit": "3"}).json()
    assert len(few["nodes"]) == 3
    near = browser(None).get(AT + "/picture", params={"entity": "paris"}).json()
    assert {node[1] for node in near["nodes"]} == {"Paris", "France"}


def test_facts_about_one_and_between_two(browser: Browser) -> None:
    one = browser(None).get(AT + "/facts", params={"entity": "fr"}).text
    assert "<html" not in one
    assert 'href="https://flags.example/fr.svg" rel="nofollow noopener ugc"' in one
    two = browser(None).get(AT + "/facts", params={"entity": "fr", "other": "de"}).text
    assert "borders" in two
    assert "Paris" not in two


def test_queries_are_asked_on_a_page(browser: Browser) -> None:
    client = browser(None)
    assert "MATCH (a:Entity)-[r:`capital`]" in client.get(AT + "/query").text
    query = "MATCH (a:Entity)-[:capital]->(b) RETURN a, b.name ORDER BY b.name"
    answer = client.post(AT + "/query", data={"language": "cypher", "query": query})
    assert answer.status_code == 200
    assert f'<a href="{AT}?entity=fr">France</a>' in answer.text
    sparql = "SELECT ?c { <urn:plait:fr> <urn:plait:capital> ?c }"
    answer = client.post(AT + "/query", data={"language": "sparql", "query": sparql})
    assert "paris" in answer.text
    for bad in ("CREATE (a)", "<script>alert(1)</script>", ""):
        answer = client.post(AT + "/query", data={"language": "cypher", "query": bad})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
        assert "<script>alert" not in answer.text
    far = client.post(
        AT + "/query",
        data={"query": "RETURN 1"},
        headers={"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
    )
    assert far.status_code == 403


@pytest.mark.parametrize("page", ["", "/facts?entity=fr", "/picture", "/query"])
def test_what_is_private_is_not_there(browser: Browser, page: str) -> None:
    secret = AT.replace("countries", "secret") + page
    for name in (None, "bob"):
        assert browser(name).get(secret).status_code == 404
    assert browser("ann").get(secret).status_code == 200


def test_what_is_no_graph_has_no_such_page(browser: Browser, atlas: Atlas) -> None:
    ann = atlas.actor()
    atlas.hub.repositories.create(ann, "dataset", "ann/plain")
    client = browser("ann")
    assert client.get("/datasets/ann/plain/graph").status_code == 404
    assert "/datasets/ann/plain/graph" not in client.get("/datasets/ann/plain").text
    assert f'href="{AT}"' in client.get("/datasets/ann/countries").text


def test_another_revision(browser: Browser, atlas: Atlas) -> None:
    done = atlas.hub.commits.apply(
        atlas.actor(), atlas.repo, "main", [AddBytes("n.txt", b"x")], "Note", create_pr=True
    )
    assert done.discussion is not None
    revision = f"refs/pr/{done.discussion.number}"
    text = browser(None).get(AT, params={"revision": revision}).text
    assert f"<code>{revision}</code>" in text
    assert "revision=refs%2Fpr%2F" in text
    assert browser(None).get(AT, params={"revision": "nothing"}).status_code == 404


def test_libraries_are_as_their_authors_published_them(browser: Browser) -> None:
    folder = files("plait.web") / "static" / "vendor"
    lines = (folder / "LICENSES.txt").read_text("utf-8").splitlines()
    found = [re.match(r"([0-9a-f]{64})  (\S+)", line) for line in lines]
    told = {one[2]: one[1] for one in found if one}
    assert len(told) == 3
    for name, digest in told.items():
        data = browser(None).get(f"/static/{name}").content
        assert sha256(data).hexdigest() == digest
