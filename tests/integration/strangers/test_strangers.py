# SPDX-License-Identifier: Apache-2.0
"""Every kind of stranger drives every route: what is private does not exist for any of them.

Routes are taken from the application itself. A new one is driven without anybody adding it here;
if it has a parameter that this file does not know, the test says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from integration import services
from integration.strangers.house import (
    HOUSE,
    KINDS,
    MARKER,
    SECRET,
    House,
    Route,
    Stranger,
    build,
    routes,
)
from plait.hub.people.tokens import SESSION_COOKIE

NAMES = (
    "nobody", "writer", "reader", "contributor", "elsewhere", "granted", "member", "left",
    "revoked", "disabled", "expired",
)  # fmt: skip
ZERO = "0" * 64
PLAIN = {
    "revision": "main", "rev": "main", "branch": "main", "tag": "v1", "path": "data/a.txt",
    "rest": "main/data/a.txt", "status": "pending", "number": "1",
    "namespace": HOUSE, "ns": HOUSE, "organization": HOUSE, "org": HOUSE, "team": "core",
    "username": "owner", "user_name": "owner", "user": "owner",
    "item": "0" * 24, "delivery_id": "0" * 24, "delivery": "0" * 24,
    "file": "test.jsonl", "permit": "e30.e30", "realm": "0", "prefix": "default", "digest": ZERO,
}  # fmt: skip
"""Parameters of paths that name nothing private by themselves."""

JSON_BODIES: dict[str, Any] = {
    "branch": {"startingPoint": "main"},
    "comment": {"comment": "x"},
    "discussions": {"title": "x", "description": "x", "pullRequest": True},
    "duplicate": {"repository": "writer/copy"},
    "edit": {"content": "x"},
    "licence": {"allow": True, "reason": "x"},
    "merge": {},
    "objects/batch": {"operation": "download", "objects": [{"oid": ZERO, "size": 1}]},
    "lfs-files/batch": {"deletions": {"sha": [ZERO], "rewriteHistory": True}},
    "lfs-files/duplicate": {
        "target": {"type": "model", "name": "writer/copy"},
        "files": [{"xetHash": ZERO, "sha256": ZERO, "filename": "x"}],
    },
    "verify": {"oid": ZERO, "size": 1},
    "paths-info": {"paths": ["README.md"]},
    "preupload": {"files": [{"path": "a", "size": 1, "sample": ""}]},
    "settings": {"private": False},
    "status": {"status": "closed"},
    "super-squash": {"message": "x"},
    "tag": {"tag": "x"},
    "title": {"title": "x"},
    "handle": {"user": "writer", "status": "accepted"},
    "grant": {"user": "writer"},
    "resource-group": {"resourceGroupId": "0" * 24},
    "items": {"item": {"type": "model", "id": f"{HOUSE}/{SECRET}"}},
    "members": {"role": "admin"},
    "teams": {"name": "mine"},
    "collections": {"title": "mine", "namespace": "owner", "private": False},
    "webhooks": {"url": "https://x.example/", "watched": [{"type": "org", "name": HOUSE}],
                 "domains": ["repo"]},
    "users": {"disabled": True},
    "accounts": {"fullname": "mine"},
}  # fmt: skip
FORM = {
    "title": "x", "description": "x", "comment": "x", "text": "x", "content": "x", "message": "x",
    "name": "x", "status": "closed", "visibility": "public", "private": "", "gated": "",
    "path": "x.txt", "user": "writer", "role": "admin", "member": "writer", "team": "", "to": "x",
    "new_name": "writer/x", "confirm": SECRET, "branch": "x", "tag": "x", "start": "main",
    "revision": "main", "decision": "accepted", "item": f"{HOUSE}/{SECRET}", "url": "https://x.y/",
    "type": "model", "namespace": "owner", "action": "remove", "reason": "x",
}  # fmt: skip
IGNORED = {"date", "x-request-id"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, backend: services.Backend) -> Iterator[House]:
    with backend.fresh() as places:
        made = build(tmp_path_factory.mktemp("strangers") / "hub", places)
        yield made
        made.hub.close()


@pytest.fixture(scope="module")
def client(house: House) -> TestClient:
    return TestClient(house.app, base_url="http://hub.test", follow_redirects=False)


def fill(route: Route, kind: str, values: dict[str, str]) -> str:
    """Put names and plausible values into a route's path."""
    known = {**PLAIN, "kind": f"{kind}s", **values}
    if route.parameters & {"title", "slug"}:
        known |= {"ns": "owner", "namespace": "owner"}
    if names_repository(route):
        # Numbers are the repository's own: the name alone tells the two worlds apart.
        known["number"] = "1"

    def value(match: re.Match[str]) -> str:
        key = match[1].split(":")[0]
        assert key in known, f"Tell this test what {{{key}}} is in {route.path}."
        return kind if match[1] == "kind" else known[key]

    return re.sub(r"{([^}]+)}", value, route.path)


