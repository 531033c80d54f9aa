# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import (
    BadInput,
    EntryNotFound,
    Forbidden,
    GatedRepository,
    RepositoryNotFound,
)
from plait.hub import ANONYMOUS, AddBytes, AddPointer, Delete, Repository

from ..conftest import World


def commit(world: World, repo: Repository, path: str, data: bytes, ref: str = "main") -> str:
    sha256 = world.blob(repo, data)
    operations = [AddPointer(path, sha256, len(data)), AddBytes(f"{path}.txt", data)]
    world.hub.commits.apply(world.actor("ann"), repo, ref, operations, f"add {path}")
    return sha256


def paths(world: World, repo: Repository, ref: str = "main") -> list[str]:
    oid = world.hub.git.resolve(repo, ref)
    return [e.path for e in world.hub.git.tree(repo, oid, recursive=True) if e.type == "file"]


def test_files_of_all_refs_and_of_the_past_are_listed(world: World) -> None:
    repo, ann, hub = world.repo(), world.actor("ann"), world.hub
    first = commit(world, repo, "a.bin", b"one")
    hub.commits.apply(ann, repo, "main", [Delete("a.bin")], "remove")
    hub.references.create_branch(ann, repo, "dev")
    second = commit(world, repo, "deep/b.bin", b"second", "dev")
    world.blob(repo, b"never committed")
    found = {file.sha256: file for file in hub.largefiles.list(ann, repo)}
    assert set(found) == {first, second}
    assert (found[first].path, found[first].ref, found[first].size) == ("a.bin", "main", 3)
    assert (found[second].path, found[second].ref) == ("deep/b.bin", "dev")
    for actor in (ANONYMOUS, world.actor("bob"), world.actor("ann", "read")):
        with pytest.raises(Forbidden):
            hub.largefiles.list(actor, repo)


def test_purging_leaves_no_pointer_anywhere_and_everything_else_as_it_was(world: World) -> None:
    repo, ann, bob, hub = world.repo(), world.actor("ann"), world.actor("bob"), world.hub
    kept = commit(world, repo, "kept.bin", b"kept")
    untouched = hub.git.resolve(repo)
    doomed = commit(world, repo, "only/doomed.bin", b"doomed")
    hub.references.create_tag(ann, repo, "v1", message="one")
    hub.references.create_tag(ann, repo, "old", untouched)
    hub.references.create_branch(ann, repo, "dev")
    outcome = hub.commits.apply(
        bob, repo, "main", [AddBytes("p.txt", b"p")], "proposal", create_pr=True
    )
    commit(world, repo, "after.bin", b"after")
    before = [info.title for info in hub.git.log(repo, hub.git.resolve(repo))]
    hub.largefiles.purge(ann, repo, [doomed])
    for ref in ("main", "dev", "v1", "refs/pr/1"):
        assert "only/doomed.bin" not in paths(world, repo, ref)
        assert "kept.bin" in paths(world, repo, ref)
        assert "only/doomed.bin.txt" in paths(world, repo, ref)
    assert hub.git.resolve(repo, "old") == untouched
    log = hub.git.log(repo, hub.git.resolve(repo))
    assert [info.title for info in log] == before
    assert not hub.blobs.exists(doomed)
    assert hub.blobs.exists(kept)
    assert {f.path for f in hub.largefiles.list(ann, repo)} == {"kept.bin", "after.bin"}
    # The pull request still merges: its history was made anew together with main's.
    assert outcome.discussion is not None
    head, base = (hub.git.resolve(repo, ref) for ref in ("refs/pr/1", "main"))
    assert hub.git.merge_base(repo, base, head) == hub.git.resolve(repo, "dev")
    assert hub.git.merge_trees(repo, base, head)[1] == []
    events = [e for e in hub.discussions.events(outcome.discussion) if e.type == "commit"]
    assert [event.data["oid"] for event in events] == [head]
    assert hub.largefiles.purge(ann, repo, [doomed]) == 0


def test_without_rewriting_pointers_stay_and_lead_nowhere(world: World) -> None:
    repo, ann, hub = world.repo(), world.actor("ann"), world.hub
    doomed = commit(world, repo, "w.bin", b"doomed")
    head = hub.git.resolve(repo)
    hub.largefiles.purge(ann, repo, [doomed], rewrite=False)
    assert hub.git.resolve(repo) == head
    with pytest.raises(EntryNotFound):
        hub.commits.open_file(repo, head, "w.bin")


