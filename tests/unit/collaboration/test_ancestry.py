# SPDX-License-Identifier: Apache-2.0
"""Following a lineage across repositories and mirrors, by hash, for those who may look."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from plait.collaboration.ancestry import identity, trace
from plait.hub import ANONYMOUS, Actor, AddBytes, Hub, Repository
from plait.lineage import Contribution, Lineage, Origin, dump_lineage

W = "model.safetensors"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class World:
    """Repositories whose weights are a few bytes, with lineages."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.actor = hub.accounts.actor_for(hub.accounts.create_user("ann"), "write")
        self.other = hub.accounts.actor_for(hub.accounts.create_user("bob"), "write")

    def model(
        self,
        name: str,
        content: bytes,
        base: Origin | None = None,
        contributions: Sequence[Contribution] = (),
        *,
        private: bool = False,
        actor: Actor | None = None,
    ) -> tuple[Repository, Origin]:
        hub, actor = self.hub, actor or self.actor
        repo = hub.repositories.create(actor, "model", name, private)
        digest, size = hub.blobs.write(iter([content]))
        with hub.session(write=True) as session:
            hub.grant_blob(session, repo, digest, size)
        from plait.hub import AddPointer

        files = [AddPointer(W, digest, size)]
        if base is not None:
            lineage = Lineage(base, tuple(contributions), {}, {W: digest})
            files.append(AddBytes("lineage.json", dump_lineage(lineage)))  # type: ignore[arg-type]
        oid = hub.commits.apply(actor, repo, "main", files, "weights").oid
        return repo, Origin(name, oid, {W: digest})

    def trace(self, repo: Repository, actor: Actor = ANONYMOUS):  # type: ignore[no-untyped-def]
        from plait.collaboration.merging.states import state_at

        head = self.hub.git.head(repo)
        assert head is not None
        lineage = state_at(self.hub, repo, head).lineage
        assert lineage is not None
        return trace(self.hub, actor, repo.full_name, lineage)


def contribution(number: int, content: bytes, revision: str = "0" * 40) -> Contribution:
    return Contribution(
        number, "ann", "shop", f"Number {number}", revision, {W: sha(content)}, licence="mit"
    )


@pytest.fixture
def world(hub: Hub) -> World:
    return World(hub)


def test_over_three_repositories(world: World) -> None:
    _, first = world.model("ann/first", b"first")
    _, second = world.model("ann/second", b"second", first, [contribution(1, b"c1")])
    third, _ = world.model("ann/third", b"third", second, [contribution(5, b"c5")])
    found = world.trace(third)
    ids = {name: identity({W: sha(name.encode())}) for name in ("first", "second", "third", "c1",
                                                                "c5")}  # fmt: skip
    assert set(found.models) == set(ids.values()) - {ids["third"]}
    assert set(found.edges) == {
        (ids["second"], ids["third"]), (ids["c5"], ids["third"]), (ids["second"], ids["c5"]),
        (ids["first"], ids["second"]), (ids["c1"], ids["second"]), (ids["first"], ids["c1"]),
    }  # fmt: skip
    assert found.models[ids["first"]].home == "ann/first"
    assert found.whole


def test_what_may_not_be_read_is_not_followed(world: World) -> None:
    _, first = world.model("ann/first", b"first")
    _, second = world.model("ann/second", b"second", first, [contribution(1, b"c1")], private=True)
    third, _ = world.model("ann/third", b"third", second)
    own = world.trace(third, world.actor)
    assert len(own.models) == 3
    for stranger in (ANONYMOUS, world.other):
        found = world.trace(third, stranger)
        [only] = found.models.values()
        assert only.home is None
        assert only.mirrors == ()


def test_a_mirror_leads_on(world: World) -> None:
    """The named repository is gone; the same bytes lie elsewhere, with their lineage."""
    _, first = world.model("ann/first", b"first")
    gone, second = world.model("ann/second", b"second", first, [contribution(1, b"c1")])
    world.model("bob/mirror", b"second", first, [contribution(1, b"c1")], actor=world.other)
    world.model("bob/secret", b"second", first, actor=world.other, private=True)
    third, _ = world.model("ann/third", b"third", second)
    world.hub.repositories.delete(world.actor, gone)
    found = world.trace(third)
    middle = found.models[identity(second.files)]
    assert (middle.home, middle.mirrors) == (None, ("bob/mirror",))
    assert identity(first.files) in found.models
    assert world.trace(third, world.other).models[middle.id].mirrors == (
        "bob/mirror",
        "bob/secret",
    )


def test_a_lineage_that_claims_a_circle(world: World) -> None:
    """Anybody can write a lineage; one that is its own base must not hang or break the page."""
    fake = Origin("ann/loop", "0" * 40, {W: sha(b"loop")})
    loop, _ = world.model("ann/loop", b"loop", fake, [contribution(1, b"loop")])
    assert world.trace(loop).edges == []
    one_claims = Origin("ann/two", "1" * 40, {W: sha(b"two")})
    _, one = world.model("ann/one", b"one", one_claims)
    two, _ = world.model("ann/two", b"two", one)
    found = world.trace(two)
    assert len(found.edges) == 1


def test_there_is_an_end(world: World) -> None:
    _, base = world.model("ann/base", b"base")
    several = [contribution(i, f"c{i}".encode()) for i in range(1, 900)]
    repo, _ = world.model("ann/many", b"many", base, several)
    found = world.trace(repo)
    assert not found.whole
    assert len(found.models) <= 501
