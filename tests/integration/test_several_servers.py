# SPDX-License-Identifier: Apache-2.0
"""Several servers of one hub: the same folder, PostgreSQL and an S3 store between them."""

from __future__ import annotations

import hashlib
import io
import json
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from integration.live import Server
from integration.services import PostgreSQL, SeaweedFS, running
from plait.hub import Hub
from plait.hub.upkeep.fsck import damage
from plait.settings import load_settings

noise = random.Random(33).randbytes
MEGABYTE = 2**20
SERVERS = 3


@dataclass
class Cluster:
    """Servers of one hub, and the hub library on the same places."""

    servers: list[Server]
    hub: Hub

    def user(self, name: str) -> tuple[str, list[HfApi]]:
        """Make a user; give the name and a client at each server."""
        name = f"{name}-{secrets.token_hex(4)}"
        token = self.hub.tokens.create(self.hub.accounts.create_user(name))
        return name, [HfApi(endpoint=server.url, token=token) for server in self.servers]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("shared") / "hub"
    with running(PostgreSQL) as postgresql, running(SeaweedFS) as seaweedfs:
        places = {
            "PLAIT_DATABASE_URL": postgresql.url(postgresql.database()),
            **seaweedfs.environment(),
            "PLAIT_WEBHOOK_HTTP": "1",
            "PLAIT_WEBHOOK_HOSTS": "127.0.0.1",
            "PLAIT_SEARCH_LIMIT": "40",
            "PLAIT_LFS_PART_SIZE": str(5 * MEGABYTE),
        }
        servers = [Server(folder, **places) for _ in range(SERVERS)]
        # All at once on an empty database: one migrates, the others wait for it.
        with ThreadPoolExecutor(SERVERS) as pool:
            list(pool.map(Server.start, servers))
        try:
            with Hub.open(load_settings(folder, places)) as hub:
                yield Cluster(servers, hub)
        finally:
            for server in servers:
                server.stop()
    broken = [line for s in servers for line in s.lines if "Traceback" in line]
    assert not broken, "".join(line for s in servers for line in s.lines)[-4000:]


def test_commits_on_one_branch_land_once(cluster: Cluster) -> None:
    name, apis = cluster.user("ann")
    repo = apis[0].create_repo(f"{name}/model").repo_id
    results: Counter[int] = Counter()

    def commit(number: int) -> None:
        try:
            apis[number % SERVERS].create_commit(
                repo,
                [CommitOperationAdd(f"files/{number}.txt", b"%d" % number)],
                commit_message=f"Number {number}",
            )
            results[200] += 1
        except HfHubHTTPError as error:
            results[error.response.status_code] += 1

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(commit, range(45)))
    titles = [c.title for c in apis[1].list_repo_commits(repo)]
    landed = [title for title in titles if title.startswith("Number")]
    assert len(landed) == len(set(landed)) == results[200]
    assert set(results) <= {200, 412}
    assert results[200] > 30
    files = [f for f in apis[2].list_repo_files(repo) if f.startswith("files/")]
    assert len(files) == results[200]
    heads = {api.model_info(repo).sha for api in apis}
    assert len(heads) == 1


