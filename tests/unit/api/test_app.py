# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from plait.api import create_api
from plait.api.commit import read_commit
from plait.api.routing import decode
from plait.api.signing import sign, verify
from plait.errors import BadInput, TooLarge, Unauthorized
from plait.hub import AddBytes, AddPointer, Delete, DeleteFolder, Hub
from plait.settings import Settings


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub.open(Settings(tmp_path / "hub")) as opened:
        yield opened


@pytest.fixture
def client(hub: Hub) -> Iterator[TestClient]:
    account = hub.accounts.create_user("ann")
    token = hub.tokens.create(account)
    actor = hub.accounts.actor_for(account)
    hub.repositories.create(actor, "model", "ann/model")
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(create_api(hub), headers=headers, raise_server_exceptions=False) as opened:
        yield opened


def test_openapi_describes_every_route(client: TestClient) -> None:
    document = client.get("/api/plait/openapi.json").json()
    assert len(document["paths"]) > 40
    seen = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            assert operation.get("description") or operation.get("summary"), (method, path)
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            inside = {part[1:-1] for part in path.split("/") if part.startswith("{")}
            inside = {part.split("}")[0] for part in inside}
            assert inside - {"realm", "prefix"} <= named, path


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").text == "ok\n"


def test_encoded_slashes_stay_in_their_segment(client: TestClient) -> None:
    base = "/api/models/ann/model"
    assert client.post(f"{base}/branch/feature%2Fone", json={}).status_code == 200
    assert client.get(f"{base}/revision/feature%2Fone").json()["sha"]
    assert client.get(f"{base}/tree/feature%2Fone").json()[0]["path"] == ".gitattributes"
    url = "/ann/model/resolve/feature%2Fone/.gitattributes"
    assert client.get(url).status_code == 200
    assert client.get("/ann/model/resolve/feature%2Fone/%2Egitattributes").status_code == 200
    # Not decoded twice: this asks for a branch whose name has a percent sign.
    assert client.get(f"{base}/revision/feature%252Fone").status_code == 404


def test_something_broken_inside_is_a_sentence(
    client: TestClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(hub.git, "refs", broken)
    answer = client.get("/api/models/ann/model/refs")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.json()["error"]


def test_errors_fit_into_headers(client: TestClient) -> None:
    answer = client.get("/api/models/ann/model/tree/%E2%82%AC%0A%0Dx")
    assert answer.status_code == 404
    assert answer.headers["X-Error-Code"] == "RevisionNotFound"
    assert answer.headers["X-Error-Message"].isascii()


def test_cookies_read_and_never_write(client: TestClient, hub: Hub) -> None:
    found = hub.tokens.authenticate(client.headers["Authorization"].removeprefix("Bearer "))
    assert found is not None
    del client.headers["Authorization"]
    client.cookies.set("plait-session", hub.tokens.open_session(found[0]))
    assert client.get("/api/whoami-v2").json()["name"] == "ann"
    assert client.post("/api/repos/create", json={"name": "x"}).status_code == 401


def test_signatures() -> None:
    token, end = sign(b"key", "one", {"user": 1}, 60)
    assert verify(b"key", "one", token) == {"user": 1, "exp": end}
    assert end > time.time()
    late, _ = sign(b"key", "one", {"user": 1}, -5)
    for secret, purpose, text in [
        (b"key", "two", token),
        (b"yek", "one", token),
        (b"key", "one", late),
        (b"key", "one", token[:-2]),
        (b"key", "one", ""),
        (b"key", "one", "ü.ü"),
        (b"key", "one", "e30.e30"),
    ]:
        with pytest.raises(Unauthorized):
            verify(secret, purpose, text)


def test_reading_a_commit() -> None:
    lines = [
        {"key": "header", "value": {"summary": "s", "description": "d", "parentCommit": "0" * 40}},
        {"key": "file", "value": {"path": "a", "content": "eA==", "encoding": "base64"}},
        {"key": "lfsFile", "value": {"path": "b", "algo": "sha256", "oid": "1" * 64, "size": 3}},
        {"key": "lfsFile", "value": {"path": "c", "oid": "1" * 64}},
        {"key": "deletedFile", "value": {"path": "d"}},
        {"key": "deletedFolder", "value": {"path": "e/"}},
    ]
    asked = read_commit(lines, 10)
    assert (asked.summary, asked.description, asked.parent) == ("s", "d", "0" * 40)
    assert asked.operations == [
        AddBytes("a", b"x"),
        AddPointer("b", "1" * 64, 3),
        AddPointer("c", "1" * 64, None),
        Delete("d"),
        DeleteFolder("e"),
    ]
    with pytest.raises(TooLarge, match="may have 0"):
        read_commit(lines, 0)
    with pytest.raises(BadInput, match="number of bytes"):
        read_commit(
            [lines[0], {"key": "lfsFile", "value": {"path": "b", "oid": "1", "size": True}}], 10
        )


def test_decoding_once() -> None:
    assert decode("a%2Fb%2520") == "a/b%20"
    with pytest.raises(BadInput):
        decode("%FF")
