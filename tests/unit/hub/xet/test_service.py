# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import delete

from plait.errors import BadInput, NotFound, PlaitError, TooLarge
from plait.hub import Actor, AddPointer, Hub, Repository
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
    assert b"".join(hub.blobs.read_range(sha256)) == data
    assert hub.blobs.local_path(sha256) is None, "it is not written out"
    assert list(hub.blobs.objects()) == []
    assert hub.blobs.present(sha256)
    assert hub.blobs.verify(sha256) is None
    with hub.session() as session:
        assert hub.has_grant(session, repo, sha256)
        blob = session.get(Blob, sha256)
    assert blob is not None
    assert (blob.size, blob.flat) == (len(data), False)
    assert blob.xet_hash is not None
    assert hub.xet.hashes(repo, [sha256]) == {sha256: blob.xet_hash}
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
    assert b"".join(hub.blobs.read_range(sha256)) == xorb.chunks[0]


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


def age_xorb(hub: Hub, name: str) -> None:
    with hub.session(write=True) as session:
        row = session.get(Xorb, name)
        assert row is not None
        row.touched_at = now() - timedelta(days=31)


def test_collecting_waits_until_clients_have_forgotten(hub: Hub, ann: Actor) -> None:
    old, fresh = (BuiltXorb([noise(100)]) for _ in range(2))
    for xorb in (old, fresh):
        hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    age_xorb(hub, old.name)
    assert hub.xet.collect(dry_run=True) == [old.name]
    assert hub.xet.store.exists(old.name)
    assert hub.xet.collect() == [old.name]
    assert list(hub.xet.store) == [fresh.name]
    assert {item.name.rsplit("/", 1)[1] for item in hub.xet.store.objects()} == {
        fresh.name,
        fresh.name + ".index",
    }
    # What was collected can be sent again.
    assert hub.xet.add_xorb(ann, old.name, BytesIO(old.body)) is True


def test_a_file_keeps_its_xorbs(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([noise(100)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 1)]])))
    age_xorb(hub, xorb.name)
    assert hub.xet.collect() == []
    hub.blobs.delete(hashlib.sha256(xorb.chunks[0]).hexdigest())
    assert hub.xet.collect() == [xorb.name]


def test_a_shard_marks_its_xorbs_as_wanted(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([noise(100)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    age_xorb(hub, xorb.name)
    with pytest.raises(BadInput):
        hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 1)]], sha256="3" * 64)))
    assert hub.xet.collect() == []


def test_objects_without_a_row_go_when_they_are_old(hub: Hub, ann: Actor) -> None:
    xorb = BuiltXorb([noise(100)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    assert not hub.xet.store.delete_orphan(xorb.name, None)
    with hub.session(write=True) as session:
        session.execute(delete(Xorb))
    assert not hub.xet.store.delete_orphan(xorb.name, time.time() - 60)
    assert hub.xet.store.delete_orphan(xorb.name, time.time() + 60)
    assert list(hub.xet.store.objects()) == []


def test_a_file_that_came_both_ways_is_read_from_the_flat_copy(
    hub: Hub, ann: Actor, repo: Repository
) -> None:
    xorb = BuiltXorb([noise(3000)])
    sha256, _ = hub.blobs.write([xorb.chunks[0]])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 1)]])))
    assert hub.blobs.local_path(sha256) is not None
    assert hub.xet.hashes(repo, [sha256])
    assert hub.blobs.verify(sha256) is None
    hub.store.delete(f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}")
    assert b"".join(hub.blobs.read_range(sha256, 10, 20)) == xorb.chunks[0][10:20]
    assert hub.blobs.present(sha256)
    # Made of xorbs, it is not stored once more when it comes by LFS.
    other = BuiltXorb([noise(500)])
    hub.xet.add_xorb(ann, other.name, BytesIO(other.body))
    hub.xet.add_shard(ann, repo, BytesIO(shard([[(other, 0, 1)]])))
    again, _ = hub.blobs.write([other.chunks[0]])
    assert hub.blobs.local_path(again) is None


def test_damage_of_a_xorb_is_named(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([noise(3000), noise(2000)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 2)]])))
    sha256 = hashlib.sha256(b"".join(xorb.chunks)).hexdigest()
    assert hub.xet.verify(sha256) == []
    name = f"xorbs/{xorb.name[:2]}/{xorb.name[2:4]}/{xorb.name}"
    hub.store.put(name, xorb.body[:-1] + b"?")
    assert xorb.name in hub.xet.verify(sha256)[0]
    assert "damaged" in str(hub.blobs.verify(sha256))
    hub.store.delete(name)
    assert not hub.blobs.present(sha256)
    assert xorb.name in hub.xet.verify(sha256)[0]
    with pytest.raises(PlaitError, match="backup") as caught:
        b"".join(hub.blobs.read_range(sha256))
    assert caught.value.status == 500
    assert hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body)) is False, "sent again, it heals"
    assert hub.blobs.verify(sha256) is None


def test_only_files_of_the_commit_are_found(hub: Hub, ann: Actor, repo: Repository) -> None:
    xorb = BuiltXorb([noise(3000), noise(2000)])
    hub.xet.add_xorb(ann, xorb.name, BytesIO(xorb.body))
    hub.xet.add_shard(ann, repo, BytesIO(shard([[(xorb, 0, 1)], [(xorb, 1, 2)]])))
    committed, pending = (hashlib.sha256(chunk).hexdigest() for chunk in xorb.chunks)
    hub.commits.apply(ann, repo, "main", [AddPointer("a.bin", committed)], "one of two")
    commit = hub.git.resolve(repo)
    hashes = hub.xet.hashes(repo, [committed, pending])
    blob, _ = hub.xet.find(repo, commit, hashes[committed])
    assert blob.sha256 == committed
    other = hub.repositories.create(ann, "model", "ann/other")
    assert hub.xet.hashes(other, [committed]) == {}
    for where, at, name in (
        (repo, commit, hashes[pending]),
        (repo, commit, "0" * 64),
        (other, hub.git.resolve(other), hashes[committed]),
    ):
        with pytest.raises(NotFound):
            hub.xet.find(where, at, name)