def names_repository(route: Route) -> bool:
    names = route.parameters
    return ("name" in names and bool(names & {"ns", "namespace"})) or "repository" in names


def names_something_private(route: Route) -> bool:
    if route.path.startswith(("/api/plait/users", "/api/plait/accounts", "/static", "/avatars")):
        return False
    telling = {"title", "slug", "webhook_id", "token_id", "job"}
    return (
        names_repository(route)
        or bool(route.parameters & telling)
        or route.path.startswith(("/jobs/", "/settings/webhooks/"))
    )


def kinds_of(route: Route) -> tuple[str, ...]:
    if "{kind:type}" in route.path or "{kind}" in route.path:
        return KINDS
    if "{kind:prefix}" in route.path:
        return KINDS[1:]
    first = route.path.split("/")[1]
    return (first[:-1],) if first in ("datasets", "spaces") else ("model",)


def body_of(route: Route) -> dict[str, Any]:
    if route.method in ("GET", "HEAD"):
        return {}
    if route.is_page:
        return {"data": FORM}
    if "/commit/" in route.path:
        line = {"key": "header", "value": {"summary": "x", "description": ""}}
        return {"content": json.dumps(line)}
    fixed = re.sub(r"/{[^}]+}", "", route.path)
    for end in sorted(JSON_BODIES, key=len, reverse=True):
        if fixed.endswith(end):
            return {"json": JSON_BODIES[end]}
    return {"json": {}}


def ask(client: TestClient, who: Stranger, route: Route, path: str) -> httpx.Response:
    headers = {}
    client.cookies.clear()
    if route.is_page:
        headers["Sec-Fetch-Site"] = "same-origin"
        if who.cookie:
            client.cookies.set(SESSION_COOKIE, who.cookie)
    elif who.bearer:
        headers["Authorization"] = f"Bearer {who.bearer}"
    return client.request(route.method, path, headers=headers, **body_of(route))


def seen(answer: httpx.Response, values: dict[str, str]) -> tuple[Any, ...]:
    """What a caller can tell from an answer, but for the names that they asked for themselves."""
    names = sorted({v for v in values.values() if len(v) > 3}, key=len, reverse=True)

    def blank(text: str) -> str:
        for name in names:
            text = text.replace(name, "NAME")
        return text

    headers = sorted((k, blank(v)) for k, v in answer.headers.items() if k not in IGNORED)
    return answer.status_code, blank(answer.text), headers


