# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from integration.services import SeaweedFS
from plait.errors import BadInput
from plait.hub import Hub
from plait.hub.storage import open_store
from plait.hub.storage.migrate import Migration, migrate
from plait.settings import load_settings
from xet_builder import BuiltXorb, shard


@pytest.fixture
def environ(s3_server: SeaweedFS) -> dict[str, str]:
    return s3_server.environment()


@pytest.fixture
def hub(tmp_path: Path, environ: dict[str, str]) -> Iterator[Hub]:
    """A hub on a disk that knows how to reach the S3 store."""
    reach = {name: value for name, value in environ.items() if name != "PLAIT_STORE"}
    with Hub.open(load_settings(tmp_path / "hub", reach)) as opened:
        yield opened


def fill(hub: Hub, count: int) -> list[str]:
    """Blobs of both kinds; return their SHA-256."""
    noise = random.Random(count).randbytes
    names = [hub.blobs.write([noise(20_000)])[0] for _ in range(count)]
    ann = hub.accounts.actor_for(hub.accounts.create_user("ann"))
    repo = hub.repositories.create(ann, "model", "ann/model")
    xorb = BuiltXorb([noise(30_000), noise(40_000)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 2)]])))
    return [*names, hashlib.sha256(b"".join(xorb.chunks)).hexdigest()]


def test_there_and_back(hub: Hub, environ: dict[str, str], tmp_path: Path) -> None:
    names = fill(hub, 5)
    disk, s3 = hub.store, open_store(hub.settings, environ["PLAIT_STORE"])
    first = migrate(hub.settings, disk, s3)
    assert (first.copied, first.there, first.damaged) == (6, 0, [])
    again = migrate(hub.settings, disk, s3)
    assert (again.copied, again.there) == (0, 6)
    with Hub.open(load_settings(hub.settings.dir, environ)) as moved:
        assert moved.store.address == environ["PLAIT_STORE"]
        assert [moved.blobs.verify(name) for name in names] == [None] * 6
        assert all(moved.blobs.local_path(name) is None for name in names)
        late, _ = moved.blobs.write([b"arrived on the new store"])
    for item in [*disk.list("blobs"), *disk.list("xorbs")]:
        disk.delete(item.name)
    assert migrate(hub.settings, s3, disk).copied == 7
    assert [hub.blobs.verify(name) for name in [*names, late]] == [None] * 7
    assert list(hub.settings.temporary_dir.iterdir()) == []
    assert not list(hub.settings.dir.glob("migration-*"))


def test_damage_is_named_and_not_carried_over(hub: Hub, environ: dict[str, str]) -> None:
    names = fill(hub, 2)
    bad = f"blobs/{names[0][:2]}/{names[0][2:4]}/{names[0]}"
    hub.store.put(bad, b"something else")
    s3 = open_store(hub.settings, environ["PLAIT_STORE"])
    report = migrate(hub.settings, hub.store, s3)
    assert report.damaged == [bad]
    assert report.copied == 2
    assert s3.head(bad) is None


def test_half_an_object_in_the_target_is_replaced(hub: Hub, environ: dict[str, str]) -> None:
    names = fill(hub, 1)
    name = f"blobs/{names[0][:2]}/{names[0][2:4]}/{names[0]}"
    s3 = open_store(hub.settings, environ["PLAIT_STORE"])
    s3.put(name, bytes(20_000))
    assert migrate(hub.settings, hub.store, s3).copied == 2
    assert b"".join(s3.read(name)) == b"".join(hub.store.read(name))


def test_a_store_is_not_copied_onto_itself(hub: Hub) -> None:
    with pytest.raises(BadInput, match="already"):
        migrate(hub.settings, hub.store, open_store(hub.settings, "disk"))


def test_killed_it_goes_on_where_it_was(hub: Hub, environ: dict[str, str]) -> None:
    names = fill(hub, 60)
    store = environ.pop("PLAIT_STORE")
    command = [sys.executable, "-m", "plait.cli.main", "storage", "migrate", "--to", store]
    command += ["--dir", str(hub.settings.dir)]
    s3 = open_store(hub.settings, store)
    for wanted in (5, 25):
        process = subprocess.Popen(command, env={**os.environ, **environ})
        for _ in range(600):
            if len(list(s3.list("blobs"))) >= wanted or process.poll() is not None:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    reports: list[Migration] = []
    report = migrate(hub.settings, hub.store, s3, reports.append)
    assert 0 < report.copied < 61
    assert report.damaged == []
    with Hub.open(load_settings(hub.settings.dir, {**environ, "PLAIT_STORE": store})) as moved:
        assert [problem for name in names if (problem := moved.blobs.verify(name))] == []
