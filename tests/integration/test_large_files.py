# SPDX-License-Identifier: Apache-2.0
"""Large files, up and down with the stock client, on a disk and on a real S3 server."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

import pytest

from integration.live import LiveHub, Person, Server
from integration.services import SeaweedFS
from plait.hub import Hub
from plait.settings import load_settings

MB = 2**20
UPLOAD = """
import sys
from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=sys.argv[2], path_in_repo="w.safetensors", repo_id=sys.argv[1])
"""
BY_XET = """
import sys
from huggingface_hub import file_download, hf_hub_download
def never(*args, **kwargs):
    raise AssertionError("this is a plain download")
file_download.http_get = never
hf_hub_download(sys.argv[1], "w.safetensors", local_dir=sys.argv[2])
"""
BY_HTTP = """
import sys
from huggingface_hub import file_download, hf_hub_download
def never(*args, **kwargs):
    raise AssertionError("this is a download by Xet")
file_download.xet_get = never
hf_hub_download(sys.argv[1], "w.safetensors", local_dir=sys.argv[2])
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[SeaweedFS]:
    reason = SeaweedFS.missing()
    if reason is not None:
        pytest.skip(reason)
    server = SeaweedFS().start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["disk", "s3"])
def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveHub]:
    environ = {"PLAIT_LFS_PART_SIZE": str(5 * MB)}
    if request.param == "s3":
        environ |= request.getfixturevalue("s3").environment()
    folder = tmp_path_factory.mktemp("large") / "hub"
    server = Server(folder, **environ).start()
    try:
        settings = load_settings(folder, environ).with_address("127.0.0.1", server.port)
        with Hub.open(settings) as hub:
            yield LiveHub(server, hub, tmp_path_factory.mktemp("homes"))
    finally:
        server.stop()
    broken = [line for line in server.lines if "Traceback" in line or "rror" in line]
    assert not broken, "".join(server.lines)[-4000:]


@pytest.fixture
def alice(live: LiveHub) -> Person:
    return live.person("alice")


@pytest.fixture
def bob(live: LiveHub) -> Person:
    return live.person("bob")


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(size + seed).randbytes(size)


def repository(person: Person, name: str, *, private: bool = False) -> str:
    return person.api.create_repo(f"{person.name}/{name}", private=private).repo_id


def stored(live: LiveHub) -> int:
    return sum(item.size for kind in ("blobs", "xorbs") for item in live.hub.store.list(kind))


