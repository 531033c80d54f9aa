# SPDX-License-Identifier: Apache-2.0
"""A backup of a hub on PostgreSQL, taken while it is in use, and the hub made of it again."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from integration.services import PostgreSQL
from plait.hub import AddBytes, AddPointer, Hub
from plait.hub.upkeep.backup import back_up, restore
from plait.hub.upkeep.fsck import check
from plait.settings import load_settings


def test_backup_and_restore(tmp_path: Path) -> None:
    why = PostgreSQL.missing()
    if why is not None or shutil.which("pg_dump") is None:
        pytest.skip(why or "there is no pg_dump here")
    server = PostgreSQL().start()
    try:
        url = server.url(server.database())
        settings = load_settings(tmp_path / "hub", {}, database_url=url)
        with Hub.open(settings) as hub:
            ann = hub.accounts.actor_for(hub.accounts.create_user("ann"))
            repo = hub.repositories.create(ann, "model", "ann/model")
            done = threading.Event()
            landed: list[str] = []

            def write() -> None:
                number = 0
                while not done.is_set():
                    number += 1
                    sha256, size = hub.blobs.write([b"%d" % number * 1000])
                    with hub.session(write=True) as session:
                        hub.grant_blob(session, repo, sha256, size)
                    new = [AddPointer("w.bin", sha256, size), AddBytes("n", b"%d" % number)]
                    landed.append(hub.commits.apply(ann, repo, "main", new, f"n {number}").oid)
                    hub.commits.apply(ann, repo, "main", new[1:], f"p {number}", create_pr=True)

            writer = threading.Thread(target=write)
            writer.start()
            try:
                while len(landed) < 3:
                    assert writer.is_alive()
                before = len(landed)
                back_up(hub, tmp_path / "backup")
            finally:
                done.set()
                writer.join()
        again = load_settings(
            tmp_path / "again", {}, database_url=server.url(server.database("template0"))
        )
        assert restore(tmp_path / "backup", again) == []
        with Hub.open(again) as hub:
            assert [p for p in check(hub, deep=True) if p.damage] == []
            head = hub.git.resolve(repo)
            assert all(hub.git.is_ancestor(repo, oid, head) for oid in landed[:before])
            hub.repositories.create(ann, "model", "ann/next")
    finally:
        server.stop()
