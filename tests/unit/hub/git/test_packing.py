# SPDX-License-Identifier: Apache-2.0
"""Repositories are packed while people work with them, and lose nothing by it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plait.errors import PlaitError
from plait.hub import AddBytes, Hub, Repository
from plait.hub.git.packing import leftovers, pack_all, pack_repository

from ..conftest import World


def files(hub: Hub, repo: Repository, pattern: str) -> list[Path]:
    return sorted((hub.git.path(repo) / "objects").glob(pattern))


def everything(hub: Hub, repo: Repository) -> set[str]:
    return {str(oid) for oid in hub.git.open(repo).odb}


def test_many_commits_become_one_pack(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    for number in range(30):
        hub.commits.apply(ann, repo, "main", [AddBytes(f"d/{number}", b"x")], f"n {number}")
    # What nothing refers to any more stays as well: somebody may know its id.
    old = hub.git.resolve(repo)
    hub.references.super_squash(ann, repo, "main")
    before = everything(hub, repo)
    assert [done.repository for done in pack_all(hub, loose=10)] == ["model shop/model"]
    assert everything(hub, repo) == before
    assert files(hub, repo, "??/*") == []
    assert len(files(hub, repo, "pack/*.idx")) == 1
    assert len(hub.git.log(repo, old)) == 31
    assert list(pack_all(hub, loose=10)) == []


def test_packs_grow_like_the_repository(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    for round_ in range(12):
        for number in range(4):
            new = [AddBytes(f"f{round_}-{number}", f"{round_} {number}".encode() * 200)]
            hub.commits.apply(ann, repo, "main", new, "more")
        before = everything(hub, repo)
        pack_repository(hub, repo, loose=5, packs=1)
        assert everything(hub, repo) == before
        assert len(files(hub, repo, "pack/*.idx")) <= 6
    assert len(hub.git.log(repo, hub.git.resolve(repo), 100)) == 49


def test_packing_while_others_commit_and_read(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    landed: list[str] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(30):
                new = [AddBytes(f"d/{number}", str(number).encode())]
                landed.append(hub.commits.apply(ann, repo, "main", new, "more").oid)
        except (PlaitError, OSError) as error:
            errors.append(error)
        finally:
            done.set()

    def read() -> None:
        try:
            while not done.is_set():
                for entry in hub.git.tree(repo, hub.git.resolve(repo), recursive=True):
                    if entry.type == "file":
                        hub.git.read(repo, hub.git.resolve(repo), entry.path)
        except (PlaitError, OSError) as error:
            errors.append(error)

    threads = [threading.Thread(target=target) for target in (write, read)]
    for thread in threads:
        thread.start()
    while not done.is_set():
        pack_repository(hub, repo, loose=3, packs=1)
    for thread in threads:
        thread.join()
    assert errors == []
    head = hub.git.resolve(repo)
    assert all(hub.git.is_ancestor(repo, oid, head) for oid in landed)
    assert len(hub.git.tree(repo, head, "d")) == 30


def test_many_refs_become_one_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.hub.git.packing.LOOSE_REFS", 10)
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    for number in range(20):
        hub.references.create_tag(ann, repo, f"v{number}", message="x" if number % 2 else None)
    before = hub.git.refs(repo)
    pack_repository(hub, repo)
    assert hub.git.refs(repo) == before
    assert not list((hub.git.path(repo) / "refs" / "tags").iterdir())
    hub.references.delete_tag(ann, repo, "v3")
    hub.references.create_tag(ann, repo, "v3")
    assert len(hub.git.refs(repo).tags) == 20


def test_what_killed_processes_left_is_named(world: World) -> None:
    hub, repo = world.hub, world.repo()
    folder = hub.git.path(repo)
    (folder / "objects" / "pack").mkdir(exist_ok=True)
    for name in ("incoming-00", "objects/pack/tmp_pack_x", "objects/pack/.tmp-1-pack-x.pack"):
        (folder / name).write_bytes(b"")
    assert {p.name for p in leftovers(folder)} == {
        "incoming-00",
        "tmp_pack_x",
        ".tmp-1-pack-x.pack",
    }
