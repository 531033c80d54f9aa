# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest

from plait.errors import BadInput, NotFound, TooLarge
from plait.hub import Actor, Hub, Repository
from plait.hub.database import Blob, Xorb, now
from plait.settings import Settings
from xet_builder import BuiltXorb, shard

noise = random.Random(8).randbytes


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub.open(Settings(tmp_path / "hub", max_xorb=100_000, max_blob=1_000_000)) as opened:
        yield opened


@pytest.fixture
def ann(hub: Hub) -> Actor:
    return hub.accounts.actor_for(hub.accounts.create_user("ann"))


@pytest.fixture
def repo(hub: Hub, ann: Actor) -> Repository:
    return hub.repositories.create(ann, "model", "ann/model")


def temporary(hub: Hub) -> list[Path]:
    return list(hub.settings.temporary_dir.iterdir())


def test_a_full_xorb_is_taken(tmp_path: Path) -> None:
    """64 MiB of chunks are more on the wire: their headers and the index come on top."""
    chunk = noise(128 * 1024)
    built = BuiltXorb([number.to_bytes(2, "big") + chunk[2:] for number in range(512)], 0)
    assert len(built.body) > 64 * 2**20
    with Hub.open(Settings(tmp_path / "hub")) as opened:
        someone = opened.accounts.actor_for(opened.accounts.create_user("ann"))
        assert opened.xet.add_xorb(someone, built.name, BytesIO(built.body)) is True


def test_a_file_becomes_a_blob(hub: Hub, ann: Actor, repo: Repository) -> None:
    one, two = BuiltXorb([noise(20_000), noise(3)]), BuiltXorb([b"z" * 70_000], 2)
    for xorb in (one, two):
        assert hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body)) is True
        assert hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body)) is False
    assert hub.xet.add_shard(ann, repo, BytesIO(shard([[(two, 0, 1), (one, 0, 2)]]))) == 1
    data = two.chunks[0] + one.chunks[0] + one.chunks[1]
    sha256 = hashlib.sha256(data).hexdigest()
    assert hub.blobs.path(sha256).read_bytes() == data
    with hub.session() as session:
        assert hub.has_grant(session, repo, sha256)
        blob = session.get(Blob, sha256)
    assert blob is not None
    assert blob.size == len(data)
    assert blob.xet_hash is not None
    assert temporary(hub) == []


def test_known_files_are_not_put_together_again(
    hub: Hub, ann: Actor, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    xorb = BuiltXorb([noise(2000)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    body = shard([[(xorb, 0, 1)]])
    hub.xet.add_shard(ann, repo, BytesIO(body))
    other = hub.repositories.create(ann, "dataset", "ann/data")
    monkeypatch.setattr(hub.xet.store, "read", lambda *_: pytest.fail("read again"))
    hub.xet.add_shard(ann, other, BytesIO(body))
    sha256 = hashlib.sha256(xorb.chunks[0]).hexdigest()
    with hub.session() as session:
        assert hub.has_grant(session, other, sha256)


def test_a_blob_that_is_gone_is_put_together_again(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([noise(2000)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    body = shard([[(xorb, 0, 1)]])
    hub.xet.add_shard(ann, repo, BytesIO(body))
    sha256 = hashlib.sha256(xorb.chunks[0]).hexdigest()
    hub.blobs.delete(sha256)
    hub.xet.add_shard(ann, repo, BytesIO(body))
    assert hub.blobs.path(sha256).read_bytes() == xorb.chunks[0]


def test_others_xorbs_are_as_good_as_missing(hub: Hub, ann: Actor, repo: Repository) -> None:
    eve = hub.accounts.actor_for(hub.accounts.create_user("eve"))
    xorb, unknown = BuiltXorb([noise(500)]), BuiltXorb([noise(500)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    messages = []
    for wanted in (xorb, unknown):
        with pytest.raises(BadInput) as caught:
            hub.xet.add_shard(eve, repo, BytesIO(shard([[(wanted, 0, 1)]])))
        messages.append(str(caught.value).replace(wanted.name, "X"))
    assert messages[0] == messages[1]
    assert "HF_XET_CACHE" in messages[0]


def test_a_bad_file_in_a_shard_leaves_nothing(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([noise(500)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    wrong = shard([[(xorb, 0, 1)]], sha256="3" * 64)
    with pytest.raises(BadInput):
        hub.xet.add_shard(ann, repo, BytesIO(wrong))
    assert list(hub.blobs) == []
    assert temporary(hub) == []
    with pytest.raises(NotFound), hub.session(write=True) as session:
        hub.grant_blob(session, repo, "3" * 64)


def test_a_refused_xorb_leaves_nothing(hub: Hub, ann: Actor) -> None:
    xorb = BuiltXorb([noise(500)])
    for name, body in [
        ("0" * 64, xorb.body),
        (xorb.name, xorb.body[:-1]),
        (xorb.name, b""),
        ("../../x", xorb.body),
    ]:
        with pytest.raises(BadInput):
            hub.xet.add_xorb(ann, name, BytesIO(body))
    large = BuiltXorb([noise(60_000), noise(60_000)], 0)
    with pytest.raises(TooLarge):
        hub.xet.add_xorb(ann, large.name, BytesIO(large.body))
    assert list(hub.xet.store) == []
    assert temporary(hub) == []


def test_a_file_beyond_the_hubs_bound(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([bytes(100_000)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    with pytest.raises(TooLarge, match="1100000 bytes"):
        hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 1)] * 11])))


def test_realms_differ_by_user_and_hub(hub: Hub, ann: Actor, tmp_path: Path) -> None:
    eve = hub.accounts.actor_for(hub.accounts.create_user("eve"))
    assert hub.xet.realm(ann) == hub.xet.realm(ann)
    assert hub.xet.realm(ann) != hub.xet.realm(eve)
    with Hub.open(Settings(tmp_path / "other")) as other:
        assert hub.xet.realm(ann) != other.xet.realm(ann)


def test_collecting_waits_until_clients_have_forgotten(hub: Hub, ann: Actor) -> None:
    old, fresh, stray = (BuiltXorb([noise(100)]) for _ in range(3))
    for xorb in (old, fresh):
        hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    hub.xet.store.write(stray.name, BytesIO(stray.body))
    with hub.session(write=True) as session:
        row = session.get(Xorb, old.name)
        assert row is not None
        row.created_at = now() - timedelta(days=31)
    assert hub.xet.collect(dry_run=True) == [old.name]
    assert hub.xet.store.exists(old.name)
    assert hub.xet.collect() == [old.name]
    assert sorted(hub.xet.store) == sorted([fresh.name, stray.name])
    long_ago = (now() - timedelta(days=40)).timestamp()
    os.utime(hub.xet.store.path(stray.name), (long_ago, long_ago))
    assert hub.xet.collect() == [stray.name]
    # What was collected can be sent again.
    assert hub.xet.add_xorb(ann, old.name, BytesIO(old.body)) is True
