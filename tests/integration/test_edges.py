# SPDX-License-Identifier: Apache-2.0
"""What strangers send over the wire, and webhooks as they leave: a live server holds."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from plait.hub import Hub
from plait.hub.webhooks import SIGNATURE_HEADER, verify_message
from plait.settings import load_settings
from unit.hub.webhooks.receiver import receiving

from .live import LiveHub, Person, Server


def answer_to(live_hub: LiveHub, sent: bytes) -> bytes:
    """Send bytes as they are and return what comes back before the server hangs up."""
    host, port = live_hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=3) as connection:
        try:
            connection.sendall(sent)
            return connection.recv(65536)
        except (ConnectionError, TimeoutError):
            return b""


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1") else 400


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: y\r\n" * 200_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a=b; " * 100_000 + b"\r\n\r\n",
        b"\0\1\2\3" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\n",
        (
            b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=lambda sent: sent[:24].decode("ascii", "replace"),
)
def test_requests_out_of_form(live_hub: LiveHub, sent: bytes) -> None:
    assert status_of(answer_to(live_hub, sent)) < 500
    assert httpx.get(f"{live_hub.url}/healthz").text == "ok\n"


def deep(opening: bytes, closing: bytes, depth: int = 100_000) -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize("body", [deep(b"[", b"]"), deep(b'{"a":', b"}"), b"\xff", b"9" * 100_000])
@pytest.mark.parametrize(
    "path",
    [
        "/api/repos/create",
        "/api/collections",
        "/api/settings/webhooks",
        "/api/validate-yaml",
        "/api/models/{name}/paths-info/main",
        "/api/models/{name}/preupload/main",
        "/api/models/{name}/commit/main",
        "/api/models/{name}/discussions",
        "/{name}.git/info/lfs/objects/batch",
    ],
)
def test_bodies_out_of_measure(live_hub: LiveHub, alice: Person, path: str, body: bytes) -> None:
    alice.api.create_repo(f"{alice.name}/edge", exist_ok=True)
    answer = httpx.post(
        live_hub.url + path.format(name=f"{alice.name}/edge"),
        content=body,
        headers={"Authorization": f"Bearer {alice.token}", "Content-Type": "application/json"},
        timeout=30,
    )
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert len(answer.text) < 5000


def test_numbers_out_of_measure(live_hub: LiveHub, alice: Person) -> None:
    name = f"{alice.name}/edge"
    alice.api.create_repo(name)
    headers = {"Authorization": f"Bearer {alice.token}"}
    with httpx.Client(base_url=live_hub.url, headers=headers) as client:
        for value in ("-1", "0", "9" * 18, "9" * 30, "9" * 5000, "1e9", "NaN", "²", "\0", "", "a"):
            for path in (
                "/api/models",
                "/api/collections",
                f"/api/models/{name}/discussions",
                f"/api/models/{name}/tree/main",
                f"/api/models/{name}/commits/main",
                f"/api/users/{alice.name}/followers",
            ):
                for key in ("limit", "cursor", "p", "num_parameters"):
                    answer = client.get(path, params={key: value})
                    assert answer.status_code < 500, (path, key, value[:20], answer.text[:200])
            for path in (f"/api/models/{name}/discussions/", "/api/plait/jobs/"):
                answer = client.get(path + (value.replace("\0", "%00") or "x"))
                assert answer.status_code < 500, (path, value[:20])


def test_a_form_with_very_many_fields(live_hub: LiveHub, alice: Person) -> None:
    name = f"{alice.name}/edge"
    alice.api.create_repo(name)
    answer = httpx.post(
        f"{live_hub.url}/api/models/{name}/paths-info/main",
        content=b"paths=a&" * 400_000,
        headers={
            "Authorization": f"Bearer {alice.token}",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        timeout=30,
    )
    assert 400 <= answer.status_code < 500


@pytest.fixture(scope="module")
def open_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A server whose operator lets webhooks go to this machine."""
    folder = tmp_path_factory.mktemp("town") / "hub"
    rules = {"PLAIT_WEBHOOK_HTTP": "1", "PLAIT_WEBHOOK_HOSTS": "127.0.0.1"}
    server = Server(folder, **rules).start()
    settings = load_settings(folder, rules).with_address("127.0.0.1", server.port)
    try:
        with Hub.open(settings) as hub:
            yield LiveHub(server, hub, tmp_path_factory.mktemp("homes"))
    finally:
        server.stop()


def test_webhooks_leave_a_running_server(open_town: LiveHub) -> None:
    alice = open_town.person("alice")
    with receiving() as receiver:
        alice.api.create_webhook(
            url=f"http://127.0.0.1:{receiver.port}/hook",
            watched=[{"type": "user", "name": alice.name}],
            secret="shared",
        )
        alice.api.create_repo(f"{alice.name}/model")
        alice.api.upload_file(
            path_or_fileobj=b"text", path_in_repo="a.txt", repo_id=f"{alice.name}/model"
        )
        alice.api.create_discussion(f"{alice.name}/model", "Title", description="Words")
        deadline = time.monotonic() + 30
        while len(receiver.got) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        told = [json.loads(body)["event"] for _, _, body in receiver.got]
        assert {(event["scope"], event["action"]) for event in told} >= {
            ("repo", "create"),
            ("repo.content", "update"),
            ("discussion", "create"),
        }
        for _, headers, body in receiver.got:
            assert verify_message("shared", body, headers[SIGNATURE_HEADER])
        hook = alice.api.list_webhooks()[0]
        url = f"{open_town.url}/api/plait/webhooks/{hook.id}/deliveries"
        headers = {"Authorization": f"Bearer {alice.token}"}
        listed: list[dict[str, object]] = []
        while time.monotonic() < deadline:
            listed = httpx.get(url, headers=headers).json()
            if all(row["state"] == "delivered" for row in listed):
                break
            time.sleep(0.05)
        assert [row["state"] for row in listed] == ["delivered"] * len(listed)
        again = httpx.post(f"{url}/{listed[0]['id']}/replay", headers=headers)
        assert again.json()["state"] == "waiting"
        count = len(receiver.got)
        while len(receiver.got) == count and time.monotonic() < deadline:
            time.sleep(0.05)
        assert json.loads(receiver.got[count][2]) == listed[0]["payload"]


def test_a_pickle_is_labelled_by_a_running_server(open_town: LiveHub, tmp_path: Path) -> None:
    alice = open_town.person("alice")
    alice.api.create_repo(f"{alice.name}/model")
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    alice.api.upload_file(
        path_or_fileobj=tmp_path / "evil.pkl",
        path_in_repo="evil.pkl",
        repo_id=f"{alice.name}/model",
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (found,) = alice.api.get_paths_info(f"{alice.name}/model", ["evil.pkl"], expand=True)
        if found.security and found.security["status"] != "queued":
            break
        time.sleep(0.2)
    assert found.security is not None
    assert (found.security["status"], found.security["safe"]) == ("unsafe", False)
    info = alice.api.model_info(f"{alice.name}/model", securityStatus=True)
    assert info.security_repo_status == {
        "scansDone": True,
        "filesWithIssues": [{"path": "evil.pkl", "level": "unsafe"}],
    }