def test_bytes_that_another_repository_has_a_right_to_stay(world: World) -> None:
    repo, other, ann = world.repo(), world.repo("ann/other"), world.actor("ann")
    shared = commit(world, repo, "w.bin", b"shared")
    commit(world, other, "w.bin", b"shared")
    world.hub.largefiles.purge(ann, repo, [shared])
    found = world.hub.commits.open_file(other, world.hub.git.resolve(other), "w.bin")
    assert b"".join(world.hub.blobs.read_range(found.etag)) == b"shared"
    assert paths(world, repo) == [".gitattributes", "w.bin.txt"]


def test_a_history_of_nothing_but_purged_files_stays_whole(world: World) -> None:
    repo, ann, hub = world.repo(), world.actor("ann"), world.hub
    sha256 = world.blob(repo, b"x")
    hub.commits.apply(ann, repo, "main", [AddPointer("x.bin", sha256, 1)], "add")
    hub.commits.apply(ann, repo, "main", [Delete(".gitattributes")], "leave only the file")
    hub.largefiles.purge(ann, repo, [sha256])
    assert paths(world, repo) == []
    hub.commits.apply(ann, repo, "main", [AddBytes("a", b"a")], "on")
    assert paths(world, repo) == ["a"]


def test_who_may_purge(world: World) -> None:
    repo = world.repo()
    sha256 = commit(world, repo, "w.bin", b"w")
    for actor in (ANONYMOUS, world.actor("bob"), world.actor("ann", "read")):
        with pytest.raises(Forbidden):
            world.hub.largefiles.purge(actor, repo, [sha256])
    with pytest.raises(BadInput):
        world.hub.largefiles.purge(world.actor("ann"), repo, ["x"])
    assert world.hub.blobs.exists(sha256)


def test_a_copy_needs_the_right_to_read_and_to_propose(world: World) -> None:
    hub, ann, bob = world.hub, world.actor("ann"), world.actor("bob")
    source, secret = world.repo(), world.repo("shop/secret", private=True)
    mine = hub.repositories.create(bob, "dataset", "bob/mine")
    sha256, hidden = commit(world, source, "w.bin", b"w"), commit(world, secret, "s.bin", b"s")
    waiting = world.blob(source, b"uploaded and never committed")
    with pytest.raises(BadInput, match="not uploaded"):
        hub.commits.apply(bob, mine, "main", [AddPointer("w.bin", sha256)], "steal")
    with pytest.raises(RepositoryNotFound):
        hub.largefiles.copy(bob, secret, mine, [hidden])
    failed = hub.largefiles.copy(bob, source, mine, [sha256, hidden, waiting, "x"])
    assert set(failed) == {hidden, waiting, "x"}
    hub.commits.apply(bob, mine, "main", [AddPointer("w.bin", sha256)], "copy")
    found = hub.commits.open_file(mine, hub.git.resolve(mine), "w.bin")
    assert b"".join(hub.blobs.read_range(found.etag)) == b"w"
    with pytest.raises(Forbidden):
        hub.largefiles.copy(world.actor("bob", "read"), source, mine, [sha256])
    closed = hub.repositories.update(ann, source, gated="manual")
    with pytest.raises(GatedRepository):
        hub.largefiles.copy(bob, closed, mine, [sha256])


@pytest.mark.parametrize("place", ["_rewrite", "_follow", "_drop_bytes"])
def test_a_purge_that_was_cut_off_is_completed_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    repo, ann, hub = world.repo(), world.actor("ann"), world.hub
    kept, doomed = commit(world, repo, "kept.bin", b"kept"), commit(world, repo, "x.bin", b"x")

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(hub.largefiles, place, end)
        hub.largefiles.purge(ann, repo, [doomed])
    assert "kept.bin" in paths(world, repo)
    hub.largefiles.purge(ann, repo, [doomed])
    assert "x.bin" not in paths(world, repo)
    assert {file.sha256 for file in hub.largefiles.list(ann, repo)} == {kept}