def ask(url: str, token: str = "", method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Ask without following redirects."""
    if token:
        headers["Authorization"] = f"Bearer {token}"

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with build_opener(Stay).open(Request(url, headers=headers, method=method)) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        return error.code, error.headers, error.read()


def test_xet_up_and_down_is_the_default(live: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = repository(alice, "model")
    data = noise(6 * MB)
    (tmp_path / "w").write_bytes(data)
    alice.run(UPLOAD, repo, str(tmp_path / "w"))
    sha256 = hashlib.sha256(data).hexdigest()
    assert live.hub.blobs.local_path(sha256) is None, "it stays as xorbs"
    alice.run(BY_XET, repo, str(tmp_path / "down"))
    assert (tmp_path / "down" / "w.safetensors").read_bytes() == data
    alice.run(BY_HTTP, repo, str(tmp_path / "plain"), HF_HUB_DISABLE_XET="1")
    assert (tmp_path / "plain" / "w.safetensors").read_bytes() == data
    (entry,) = alice.api.get_paths_info(repo, "w.safetensors")
    assert entry.xet_hash is not None
    url = f"{live.url}/{repo}/resolve/main/w.safetensors"
    status, headers, part = ask(url, alice.token, Range="bytes=1000000-3000000")
    assert (status, part) == (206, data[1_000_000:3_000_001])
    assert headers["X-Xet-Hash"] == entry.xet_hash


def test_an_edit_stores_little(live: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = repository(alice, "edited")
    data = bytearray(noise(24 * MB, 1))
    file = tmp_path / "w"
    file.write_bytes(data)
    alice.run(UPLOAD, repo, str(file))
    before = stored(live)
    data[9 * MB : 9 * MB + 240_000] = noise(240_000)
    file.write_bytes(data)
    alice.run(UPLOAD, repo, str(file))
    assert stored(live) - before < 0.03 * len(data)
    alice.run(BY_XET, repo, str(tmp_path / "down"))
    assert (tmp_path / "down" / "w.safetensors").read_bytes() == data


def test_lfs_in_parts(live: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = repository(alice, "parts")
    data = noise(12 * MB + 17)
    (tmp_path / "w").write_bytes(data)
    alice.run(UPLOAD, repo, str(tmp_path / "w"), HF_HUB_DISABLE_XET="1")
    alice.run(BY_HTTP, repo, str(tmp_path / "down"))
    assert (tmp_path / "down" / "w.safetensors").read_bytes() == data
    (entry,) = alice.api.get_paths_info(repo, "w.safetensors")
    assert entry.xet_hash == hashlib.sha256(data).hexdigest(), "it has no xorbs"
    assert live.hub.blobs.present(entry.xet_hash)
    assert not list(live.hub.settings.temporary_dir.glob("parts-*"))


def test_large_files_of_s3_come_from_there(live: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = repository(alice, "far", private=True)
    data = noise(3 * MB)
    (tmp_path / "w").write_bytes(data)
    alice.run(UPLOAD, repo, str(tmp_path / "w"), HF_HUB_DISABLE_XET="1")
    url = f"{live.url}/{repo}/resolve/main/w.safetensors"
    status, headers, body = ask(url, alice.token)
    if live.hub.settings.store == "":
        assert (status, body) == (200, data)
        return
    assert status == 302
    assert headers["X-Linked-Size"] == str(len(data))
    assert headers["X-Linked-Etag"].strip('"') == hashlib.sha256(data).hexdigest()
    assert len(headers["X-Repo-Commit"]) == 40
    place = headers["Location"]
    assert place.startswith(live.hub.settings.s3_endpoint)
    with urlopen(Request(place, headers={"Range": "bytes=5-9"})) as answer:
        assert answer.read() == data[5:10]
        assert 'filename="w.safetensors"' in answer.headers["Content-Disposition"]
    status, headers, _ = ask(url, alice.token, "HEAD")
    assert (status, headers["Content-Length"]) == (200, str(len(data)))
    assert ask(url)[0] == 401


# -- what a stranger tries ------------------------------------------------------------------------


def read_token(live: LiveHub, repo: str, token: str) -> tuple[str, str]:
    status, _, body = ask(f"{live.url}/api/models/{repo}/xet-read-token/main", token)
    assert status == 200, body
    told = json.loads(body)
    return told["casUrl"], told["accessToken"]


def test_nobody_reads_or_probes_anothers_bytes(
    live: LiveHub, alice: Person, bob: Person, tmp_path: Path
) -> None:
    secret, public = noise(2 * MB, 7), noise(2 * MB, 8)
    private = repository(alice, "private", private=True)
    opened = repository(alice, "open")
    shared = tmp_path / "w"
    shared.write_bytes(secret + public)
    alice.run(UPLOAD, private, str(shared))
    (entry,) = alice.api.get_paths_info(private, "w.safetensors")
    # The public file deduplicates against the private one: they share a xorb.
    shared.write_bytes(public)
    alice.run(UPLOAD, opened, str(shared))
    (told,) = alice.api.get_paths_info(opened, "w.safetensors")

    assert ask(f"{live.url}/api/models/{private}/xet-read-token/main", bob.token)[0] == 404
    cas, token = read_token(live, opened, bob.token)
    for name in (entry.xet_hash, "0" * 64):
        status, _, body = ask(f"{cas}/v1/reconstructions/{name}", token)
        assert (status, json.loads(body)["error"]) == (
            404,
            f"There is no file {name} in this revision. Look the file up again.",
        )
    assert ask(f"{cas}/v1/reconstructions/{told.xet_hash}", bob.token)[0] == 401
    assert ask(f"{cas}/v1/reconstructions/{told.xet_hash}")[0] == 401
    status, _, body = ask(f"{cas}/v1/reconstructions/{told.xet_hash}", token)
    assert status == 200
    plan = json.loads(body)
    assert sum(term["unpacked_length"] for term in plan["terms"]) == len(public)
    for runs in plan["fetch_info"].values():
        for run in runs:
            first, last = run["url_range"]["start"], run["url_range"]["end"]
            assert ask(run["url"], Range=f"bytes={first}-{last}")[0] == 206
            for low, high in ((0, last), (first, last + 1)):
                if (low, high) == (0, last) == (first, last):
                    continue
                status, headers, _ = ask(run["url"], Range=f"bytes={low}-{high}")
                said = headers.get("Content-Range", "")
                assert status == 403 or said.startswith(f"bytes {first}-{last}/"), (status, said)
            assert ask(run["url"] + "x", Range=f"bytes={first}-{last}")[0] in (400, 401, 403)
    # An upload token reads nothing, and one of another repository opens nothing here.
    status, _, body = ask(f"{live.url}/api/models/{opened}/xet-write-token/main", alice.token)
    write = json.loads(body)["accessToken"]
    assert ask(f"{cas}/v1/reconstructions/{told.xet_hash}", write)[0] == 401


def test_what_was_read_once_is_closed_with_the_repository(
    live: LiveHub, alice: Person, bob: Person, tmp_path: Path
) -> None:
    repo = repository(alice, "closing")
    (tmp_path / "w").write_bytes(noise(2 * MB, 9))
    alice.run(UPLOAD, repo, str(tmp_path / "w"))
    (entry,) = alice.api.get_paths_info(repo, "w.safetensors")
    cas, token = read_token(live, repo, bob.token)
    assert ask(f"{cas}/v1/reconstructions/{entry.xet_hash}", token)[0] == 200
    alice.api.update_repo_settings(repo, visibility="private")
    assert ask(f"{cas}/v1/reconstructions/{entry.xet_hash}", token)[0] == 404


def test_ranges_of_a_file_are_told_in_part(live: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = repository(alice, "ranges")
    data = noise(3 * MB, 11)
    (tmp_path / "w").write_bytes(data)
    alice.run(UPLOAD, repo, str(tmp_path / "w"))
    (entry,) = alice.api.get_paths_info(repo, "w.safetensors")
    cas, token = read_token(live, repo, alice.token)
    url = f"{cas}/v1/reconstructions/{entry.xet_hash}"
    status, _, body = ask(url, token, Range="bytes=2000000-2000999")
    plan = json.loads(body)
    assert status == 200
    assert sum(term["unpacked_length"] for term in plan["terms"]) < 300_000
    assert plan["offset_into_first_range"] < 2**17
    assert ask(url, token, Range=f"bytes={len(data)}-")[0] == 416
    assert ask(f"{cas}/v2/reconstructions/{entry.xet_hash}", token)[0] == 404


def test_nginx_is_told_where_the_file_lies(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environ = {"PLAIT_ACCEL_REDIRECT": "/_plait_blobs"}
    server = Server(tmp_path / "hub", **environ).start()
    try:
        settings = load_settings(tmp_path / "hub", environ).with_address("127.0.0.1", server.port)
        with Hub.open(settings) as hub:
            live = LiveHub(server, hub, tmp_path_factory.mktemp("homes"))
            ann = live.person("ann")
            repo = repository(ann, "model")
            data = noise(MB)
            (tmp_path / "w").write_bytes(data)
            ann.run(UPLOAD, repo, str(tmp_path / "w"), HF_HUB_DISABLE_XET="1")
            sha256 = hashlib.sha256(data).hexdigest()
            status, headers, body = ask(f"{live.url}/{repo}/resolve/main/w.safetensors", ann.token)
            inner = f"/_plait_blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"
            assert (status, headers["X-Accel-Redirect"], body) == (200, inner, b"")
            assert headers["X-Content-Type-Options"] == "nosniff"
    finally:
        server.stop()


def test_a_connection_goes_on_after_a_file_and_ends_with_its_client(
    live: LiveHub, alice: Person, tmp_path: Path
) -> None:
    repo = repository(alice, "connection")
    data = noise(800_000)
    (tmp_path / "w").write_bytes(data)
    alice.run(UPLOAD, repo, str(tmp_path / "w"), HF_HUB_DISABLE_XET="1")
    path = f"/{repo}/resolve/main/w.safetensors"
    headers = {"Authorization": f"Bearer {alice.token}"}
    address = urlsplit(live.url)
    assert address.hostname
    connection = HTTPConnection(address.hostname, address.port, timeout=30)
    for number in range(3):
        connection.request("GET", path, headers=headers | {"Range": f"bytes={number}-"})
        answer = connection.getresponse()
        assert answer.read() == data[number:]
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    connection.request("GET", path, headers=headers)
    assert connection.getresponse().read(1000) == data[:1000]
    connection.close()  # In the middle of the file.
    assert ask(f"{live.url}{path}", alice.token)[2] == data


def test_small_files_come_plain(live: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = repository(alice, "small")
    (tmp_path / "w").write_bytes(noise(50_000))
    alice.run(UPLOAD, repo, str(tmp_path / "w"))
    alice.run(BY_HTTP, repo, str(tmp_path / "down"))
    assert (tmp_path / "down" / "w.safetensors").read_bytes() == noise(50_000)
    (entry,) = alice.api.get_paths_info(repo, "w.safetensors")
    assert entry.xet_hash is not None, "what is copied elsewhere is named by it"
