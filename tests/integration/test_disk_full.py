# SPDX-License-Identifier: Apache-2.0
"""The disk is full: whoever writes is told so, whoever reads notices nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integration.live import Person, Server
from plait.hub import Hub
from plait.settings import load_settings

SIZE = 24 * 2**20
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
noise = random.Random(3).randbytes


class SmallDisk(Server):
    """A server whose folder lies on a disk of its own of a few megabytes."""

    def __init__(self, prepared: Path, folder: Path) -> None:
        super().__init__(folder)
        self.prepared = prepared

    def command(self) -> list[str]:
        folder = shlex.quote(str(self.folder))
        serve = shlex.join(super().command())
        script = (
            f"mount -t tmpfs -o size={SIZE} none {folder} && "
            f"cp -a {shlex.quote(str(self.prepared))}/. {folder} && exec {serve}"
        )
        return [*NAMESPACE, "sh", "-c", script]


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[Person]:
    try_out = [*NAMESPACE, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if subprocess.run(try_out, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody make a small disk (user namespaces)")
    prepared, folder = tmp_path / "prepared", tmp_path / "hub"
    with Hub.open(load_settings(prepared, {})) as hub:
        account = hub.accounts.create_user("ann")
        token = hub.tokens.create(account, scope="write")
        hub.repositories.create(hub.accounts.actor_for(account), "model", "ann/model")
    folder.mkdir()
    server = SmallDisk(prepared, folder).start()
    try:
        yield Person(server, "ann", token, tmp_path)
    finally:
        server.stop()
    assert not [line for line in server.lines if "Traceback" in line], "".join(server.lines)


class Client:
    """Sends what the stock client sends, once: that one would try again for minutes."""

    def __init__(self, person: Person) -> None:
        self.url = person.server.url
        self.http = httpx.Client(headers={"Authorization": f"Bearer {person.token}"}, timeout=60)

    def commit(self, *lines: dict[str, object]) -> httpx.Response:
        header = {"key": "header", "value": {"summary": "more", "description": ""}}
        return self.http.post(
            f"{self.url}/api/models/ann/model/commit/main",
            content="".join(json.dumps(line) + "\n" for line in [header, *lines]).encode(),
            headers={"Content-Type": "application/x-ndjson"},
        )

    def small(self, path: str, data: bytes) -> httpx.Response:
        content = base64.b64encode(data).decode()
        value = {"path": path, "content": content, "encoding": "base64"}
        return self.commit({"key": "file", "value": value})

    def large(self, path: str, data: bytes) -> httpx.Response:
        oid = hashlib.sha256(data).hexdigest()
        asked = self.http.post(
            f"{self.url}/ann/model.git/info/lfs/objects/batch",
            json={"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]},
        )
        asked.raise_for_status()
        address = asked.json()["objects"][0]["actions"]["upload"]["href"]
        put = httpx.put(address, content=data, timeout=60)
        if put.status_code != 200:
            return put
        value = {"path": path, "algo": "sha256", "oid": oid, "size": len(data)}
        return self.commit({"key": "lfsFile", "value": value})


def test_a_full_disk(ann: Person, tmp_path: Path) -> None:
    client, api = Client(ann), ann.api
    assert client.small("first.txt", b"first").status_code == 200
    weights = noise(2 * 2**20)
    assert client.large("w.safetensors", weights).status_code == 200
    head = api.model_info("ann/model").sha
    # One file that is larger than the disk, and many small ones.
    answer = client.large("large.safetensors", noise(40 * 2**20))
    assert (answer.status_code, answer.headers["x-error-code"]) == (507, "InsufficientStorage")
    assert "no room" in answer.json()["error"]
    landed = []
    for number in range(40):
        answer = client.small(f"n{number}.txt", noise(2**20))
        if answer.status_code != 200:
            break
        landed.append(f"n{number}.txt")
    assert answer.status_code == 507, answer.text
    assert "no room" in answer.json()["error"]
    # Reading goes on, and nothing of what was refused is visible.
    assert api.whoami()["name"] == "ann"
    files = set(api.list_repo_files("ann/model"))
    assert files == {".gitattributes", "first.txt", "w.safetensors", *landed}
    got = api.hf_hub_download("ann/model", "w.safetensors", cache_dir=tmp_path / "cache")
    assert Path(got).read_bytes() == weights
    commits = [commit.commit_id for commit in api.list_repo_commits("ann/model")]
    assert len(commits) == 3 + len(landed)
    assert head in commits
    done = subprocess.run(
        ["git", "clone", "-q", f"{ann.server.url}/ann/model", str(tmp_path / "clone")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_LFS_SKIP_SMUDGE": "1"},
        check=False,
    )
    assert done.returncode == 0
