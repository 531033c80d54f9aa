# SPDX-License-Identifier: Apache-2.0
"""Files behind a gate, and files of a closed repository, come out through no route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from integration import services
from integration.strangers.house import HOUSE, House, Stranger, build, routes
from integration.strangers.test_strangers import ask, fill, kinds_of, names_repository
from plait.hub import AddBytes, Repository

GATED = "gated-77"
WORDS = "what stands behind the gate"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, backend: services.Backend) -> Iterator[House]:
    with backend.fresh() as places:
        made = build(tmp_path_factory.mktemp("gates") / "hub", places)
        yield made
        made.hub.close()


@pytest.fixture(scope="module")
def client(house: House) -> TestClient:
    return TestClient(house.app, base_url="http://hub.test", follow_redirects=False)


@pytest.fixture(scope="module")
def gated(house: House) -> Repository:
    """A public gated repository with the words in a file, its history and a pull request."""
    hub = house.hub
    me = hub.accounts.actor_for(hub.accounts.get("owner"))
    repo = hub.repositories.create(me, "model", f"{HOUSE}/{GATED}", False)
    table = f"id,text\n1,{WORDS}\n".encode()
    first = hub.commits.apply(
        me, repo, "main",
        [AddBytes("README.md", b"# open\n"), AddBytes("data/a.txt", WORDS.encode()),
         AddBytes("config.json", f'{{"secret": "{WORDS}"}}'.encode()),
         AddBytes("data/b.csv", table)],
        "Add files",
    )  # fmt: skip
    more = [AddBytes("data/a.txt", f"{WORDS}, and more".encode())]
    hub.commits.apply(me, repo, "main", more, "Change a file", create_pr=True)
    hub.references.create_tag(me, repo, "v1")
    fresh = hub.repositories.by_id(repo.id)
    assert fresh is not None
    fresh = hub.repositories.update(me, fresh, gated="manual")
    house.real |= {"name": GATED, "repository": GATED, "oid": first.oid, "commit": first.oid}
    return fresh


PATHS = ("data/a.txt", "config.json", "data/b.csv")


def everything(house: House, client: TestClient, who: Stranger) -> Iterator[tuple[str, int, str]]:
    for route in routes(house.app):
        if not names_repository(route) or route.module.endswith("unsupported"):
            continue
        if "model" not in kinds_of(route):
            continue
        paths = PATHS if route.parameters & {"path", "rest"} else PATHS[:1]
        for path in paths:
            values = {**house.real, "path": path, "rest": f"main/{path}"}
            if route.path.endswith("/commits/{rest:path}"):
                values["rest"] = "main"
            address = fill(route, "model", values)
            for query in ("", "?diff=1&expand=true&full=true&blobs=true&revision=main"):
                if query and route.method != "GET":
                    continue
                answer = ask(client, who, route, address + query)
                yield f"{route.method} {address}{query}", answer.status_code, answer.text


@pytest.mark.parametrize("name", ["nobody", "writer", "elsewhere"])
def test_nobody_who_was_not_let_in_reads_a_file(
    house: House, client: TestClient, gated: Repository, name: str
) -> None:
    who = house.strangers[name]
    answers = list(everything(house, client, who))
    assert [label for label, _, text in answers if WORDS in text] == []
    assert [(label, code) for label, code, _ in answers if code >= 500 and code != 501] == []
    shown = [label for label, code, _ in answers if code == 200]
    assert any(label.endswith(f"/api/models/{HOUSE}/{GATED}") for label in shown)


def test_who_is_let_in_reads_it(house: House, client: TestClient, gated: Repository) -> None:
    hub = house.hub
    user = hub.accounts.create_user("guest")
    me = hub.accounts.actor_for(hub.accounts.get("owner"))
    hub.access.grant(me, gated, "guest")
    bearer = hub.tokens.create(user, scope="read")
    found = hub.tokens.authenticate(bearer)
    assert found is not None
    who = Stranger("guest", bearer, hub.tokens.open_session(found[0]))
    told = {label.split("?")[0] for label, _, text in everything(house, client, who)
            if WORDS in text}  # fmt: skip
    assert len(told) > 6
    # A fine-grained token for another place does not carry its user's acceptance.
    elsewhere = house.strangers["elsewhere"]
    hub.access.grant(me, gated, "elsewhere")
    texts = [text for _, _, text in everything(house, client, elsewhere)]
    assert not any(WORDS in text for text in texts)


def test_closed_files_are_for_nobody(house: House, client: TestClient, gated: Repository) -> None:
    hub = house.hub
    owner = hub.accounts.get("owner")
    bearer = hub.tokens.create(owner)
    found = hub.tokens.authenticate(bearer)
    assert found is not None
    who = Stranger("owner", bearer, hub.tokens.open_session(found[0]))
    with hub.session(write=True) as session:
        row = session.get(Repository, gated.id)
        assert row is not None
        row.disabled = True
    tried = 0
    for route in routes(house.app):
        if route.method != "GET" or not names_repository(route):
            continue
        if "model" not in kinds_of(route) or route.module.endswith("unsupported"):
            continue
        answer = ask(client, who, route, fill(route, "model", house.real) + "?diff=1")
        assert WORDS not in answer.text, route.path
        assert answer.status_code < 500, (route.path, answer.status_code)
        tried += 1
    assert tried > 30
    resolve = f"/{HOUSE}/{GATED}/resolve/main/data/a.txt"
    answer = client.get(resolve, headers={"Authorization": f"Bearer {bearer}"})
    assert answer.status_code == 403
    assert answer.headers["X-Error-Message"] == "Access to this resource is disabled."