@pytest.mark.parametrize("name", NAMES)
def test_no_stranger_tells_private_from_absent(house: House, client: TestClient, name: str) -> None:
    who = house.strangers[name]
    before = house.state()
    problems, compared = [], 0
    for route in routes(house.app):
        kinds = kinds_of(route) if name in ("nobody", "writer") else kinds_of(route)[:1]
        for kind in kinds:
            path = fill(route, kind, house.real)
            answer = ask(client, who, route, path)
            label = f"{answer.status_code} {route.method} {path}"
            if MARKER.lower() in answer.text.lower():
                problems.append(f"{label} tells what is private")
            if answer.status_code >= 500 and answer.status_code != 501:
                problems.append(f"{label} is broken")
            if not names_something_private(route):
                continue
            nowhere = ask(client, who, route, fill(route, kind, house.ghost))
            compared += 1
            if seen(answer, house.real) != seen(nowhere, house.ghost):
                problems.append(f"{label} differs from {nowhere.status_code} where there is none")
            # 400: what was sent is looked at before whom it is for.
            if answer.status_code not in (303, 400, 401, 403, 404, 405, 501):
                problems.append(f"{label} is no refusal")
    assert not problems, "\n".join(problems)
    assert compared > 150
    after = house.state()
    assert [name for name in before if before[name] != after.get(name)] == []
    assert after.keys() == before.keys()


@pytest.mark.parametrize("name", ["nobody", "writer", "elsewhere", "granted", "member"])
def test_lists_and_searches_hold_nothing_private(
    house: House, client: TestClient, name: str
) -> None:
    who = house.strangers[name]
    queries = ("", f"?search={SECRET}", f"?q={SECRET}", f"?author={HOUSE}&full=true", "?sort=likes",
               "?filter=license:mit", f"?owner={HOUSE}", "?limit=1000")  # fmt: skip
    for route in routes(house.app):
        if route.method != "GET" or names_something_private(route):
            continue
        if route.module.endswith("unsupported"):
            continue
        for query in queries if not route.parameters - {"kind"} else queries[:1]:
            for kind in kinds_of(route):
                path = fill(route, kind, {**house.real, "name": "owner"})
                text = ask(client, who, route, path + query).text.replace(query, "")
                assert MARKER.lower() not in text.lower(), (name, path + query)
                if "rest" not in route.parameters and "path" not in route.parameters:
                    assert f"{HOUSE}/{SECRET}" not in text, (name, path + query)


def test_the_owner_sees_it_all(house: House, client: TestClient) -> None:
    """Whoever may read gets other answers than strangers: the test above compares something."""
    owner = house.hub.accounts.get("owner")
    bearer = house.hub.tokens.create(owner)
    found = house.hub.tokens.authenticate(bearer)
    assert found is not None
    who = Stranger("owner", bearer, house.hub.tokens.open_session(found[0]))
    told = compared = 0
    for route in routes(house.app):
        if route.method != "GET" or not names_repository(route):
            continue
        if route.module.endswith("unsupported"):
            continue
        real = ask(client, who, route, fill(route, "model", house.real))
        ghost = ask(client, who, route, fill(route, "model", house.ghost))
        compared += 1
        told += real.status_code < 400 <= ghost.status_code
    assert told > compared * 0.6, (told, compared)


@pytest.mark.parametrize(
    "said",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}],
    ids=["cross-site", "same-site", "origin-null"],
)
def test_no_other_site_acts_through_the_owners_browser(
    house: House, client: TestClient, said: dict[str, str]
) -> None:
    owner = house.hub.accounts.get("owner")
    cookie = house.hub.tokens.open_session(house.hub.accounts.actor_for(owner))
    before = house.state()
    tried = 0
    for route in routes(house.app):
        if route.method in ("GET", "HEAD") or route.module.endswith("unsupported"):
            continue
        client.cookies.clear()
        client.cookies.set(SESSION_COOKIE, cookie)
        path = fill(route, kinds_of(route)[0], house.real)
        answer = client.request(route.method, path, headers=said, **body_of(route))
        label = (route.method, path, answer.status_code)
        assert answer.status_code >= 400, label
        if route.is_page:
            assert answer.status_code == 403, label
        tried += 1
    assert tried > 120
    assert house.state() == before
