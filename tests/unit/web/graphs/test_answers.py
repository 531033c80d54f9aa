# SPDX-License-Identifier: Apache-2.0
"""Conflicts settled and pairs judged on pages: commits, pull requests, strangers, bad forms."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from countries import Atlas
from plait.graphs import schema
from plait.graphs.graph import Graph
from plait.graphs.identity import resolve
from plait.graphs.storage import read_graph_from

from .conftest import Browser

AT = "/datasets/ann/countries/graph"


@pytest.fixture(autouse=True)
def as_it_was(atlas: Atlas) -> Iterator[None]:
    """Undo what a test commits."""
    before = atlas.hub.git.resolve(atlas.repo, "main")
    yield
    atlas.hub.git.set_ref(
        atlas.repo, "refs/heads/main", before, expected=atlas.hub.git.resolve(atlas.repo, "main")
    )


def stored(atlas: Atlas, revision: str = "main") -> Graph:
    oid = atlas.hub.git.resolve(atlas.repo, revision)

    def read(path: str) -> bytes | None:
        if not atlas.hub.git.entries(atlas.repo, oid, [path]):
            return None
        return b"".join(atlas.hub.commits.open_file(atlas.repo, oid, path).read())

    return read_graph_from(read, "the graph", verify=True)


def population(graph: Graph) -> dict[str, str]:
    return {
        row["value"]: row["rank"]
        for row in graph.statements.to_pylist()
        if row["predicate"] == "population"
    }


def choices(text: str) -> dict[str, tuple[str, str]]:
    """Return the field and the value of each choice by what it says."""
    found = re.findall(r'name="(choose:\d+)" value="(\w+)"[^>]*> <strong>([^<]*)</strong>', text)
    return {said: (field, value) for field, value, said in found}


def test_both_values_stand_side_by_side(browser: Browser) -> None:
    text = browser("ann").get(AT + "/conflicts").text
    fieldset = re.findall(r"<fieldset.*?</fieldset>", text, re.DOTALL)
    assert len(fieldset) == 1
    for word in ("83000000", "84000000", "The Atlas", "Geo", "CC-BY-4.0", "trust 0.90"):
        assert word in fieldset[0]
    settled = browser("ann").get(AT + "/conflicts", params={"settled": "yes"}).text
    assert "settled by the trust in sources" in settled
    assert settled.index("Astana") < settled.index("Nur-Sultan")
    stranger = browser(None).get(AT + "/conflicts").text
    assert "disabled" in stranger
    assert "Sign in to answer" in stranger


def test_settling_is_a_commit_with_a_decision(browser: Browser, atlas: Atlas) -> None:
    client = browser("ann")
    field, value = choices(client.get(AT + "/conflicts").text)["84000000"]
    answer = client.post(AT + "/conflicts", data={field: value, "reason": "Census of 2024"})
    assert answer.status_code == 303
    assert "done=answers" in answer.headers["location"]
    graph = stored(atlas)
    assert population(graph) == {"83000000": "normal", "84000000": "preferred"}
    (decision,) = graph.decisions.to_pylist()
    assert (decision["by"], decision["reason"]) == ("ann", "Census of 2024")
    commit = atlas.hub.git.commit_info(atlas.repo, atlas.hub.git.resolve(atlas.repo, "main"))
    assert (commit.title, commit.author) == ("Settle 1 conflict", "ann")
    assert "No conflict waits" in client.get(AT + "/conflicts").text
    # It can be decided anew, and nothing of the former value is lost.
    settled = client.get(AT + "/conflicts", params={"settled": "yes"}).text
    assert "settled by a person" in settled
    field, value = choices(settled)["83000000"]
    client.post(AT + "/conflicts", data={field: value})
    graph = stored(atlas)
    assert population(graph) == {"83000000": "preferred", "84000000": "normal"}
    assert graph.decisions.num_rows == 1
    assert len(graph) == 10


def test_who_may_not_commit_proposes(browser: Browser, atlas: Atlas) -> None:
    client = browser("bob")
    field, value = choices(client.get(AT + "/conflicts").text)["83000000"]
    answer = client.post(AT + "/conflicts", data={field: value})
    assert answer.status_code == 303
    number = int(answer.headers["location"].rpartition("/")[2])
    assert population(stored(atlas))["83000000"] == "normal"
    proposed = stored(atlas, f"refs/pr/{number}")
    assert population(proposed)["83000000"] == "preferred"
    assert proposed.decisions.to_pylist()[0]["by"] == "bob"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 400),
        ({"choose:1": "nothing"}, 400),
        ({"choose:1": "' OR 1=1"}, 400),
        ({"choose:1": ""}, 400),
        ({"choose:1": "x", "reason": "y" * 3000}, 400),
    ],
)
def test_bad_decisions(browser: Browser, atlas: Atlas, form: dict[str, str], status: int) -> None:
    before = atlas.hub.git.resolve(atlas.repo, "main")
    answer = browser("ann").post(AT + "/conflicts", data=form)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert atlas.hub.git.resolve(atlas.repo, "main") == before


def test_pairs_in_doubt_come_first_with_what_speaks_for_them(browser: Browser) -> None:
    text = browser("ann").get(AT + "/identities").text
    pairs = re.findall(r"<fieldset.*?</fieldset>", text, re.DOTALL)
    assert len(pairs) == 2
    assert "Österreich" in pairs[0]
    assert "0.62" in pairs[0]
    assert "Austria" in pairs[0]
    assert "+6.2" in pairs[0]
    # Each side says what its own sources say, though both are one in the graph.
    heads = re.findall(r'<th scope="col"><a [^>]*>([^<]*)</a> <code>([^<]*)</code>', pairs[1])
    assert {code for _, code in heads} == {"de", "geo:de"}
    assert "84000000" in pairs[1]


def answers(text: str, **given: str) -> dict[str, str]:
    fields = dict(re.findall(r'type="hidden" name="([ab]:\d+)" value="([^"]*)"', text))
    numbers = {value: name.partition(":")[2] for name, value in fields.items()}
    return {**fields, **{f"same:{numbers[one]}": value for one, value in given.items()}}


def test_a_persons_no_separates(browser: Browser, atlas: Atlas) -> None:
    client = browser("ann")
    assert resolve(stored(atlas)).of("geo:de") == "de"
    form = answers(client.get(AT + "/identities").text, de="no", at="yes")
    assert client.post(AT + "/identities", data=form).status_code == 303
    graph = stored(atlas)
    said = {
        (row["a"], row["b"]): row["relation"]
        for row in graph.identities.to_pylist()
        if row["source"] == "person:ann"
    }
    assert said == {("de", "geo:de"): schema.DIFFERENT, ("at", "geo:at"): schema.SAME}
    assert resolve(graph).of("geo:de") == "geo:de"
    assert graph.identities.num_rows == 4  # nothing was rewritten
    assert "No pair waits" in client.get(AT + "/identities").text


def test_skipping_is_no_answer(browser: Browser, atlas: Atlas) -> None:
    client = browser("ann")
    form = answers(client.get(AT + "/identities").text, de="", at="")
    answer = client.post(AT + "/identities", data=form)
    assert answer.status_code == 400
    assert "Answer at least one pair" in answer.text


@pytest.mark.parametrize(
    "form",
    [
        {"a:1": "de", "b:1": "nobody", "same:1": "yes"},
        {"a:1": "de", "b:1": "de", "same:1": "yes"},
        {"a:1": "de", "same:1": "yes"},
        {"a:1": "de", "b:1": "fr", "same:1": "perhaps"},
    ],
)
def test_bad_answers(browser: Browser, form: dict[str, str]) -> None:
    assert browser("ann").post(AT + "/identities", data=form).status_code == 400


@pytest.mark.parametrize("page", ["/conflicts", "/identities"])
def test_strangers(browser: Browser, atlas: Atlas, page: str) -> None:
    before = atlas.hub.git.resolve(atlas.repo, "main")
    form = {"choose:1": "x", "a:1": "de", "b:1": "fr", "same:1": "yes"}
    nobody = browser(None).post(AT + page, data=form)
    assert nobody.status_code == 401
    elsewhere = browser("ann").post(
        AT + page, data=form, headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://x.y"}
    )
    assert elsewhere.status_code == 403
    secret = AT.replace("countries", "secret") + page
    for name in (None, "bob"):
        assert browser(name).get(secret).status_code == 404
        assert browser(name).post(secret, data=form).status_code == 404
    assert atlas.hub.git.resolve(atlas.repo, "main") == before


def test_a_pull_request_is_settled_on_its_own_branch(browser: Browser, atlas: Atlas) -> None:
    client = browser("bob")
    field, value = choices(client.get(AT + "/conflicts").text)["83000000"]
    number = client.post(AT + "/conflicts", data={field: value}).headers["location"].split("/")[-1]
    page = client.get(f"/datasets/ann/countries/discussions/{number}").text
    address = f"{AT}?revision=refs%2Fpr%2F{number}"
    assert f'href="{address}"' in page
    revision = {"revision": f"refs/pr/{number}"}
    text = client.get(AT + "/conflicts", params={**revision, "settled": "yes"}).text
    field, value = choices(text)["84000000"]
    done = client.post(AT + "/conflicts", params=revision, data={field: value})
    assert done.status_code == 303
    assert done.headers["location"].endswith(f"/discussions/{number}")
    assert population(stored(atlas, f"refs/pr/{number}"))["84000000"] == "preferred"
    assert population(stored(atlas))["84000000"] == "normal"
    # Somebody else may look, and proposes nothing there.
    other = browser(None).post(AT + "/conflicts", params=revision, data={field: value})
    assert other.status_code == 401
