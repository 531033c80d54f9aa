# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from huggingface_hub.utils import parse_ratelimit_headers
from starlette.requests import Request

from plait.api import create_api
from plait.api.errors import answer as answer_with
from plait.errors import Moved
from plait.hub import Hub
from plait.hub.people.tokens import SESSION_COOKIE
from plait.settings import load_settings

SAME = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Caller:
    client: TestClient
    token: str

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return self.client.request(method, f"/api{path}", json=body, headers=headers)


@dataclass
class Town:
    hub: Hub
    client: TestClient

    def caller(self, who: str, **options: Any) -> Caller:
        return Caller(self.client, self.hub.tokens.create(self.hub.accounts.get(who), **options))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """``root`` administers the hub, ``ann`` administers ``shop``, ``bob`` belongs nowhere."""
    limits = {"PLAIT_FAILED_TOKEN_LIMIT": "5", "PLAIT_TRUSTED_PROXIES": "10.0.0.0/8"}
    with Hub.open(load_settings(tmp_path / "hub", limits)) as hub:
        hub.accounts.create_user("root", admin=True)
        ann = hub.accounts.create_user("ann", fullname="Ann", email="ann@x.test")
        hub.accounts.create_user("bob")
        hub.accounts.create_organization("shop", ann)
        hub.repositories.create(hub.accounts.actor_for(ann), "model", "shop/model", True)
        yield Town(hub, TestClient(create_api(hub), client=("203.0.113.7", 5000)))


def test_an_administrator_of_the_hub_makes_and_closes_accounts(town: Town) -> None:
    root, ann = town.caller("root"), town.caller("ann")
    made = root("POST", "/plait/users", {"name": "zoe", "fullname": "Zoë"})
    assert made.status_code == 201
    assert made.json()["name"] == "zoe"
    invited = root("POST", "/plait/users/zoe/invitation")
    assert invited.json()["url"].startswith("http://127.0.0.1:7860/setup#")
    zoe = town.caller("zoe")
    assert zoe("GET", "/whoami-v2").status_code == 200
    assert root("PATCH", "/plait/users/zoe", {"disabled": True}).json()["disabled"] is True
    assert zoe("GET", "/whoami-v2").status_code == 401
    root("PATCH", "/plait/users/zoe", {"disabled": False, "admin": True})
    assert zoe("GET", "/plait/users?limit=2").json()[0]["name"] == "ann"
    assert [u["name"] for u in zoe("GET", "/plait/users?after=bob").json()] == ["root", "zoe"]
    assert root("PATCH", "/plait/users/zoe", {"admin": False}).status_code == 200
    assert root("PATCH", "/plait/users/root", {"disabled": True}).status_code == 409
    assert root("DELETE", "/plait/accounts/zoe").status_code == 200
    assert root("DELETE", "/plait/accounts/shop").status_code == 409
    for method, path, body in (
        ("GET", "/plait/users", None),
        ("POST", "/plait/users", {"name": "mine"}),
        ("PATCH", "/plait/users/bob", {"disabled": True}),
        ("PATCH", "/plait/users/nobody-there", {"disabled": True}),
        ("POST", "/plait/users/bob/invitation", None),
        ("DELETE", "/plait/accounts/bob", None),
        ("PATCH", "/plait/accounts/bob", {"fullname": "x"}),
        ("GET", "/plait/audit", None),
        ("GET", "/plait/audit?namespace=bob", None),
    ):
        assert ann(method, path, body).status_code == 403, path
        assert Caller(town.client, "")(method, path, body).status_code == 401, path


def test_an_organisations_administrator_decides_on_members_and_teams(town: Town) -> None:
    ann, bob = town.caller("ann"), town.caller("bob")
    base = "/plait/organizations/shop"
    assert bob("PUT", f"{base}/members/bob", {"role": "admin"}).status_code == 403
    assert bob("GET", f"{base}/members").status_code == 403
    assert ann("PUT", f"{base}/members/bob", {"role": "owner"}).status_code == 400
    assert ann("PUT", f"{base}/members/bob", {"role": "write"}).status_code == 200
    assert [m["role"] for m in bob("GET", f"{base}/members").json()] == ["admin", "write"]
    assert bob("GET", "/models/shop/model").status_code == 200
    assert ann("POST", f"{base}/teams", {"name": "core"}).status_code == 201
    assert ann("PUT", f"{base}/teams/core/repositories/model/model").status_code == 200
    assert bob("GET", "/models/shop/model").status_code == 404
    assert bob("GET", f"{base}/teams/core/repositories").json() == []
    assert bob("PUT", f"{base}/teams/core/members/bob", {"role": "read"}).status_code == 403
    assert ann("PUT", f"{base}/teams/core/members/bob", {"role": "read"}).status_code == 200
    assert bob("GET", f"{base}/teams/core/members").json()[0]["role"] == "read"
    assert bob("GET", f"{base}/teams/core/repositories").json() == [
        {"type": "model", "name": "shop/model", "private": True}
    ]
    assert ann("DELETE", f"{base}/teams/core").status_code == 409
    assert ann("DELETE", f"{base}/teams/core/repositories/model/model").status_code == 200
    assert ann("DELETE", f"{base}/teams/core/members/bob").status_code == 200
    assert ann("DELETE", f"{base}/teams/core").status_code == 200
    assert bob("DELETE", f"{base}/members/bob").status_code == 200
    assert ann("DELETE", f"{base}/members/ann").status_code == 409
    log = ann("GET", "/plait/audit?namespace=shop&action=member&limit=1").json()
    assert log["entries"][0]["action"] == "member.remove"
    assert log["entries"][0]["address"] == "203.0.113.7"
    older = ann("GET", f"/plait/audit?namespace=shop&action=member&cursor={log['cursor']}").json()
    assert [entry["action"] for entry in older["entries"]] == ["member.add"]