def test_the_same_request_at_every_server_lands_once(cluster: Cluster) -> None:
    name, apis = cluster.user("ann")
    repo = apis[0].create_repo(f"{name}/model").repo_id
    lines = [
        {"key": "header", "value": {"summary": "Once", "description": ""}},
        {"key": "file", "value": {"path": "a", "content": "eA==", "encoding": "base64"}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)

    def send(number: int) -> str:
        api = apis[number % SERVERS]
        answer = httpx.post(
            f"{api.endpoint}/api/models/{repo}/commit/main",
            content=body,
            headers={"Authorization": f"Bearer {api.token}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["commitOid"])

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(send, range(12)))) == 1
    assert [c.title for c in apis[0].list_repo_commits(repo)] == ["Once", "initial commit"]


def test_an_upload_begins_here_and_ends_there(cluster: Cluster, tmp_path: Path) -> None:
    """LFS in parts: the batch at one server, each part at another, the commit at the third."""
    name, apis = cluster.user("ann")
    repo = apis[0].create_repo(f"{name}/model").repo_id
    data = noise(12 * MEGABYTE)
    sha256 = hashlib.sha256(data).hexdigest()
    headers = {"Authorization": f"Bearer {apis[0].token}"}
    with httpx.Client(timeout=60) as client:
        batch = client.post(
            f"{apis[0].endpoint}/{repo}.git/info/lfs/objects/batch",
            json={
                "operation": "upload",
                "transfers": ["basic", "multipart"],
                "objects": [{"oid": sha256, "size": len(data)}],
                "hash_algo": "sha256",
            },
            headers={**headers, "Accept": "application/vnd.git-lfs+json"},
        ).json()
        assert batch["transfer"] == "multipart", batch
        action = batch["objects"][0]["actions"]["upload"]
        size = int(action["header"]["chunk_size"])
        urls = [action["header"][key] for key in sorted(action["header"]) if key.isdigit()]
        parts = []
        for number, url in enumerate(urls):
            moved = url.replace(str(apis[0].endpoint), str(apis[(number + 1) % SERVERS].endpoint))
            part = client.put(moved, content=data[number * size : (number + 1) * size])
            assert part.status_code < 300, part.text
            parts.append({"partNumber": number + 1, "etag": part.headers["ETag"]})
        finish = action["href"].replace(str(apis[0].endpoint), str(apis[2].endpoint))
        done = client.post(finish, json={"oid": sha256, "parts": parts}, headers=headers)
        assert done.status_code < 300, done.text
        lines = [
            {"key": "header", "value": {"summary": "Parts", "description": ""}},
            {
                "key": "lfsFile",
                "value": {"path": "a.bin", "algo": "sha256", "oid": sha256, "size": len(data)},
            },
        ]
        landed = client.post(
            f"{apis[1].endpoint}/api/models/{repo}/commit/main",
            content="\n".join(json.dumps(line) for line in lines),
            headers=headers,
        )
        assert landed.status_code == 200, landed.text
    for number, api in enumerate(apis):
        got = api.hf_hub_download(repo, "a.bin", cache_dir=tmp_path / str(number))
        assert Path(got).read_bytes() == data


def test_xet_at_one_server_the_commit_at_another(cluster: Cluster, tmp_path: Path) -> None:
    name, apis = cluster.user("ann")
    repo = apis[0].create_repo(f"{name}/model").repo_id
    file = tmp_path / "model.safetensors"
    data = noise(6 * MEGABYTE)
    file.write_bytes(data)
    addition = CommitOperationAdd("model.safetensors", str(file))
    apis[0].preupload_lfs_files(repo, [addition])
    apis[1].create_commit(repo, [addition], commit_message="Elsewhere")
    for number, api in enumerate(apis):
        got = api.hf_hub_download(repo, "model.safetensors", cache_dir=tmp_path / str(number))
        assert Path(got).read_bytes() == data
    # An edit of it goes up through the third, which knows the chunks from the first.
    file.write_bytes(data[: 3 * MEGABYTE] + b"new" + data[3 * MEGABYTE :])
    apis[2].upload_file(path_or_fileobj=file, path_in_repo="model.safetensors", repo_id=repo)
    got = apis[0].hf_hub_download(repo, "model.safetensors", cache_dir=tmp_path / "edited")
    assert Path(got).read_bytes() == file.read_bytes()
    found = cluster.hub.repositories.find("model", repo)
    assert found is not None
    assert damage(cluster.hub) == []


class _Listener(BaseHTTPRequestHandler):
    heard: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append(f"{body['event']['scope']}.{body['event']['action']}")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_webhook_is_delivered_once(cluster: Cluster) -> None:
    name, apis = cluster.user("ann")
    repo = apis[0].create_repo(f"{name}/model").repo_id
    _Listener.heard.clear()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Listener)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        apis[0].create_webhook(
            url=f"http://127.0.0.1:{receiver.server_address[1]}/hook",
            watched=[{"type": "model", "name": repo}],
            domains=["repo", "discussion"],
        )
        for number, api in enumerate(apis):
            api.upload_file(
                path_or_fileobj=b"%d" % number, path_in_repo=f"{number}.txt", repo_id=repo
            )
            api.create_discussion(repo, title=f"Number {number}")
        deadline = time.monotonic() + 30
        while len(_Listener.heard) < 2 * SERVERS and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2.5)  # every server has looked again by now
        heard = Counter(_Listener.heard)
    finally:
        receiver.shutdown()
        receiver.server_close()
    assert heard["repo.content.update"] == SERVERS, heard
    assert heard["discussion.create"] == SERVERS, heard


def test_limits_count_at_all_servers_together(cluster: Cluster) -> None:
    """A limit of 40 searches holds for the hub, not for each of its servers."""
    answers: Counter[int] = Counter()
    if time.time() % 60 > 45:
        time.sleep(61 - time.time() % 60)  # a new minute would begin a new count
    with httpx.Client(timeout=30) as client:
        for number in range(60):
            url = cluster.servers[number % SERVERS].url
            answers[client.get(f"{url}/api/models", params={"search": "x"}).status_code] += 1
    assert set(answers) == {200, 429}, answers
    assert answers[200] in range(30, 41), answers


def test_names_are_taken_once(cluster: Cluster) -> None:
    name, apis = cluster.user("ann")
    outcomes: Counter[int] = Counter()

    def create(number: int) -> None:
        try:
            apis[number % SERVERS].create_repo(f"{name}/contested")
            outcomes[200] += 1
        except HfHubHTTPError as error:
            outcomes[error.response.status_code] += 1

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(create, range(9)))
    assert outcomes == {200: 1, 409: 8}


def test_objects_come_by_any_server(cluster: Cluster) -> None:
    name, apis = cluster.user("ann")
    repo = apis[0].create_repo(f"{name}/model").repo_id
    apis[1].upload_file(
        path_or_fileobj=io.BytesIO(noise(400_000)), path_in_repo="a.bin", repo_id=repo
    )
    number = apis[2].create_pull_request(repo, title="Offer").num
    apis[0].upload_file(
        path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=repo, revision=f"refs/pr/{number}"
    )
    apis[1].change_discussion_status(repo, number, "open")
    apis[2].merge_pull_request(repo, number)
    assert "b.txt" in apis[0].list_repo_files(repo)
    apis[1].super_squash_history(repo)
    assert len(apis[2].list_repo_commits(repo)) == 1
    apis[0].delete_repo(repo)
    assert not any(api.repo_exists(repo) for api in apis)
