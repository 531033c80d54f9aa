# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from plait.errors import Conflict
from plait.hub import AddBytes, AddPointer, Author, Delete, Repository
from plait.hub.database import Blob, BlobGrant, BrowserSession, now
from plait.hub.upkeep.collect import collect
from plait.hub.upkeep.fsck import damage

from ..conftest import World


def age(path: Path) -> None:
    os.utime(path, (1, 1))


def write_over(world: World, sha256: str, data: bytes) -> None:
    path = world.hub.blobs.local_path(sha256)
    if path is None:
        pytest.skip("only a folder's bytes can be written over")
    path.chmod(0o600)
    path.write_bytes(data)


def old_blob(world: World, repo: Repository, data: bytes) -> str:
    sha256 = world.blob(repo, data)
    world.age(sha256)
    return sha256


def test_only_what_nothing_refers_to_goes(world: World) -> None:
    hub, repo, ann = world.hub, world.repo(), world.actor("ann")
    kept = {name: world.blob(repo, name.encode()) for name in ("main", "history", "pull", "tag")}
    hub.commits.apply(ann, repo, "main", [AddPointer("h.bin", kept["history"])], "1")
    hub.commits.apply(ann, repo, "main", [Delete("h.bin"), AddPointer("m.bin", kept["main"])], "2")
    hub.commits.apply(ann, repo, "main", [AddPointer("p.bin", kept["pull"])], "3", create_pr=True)
    hub.references.create_branch(ann, repo, "dev")
    hub.commits.apply(ann, repo, "dev", [AddPointer("d/t.bin", kept["tag"])], "4")
    hub.references.create_tag(ann, repo, "v1", "dev", "annotated")
    hub.references.delete_branch(ann, repo, "dev")
    world.age(*kept.values())
    garbage = old_blob(world, repo, b"garbage")
    fresh = world.blob(repo, b"an upload under way")

    assert collect(hub, dry_run=True).blobs == [garbage]
    assert hub.blobs.exists(garbage)
    report = collect(hub)
    assert (report.blobs, report.blob_bytes) == ([garbage], 7)
    assert set(hub.blobs) == {*kept.values(), fresh}
    with hub.session() as session:
        assert session.get(Blob, garbage) is None
        assert session.get(BlobGrant, (repo.id, garbage)) is None
        assert session.get(Blob, fresh) is not None
    assert damage(hub, deep=True) == []
    assert collect(hub).blobs == []


def test_what_is_about_to_be_referred_to_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that starts after the search for references must keep its bytes."""
    hub, repo = world.hub, world.repo()
    sha256 = old_blob(world, repo, b"wanted in a moment")

    def search(_git: object) -> Iterator[object]:
        # The references are read before the commit makes its own.
        hub.commits.apply(world.actor("ann"), repo, "main", [AddPointer("a.bin", sha256)], "late")
        return iter(())

    with monkeypatch.context() as patch:
        patch.setattr("plait.hub.upkeep.collect.pointers", search)
        assert collect(hub).blobs == []
    assert damage(hub) == []


def test_a_deleted_repositorys_bytes_go_unless_another_uses_them(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    one, two = world.repo("shop/one"), world.repo("shop/two")
    shared, own = world.blob(one, b"shared"), world.blob(one, b"own")
    assert world.blob(two, b"shared") == shared
    hub.commits.apply(ann, one, "main", [AddPointer("a", shared), AddPointer("b", own)], "x")
    hub.commits.apply(ann, two, "main", [AddPointer("a", shared)], "x")
    hub.repositories.delete(ann, one)
    world.age(shared, own)
    assert collect(hub).blobs == [own]
    assert damage(hub) == []


def test_left_overs_of_killed_processes_go(world: World) -> None:
    hub, repo = world.hub, world.repo()
    old = [
        hub.settings.temporary_dir / "blob-1",
        hub.settings.git_dir / "77.git" / "HEAD",
        hub.settings.git_dir / "78.git.new" / "HEAD",
        hub.settings.git_dir / "79.git.deleted" / "HEAD",
        hub.git.path(repo) / "objects" / "ab" / "tmp_object_git2_x",
    ]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        age(path)
    for number in ("77.git", "78.git.new", "79.git.deleted"):
        age(hub.settings.git_dir / number)
    fresh = [hub.settings.temporary_dir / "blob-2", hub.settings.git_dir / "80.git" / "HEAD"]
    for path in fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    report = collect(hub)
    assert report.git_folders == ["77.git", "78.git.new", "79.git.deleted"]
    assert len(report.temporary) == 2
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in fresh)
    assert hub.git.resolve(repo) == repo.head


def test_ended_sessions_go(world: World) -> None:
    hub = world.hub
    ended, going = (hub.tokens.open_session(world.actor(name)) for name in ("ann", "bob"))
    with hub.session(write=True) as session:
        first = session.scalars(select(BrowserSession.digest).limit(1)).one()
        session.execute(
            update(BrowserSession).where(BrowserSession.digest == first).values(expires_at=now())
        )
    assert collect(hub).sessions == 1
    assert sum(hub.tokens.session_actor(cookie) is not None for cookie in (ended, going)) == 1


def test_a_card_that_a_crash_left_behind_is_caught_up(world: World) -> None:
    hub, repo = world.hub, world.repo()
    hub.git.commit(
        repo,
        ref="refs/heads/main",
        operations=[AddBytes("README.md", b"---\nlicense: mit\n---\n")],
        message="the process died before the database was told",
        author=Author("ann"),
    )
    assert collect(hub).refreshed == ["shop/model"]
    found = hub.repositories.by_id(repo.id)
    assert found is not None
    assert found.card == {"license": "mit"}
    assert collect(hub).refreshed == []


def test_nothing_goes_while_a_repository_cannot_be_read(world: World) -> None:
    hub, repo = world.hub, world.repo()
    garbage = old_blob(world, repo, b"perhaps needed")
    oid = hub.git.tree_of(repo, hub.git.resolve(repo))
    (hub.git.path(repo) / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(Conflict, match="shop/model"):
        collect(hub)
    assert hub.blobs.exists(garbage)
    hub.repositories.delete(world.actor("ann"), repo)
    assert collect(hub).blobs == [garbage]


@pytest.mark.usefixtures("in_a_folder")
def test_objects_that_nobody_knows_go_when_they_are_old(world: World) -> None:
    hub = world.hub
    kept, _ = hub.blobs.write([b"has a row"])
    stray, fresh = ("ab" * 32, "cd" * 32)
    names = {
        digest: f"blobs/{digest[:2]}/{digest[2:4]}/{digest}" for digest in (kept, stray, fresh)
    }
    xorb = f"xorbs/ab/ab/{stray}"
    for name in (names[stray], names[fresh], xorb, f"{xorb}.index"):
        hub.store.put(name, b"left by a crash")
    for name in (names[kept], names[stray], xorb, f"{xorb}.index"):
        world.age_object(name)
    assert collect(hub, dry_run=True).orphans == [names[stray], xorb]
    assert collect(hub).orphans == [names[stray], xorb]
    assert {item.name for item in hub.blobs.objects()} == {names[kept], names[fresh]}
    assert list(hub.xet.store.objects()) == []
    assert collect(hub).orphans == []