def test_tokens_of_ones_own(town: Town) -> None:
    ann = town.caller("ann")
    body = {
        "name": "ci", "scope": "fine-grained", "expires_at": "2099-01-01T00:00:00Z",
        "grants": [{"permission": "write", "type": "model", "name": "shop/model"}],
    }  # fmt: skip
    made = ann("POST", "/plait/tokens", body)
    assert made.status_code == 201, made.text
    ci = Caller(town.client, made.json()["token"])
    who = ci("GET", "/whoami-v2").json()["auth"]
    assert who["accessToken"]["role"] == "fineGrained"
    scoped = who["accessToken"]["fineGrained"]["scoped"]
    assert scoped[0]["entity"]["name"] == "shop/model"
    assert "repo.write" in scoped[0]["permissions"]
    assert who["expiresAt"] == "2099-01-01T00:00:00.000Z"
    listed = ann("GET", "/plait/tokens").json()
    assert listed[0]["name"] == "ci"
    assert listed[0]["last_used_from"] == "203.0.113.7"
    assert listed[0]["grants"] == body["grants"]
    assert made.json()["token"] not in str(listed)
    assert ci("GET", "/plait/tokens").status_code == 403
    assert ci("POST", "/plait/tokens", {"name": "x", "scope": "read"}).status_code == 403
    assert ann("DELETE", f"/plait/tokens/{listed[0]['id']}").status_code == 200
    assert ci("GET", "/whoami-v2").status_code == 401
    hidden = {**body, "grants": [{"permission": "read", "type": "model", "name": "shop/model"}]}
    absent = {**body, "grants": [{"permission": "read", "type": "model", "name": "shop/absen"}]}
    answers = [town.caller("bob")("POST", "/plait/tokens", one) for one in (hidden, absent)]
    assert answers[0].status_code == answers[1].status_code == 404
    assert answers[0].text.replace("shop/model", "X") == answers[1].text.replace("shop/absen", "X")


def test_what_whoami_says_of_other_tokens(town: Town) -> None:
    for scope, role in (("read", "read"), ("write", "write"), ("contributor", "fineGrained")):
        answer = town.caller("ann", scope=scope, name="t")("GET", "/whoami-v2").json()
        assert answer["auth"]["accessToken"]["role"] == role
        assert answer["auth"]["accessToken"]["displayName"] == "t"
    assert answer["orgs"][0]["roleInOrg"] == "admin"
    assert answer["auth"]["accessToken"]["fineGrained"]["global"] == [
        "repo.content.read", "discussion.write",
    ]  # fmt: skip


def test_profile_password_and_sessions_of_ones_own(town: Town) -> None:
    ann = town.caller("ann")
    assert ann("PATCH", "/plait/me", {"fullname": "Ann A.", "about": "x"}).status_code == 200
    assert town.hub.accounts.get("ann").fullname == "Ann A."
    assert town.hub.accounts.get("ann").email == "ann@x.test"
    assert ann("PATCH", "/plait/accounts/shop", {"fullname": "The shop"}).status_code == 200
    assert ann("DELETE", "/plait/me/sessions").status_code == 200
    answer = ann("POST", "/plait/me/password", {"old": "x", "new": "four unrelated words"})
    assert answer.status_code == 403
    assert ann("POST", "/plait/organizations", {"name": "guild"}).status_code == 201
    assert town.hub.accounts.get("guild").kind == "organization"


def session_of(town: Town, name: str) -> TestClient:
    actor = town.hub.accounts.actor_for(town.hub.accounts.get(name))
    client = TestClient(town.client.app)
    client.cookies.set(SESSION_COOKIE, town.hub.tokens.open_session(actor))
    return client


CROSS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    {"Origin": "https://evil.test"},
    {"Origin": "null"},
    {},
]


def unsafe_routes(holder: Any) -> Iterator[tuple[str, str]]:
    for route in holder.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(inner, "routes"):
            yield from unsafe_routes(inner)
        elif hasattr(route, "methods") and not route.endpoint.__module__.endswith("unsupported"):
            for method in sorted(set(route.methods or ()) - {"GET", "HEAD", "OPTIONS"}):
                yield method, route.path


