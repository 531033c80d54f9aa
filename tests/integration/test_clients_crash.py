# SPDX-License-Identifier: Apache-2.0
"""The server dies without warning while clients upload; what is visible stays whole."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd

from integration.live import Person, Server
from plait.hub import Hub
from plait.hub.upkeep.collect import collect
from plait.hub.upkeep.fsck import damage
from plait.settings import load_settings

noise = random.Random(21).randbytes


def attempt(person: Person, repo: str, folder: Path) -> None:
    """Upload a folder, whatever comes of it."""
    try:
        person.api.upload_folder(folder_path=folder, repo_id=repo, create_pr=True)
    except Exception as error:
        print(f"the upload ended with {type(error).__name__}")


def test_kill_during_upload(tmp_path: Path) -> None:
    server = Server(tmp_path / "hub").start()
    settings = load_settings(tmp_path / "hub", {}).with_address("127.0.0.1", server.port)
    with Hub.open(settings) as hub:
        token = hub.tokens.create(hub.accounts.create_user("ann"))
        ann = Person(server, "ann", token, tmp_path)
        try:
            repo = ann.api.create_repo("ann/model").repo_id
            folder = tmp_path / "folder"
            folder.mkdir()
            for round_, delay in enumerate((0.05, 0.15, 0.3, 0.5)):
                (folder / "model.safetensors").write_bytes(noise(6 * 2**20))
                (folder / "notes.txt").write_text(f"round {round_}")
                upload = threading.Thread(target=attempt, args=(ann, repo, folder))
                upload.start()
                time.sleep(delay)
                server.kill()
                server.start()
                upload.join(120)
                assert not upload.is_alive()
                assert damage(hub) == []
                # What was asked for can be asked for again.
                commit = ann.api.upload_folder(folder_path=folder, repo_id=repo, create_pr=True)
                got = ann.api.hf_hub_download(
                    repo,
                    "model.safetensors",
                    revision=commit.oid,
                    cache_dir=tmp_path / "cache",
                )
                assert (
                    hashlib.sha256(Path(got).read_bytes()).digest()
                    == hashlib.sha256((folder / "model.safetensors").read_bytes()).digest()
                )
            collect(hub, grace=0)
            assert list(hub.settings.temporary_dir.iterdir()) == []
            assert damage(hub) == []
            found = hub.repositories.find("model", repo)
            assert found is not None
            assert ann.api.model_info(repo).sha == hub.git.head(found)
        finally:
            server.stop()


@pytest.mark.parametrize("size", [1, 300_000])
def test_a_client_that_goes_away_leaves_nothing_visible(tmp_path: Path, size: int) -> None:
    server = Server(tmp_path / "hub").start()
    settings = load_settings(tmp_path / "hub", {}).with_address("127.0.0.1", server.port)
    with Hub.open(settings) as hub:
        try:
            token = hub.tokens.create(hub.accounts.create_user("ann"))
            ann = Person(server, "ann", token, tmp_path)
            repo = ann.api.create_repo("ann/model").repo_id
            head = (
                f"POST /api/models/{repo}/commit/main HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\n"
                '{"key":"header","value":{"summary":"half","description":""}}\n'
                '{"key":"file","value":{"path":"a","content":"'
            )
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                line.sendall(head.encode() + b"x" * size)
            time.sleep(0.5)
            assert [c.title for c in ann.api.list_repo_commits(repo)] == ["initial commit"]
            ann.api.create_commit(repo, [CommitOperationAdd("a", b"1")], commit_message="whole")
        finally:
            server.stop()
    assert not [line for line in server.lines if "Traceback" in line]
