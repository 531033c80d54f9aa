# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import Conflict, EntryNotFound, Forbidden, GatedRepository, RepositoryNotFound
from plait.hub import ANONYMOUS, AddBytes, AddPointer, Repository

from ..conftest import World


def filled(world: World, name: str = "shop/source", *, private: bool = False) -> Repository:
    repo, ann = world.repo(name, private=private), world.actor("ann")
    sha256 = world.blob(repo, b"weights")
    operations = [AddBytes("a.txt", b"a"), AddPointer("w.bin", sha256, 7)]
    world.hub.commits.apply(ann, repo, "main", operations, "first")
    world.hub.commits.apply(ann, repo, "main", [AddBytes("a.txt", b"b")], "second")
    world.hub.references.create_branch(ann, repo, "dev")
    world.hub.references.create_tag(ann, repo, "v1")
    return world.hub.repositories.get(ann, "model", name)


def test_a_copy_has_the_same_history_and_files_and_lives_on_alone(world: World) -> None:
    hub, source, bob = world.hub, filled(world), world.actor("bob")
    hub.commits.apply(bob, source, "main", [AddBytes("p.txt", b"p")], "proposal", create_pr=True)
    copy = hub.repositories.duplicate(bob, source, "bob/copy")
    assert (copy.head, copy.full_name, copy.private) == (source.head, "bob/copy", False)
    refs = hub.git.refs(copy)
    assert [r.name for r in refs.branches] == ["dev", "main"]
    assert [r.name for r in refs.tags] == ["v1"]
    assert refs.pull_requests == []
    assert len(hub.git.log(copy, copy.head or "")) == 3
    hub.repositories.delete(world.actor("ann"), source)
    found = hub.commits.open_file(copy, copy.head or "", "w.bin")
    assert b"".join(hub.blobs.read_range(found.etag)) == b"weights"
    hub.commits.apply(bob, copy, "main", [AddBytes("more.txt", b"m")], "go on")


def test_a_copy_is_no_more_open_than_its_source(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    source = filled(world, private=True)
    source = hub.repositories.update(ann, source, gated="manual")
    assert hub.repositories.duplicate(ann, source, "ann/one").private
    copy = hub.repositories.duplicate(ann, source, "ann/two", private=False)
    assert (copy.private, copy.gated) == (False, "manual")


def test_who_may_copy_what_and_where_to(world: World) -> None:
    hub, ann, bob = world.hub, world.actor("ann"), world.actor("bob")
    source, secret = filled(world), filled(world, "shop/secret", private=True)
    with pytest.raises(RepositoryNotFound):
        hub.repositories.duplicate(bob, secret, "bob/copy")
    for actor, name in ((bob, "shop/copy"), (world.actor("bob", "read"), "bob/copy")):
        with pytest.raises(Forbidden):
            hub.repositories.duplicate(actor, source, name)
    with pytest.raises(Forbidden):
        hub.repositories.duplicate(ANONYMOUS, source, "bob/copy")
    with pytest.raises(Conflict):
        hub.repositories.duplicate(ann, source, "shop/SECRET")
    closed = hub.repositories.update(ann, source, gated="manual")
    with pytest.raises(GatedRepository):
        hub.repositories.duplicate(bob, closed, "bob/copy")
    assert hub.repositories.find("model", "bob/copy") is None


def test_a_source_that_lacks_bytes_is_not_copied(world: World) -> None:
    source = filled(world)
    sha256 = world.hub.git.entry(source, source.head or "", "w.bin").etag
    assert world.hub.blobs.delete(sha256)
    with pytest.raises(EntryNotFound, match="lacks a large file"):
        world.hub.repositories.duplicate(world.actor("bob"), source, "bob/copy")
    assert not list(world.hub.settings.git_dir.glob("copy-*"))