def test_a_cookie_acts_only_for_the_hubs_own_pages(town: Town) -> None:
    browser = session_of(town, "ann")
    assert browser.get("/api/whoami-v2").json()["name"] == "ann"
    body = {"name": "guild"}
    for headers in CROSS:
        answer = browser.post("/api/plait/organizations", json=body, headers=headers)
        assert answer.status_code == 401, headers
    assert town.hub.accounts.find("guild") is None
    for headers in (SAME, {"Origin": "http://testserver"}):
        name = {"name": f"guild-{len(headers.get('Origin', ''))}"}
        answer = browser.post("/api/plait/organizations", json=name, headers=headers)
        assert answer.status_code == 201, headers


def test_no_route_of_the_api_believes_another_sites_cookie(town: Town) -> None:
    """Whatever changes something answers as to nobody when another site made the browser ask."""
    browser = session_of(town, "ann")
    nobody = TestClient(town.client.app)
    values = {"kind:type": "models", "kind": "model", "namespace": "shop", "name": "model"}
    tried = 0
    for method, path in unsafe_routes(town.client.app):
        filled = re.sub(r"{([^}]+)}", lambda m: values.get(m[1], "1"), path)
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
        theirs = browser.request(method, filled, json={}, headers=headers)
        none = nobody.request(method, filled, json={}, headers=headers)
        assert (theirs.status_code, theirs.text) == (none.status_code, none.text), filled
        tried += 1
    assert tried > 60


def test_a_password_that_browsers_keep_is_no_better_than_a_cookie(town: Town) -> None:
    token = town.caller("ann").token
    for headers in CROSS[:6]:
        answer = town.client.post(
            "/api/plait/organizations", json={"name": "x"}, auth=("ann", token), headers=headers
        )
        assert answer.status_code == 403, headers
    # git and curl say nothing of sites; a bearer token no browser adds by itself.
    answer = town.client.post(
        "/api/plait/organizations", json={"name": "guild"}, auth=("ann", token)
    )
    assert answer.status_code == 201
    ann = town.caller("ann")
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert ann("POST", "/plait/organizations", {"name": "guild2"}, **headers).status_code == 201


def test_a_session_reaches_no_further_than_its_scope(town: Town) -> None:
    browser = session_of(town, "ann")
    found = town.hub.tokens.authenticate(town.caller("ann", scope="read").token)
    assert found is not None
    browser.cookies.set(SESSION_COOKIE, town.hub.tokens.open_session(found[0]))
    answer = browser.post("/api/plait/organizations", json={"name": "x"}, headers=SAME)
    assert answer.status_code == 403


def test_invalid_tokens_are_counted_and_the_stock_client_waits(town: Town) -> None:
    wrong = Caller(town.client, "plait_wrong")
    assert [wrong("GET", "/whoami-v2").status_code for _ in range(5)] == [401] * 5
    answer = wrong("GET", "/whoami-v2")
    assert answer.status_code == 429
    assert answer.headers["X-Error-Code"] == "TooManyRequests"
    read = parse_ratelimit_headers(answer.headers)
    assert read is not None
    assert (read.remaining, read.limit, read.window_seconds) == (0, 5, 60)
    assert read.reset_in_seconds == int(answer.headers["Retry-After"])
    # A good token from there still works, and so does a bad one from elsewhere.
    assert town.caller("ann")("GET", "/whoami-v2").status_code == 200
    elsewhere = TestClient(town.client.app, client=("198.51.100.1", 1))
    headers = {"Authorization": "Bearer x"}
    assert elsewhere.get("/api/whoami-v2", headers=headers).status_code == 401


def test_only_trusted_proxies_say_where_a_caller_is(town: Town) -> None:
    token = town.caller("ann").token
    for peer, said, found in (
        ("203.0.113.7", "1.2.3.4", "203.0.113.7"),
        ("10.0.0.3", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
    ):
        client = TestClient(town.client.app, client=(peer, 1))
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": said}
        client.patch("/api/plait/me", json={"about": found}, headers=headers)
        newest = town.caller("ann")("GET", "/plait/audit?namespace=ann&action=account").json()
        assert newest["entries"][0]["address"] == found


def test_a_moved_repository_is_answered_with_its_new_address() -> None:
    def location(path: str, query: str = "") -> str:
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": [],
        }  # fmt: skip
        found = answer_with(Request(scope), Moved("model", "old/name", "new/other"))
        assert found.status_code == 307
        return found.headers["location"]

    assert location("/api/models/old/name") == "/api/models/new/other"
    assert location("/api/models/Old/NAME/tree/refs%2Fpr%2F1", "a=b%20c") == (
        "/api/models/new/other/tree/refs%2Fpr%2F1?a=b%20c"
    )
    assert location("/old/name.git/info/refs", "service=x") == (
        "/new/other.git/info/refs?service=x"
    )
    assert location("/old/name/resolve/main/old/name") == "/new/other/resolve/main/old/name"
