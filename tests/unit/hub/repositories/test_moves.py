# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import BadInput, Conflict, Forbidden, Moved, RepositoryNotFound
from plait.hub import ANONYMOUS

from ..conftest import World


def where(world: World, name: str) -> str:
    with pytest.raises(Moved) as moved:
        world.hub.repositories.get(ANONYMOUS, "model", name)
    return moved.value.new_name


def test_every_old_name_leads_to_the_newest(world: World) -> None:
    repo, ann = world.repo("shop/a"), world.actor("ann")
    for name in ("shop/b", "ann/c", "ann/D"):
        repo = world.hub.repositories.move(ann, repo, name)
    for name in ("shop/a", "SHOP/B", "ann/c"):
        assert where(world, name) == "ann/D"
    assert world.hub.repositories.get(ANONYMOUS, "model", "ann/d").id == repo.id
    with pytest.raises(RepositoryNotFound):
        world.hub.repositories.get(ANONYMOUS, "dataset", "shop/a")


def test_going_back_and_changing_case_end_the_redirect(world: World) -> None:
    repo, ann = world.repo("shop/a"), world.actor("ann")
    repo = world.hub.repositories.move(ann, repo, "shop/b")
    repo = world.hub.repositories.move(ann, repo, "shop/a")
    assert world.hub.repositories.get(ANONYMOUS, "model", "shop/a").id == repo.id
    assert where(world, "shop/b") == "shop/a"
    repo = world.hub.repositories.move(ann, repo, "shop/A")
    assert world.hub.repositories.get(ANONYMOUS, "model", "shop/a").full_name == "shop/A"


def test_a_new_repository_takes_an_old_name(world: World) -> None:
    repo, ann = world.repo("shop/a"), world.actor("ann")
    world.hub.repositories.move(ann, repo, "shop/b")
    fresh = world.repo("shop/a")
    assert world.hub.repositories.get(ANONYMOUS, "model", "shop/a").id == fresh.id
    world.hub.repositories.delete(ann, fresh)
    with pytest.raises(RepositoryNotFound):
        world.hub.repositories.get(ANONYMOUS, "model", "shop/a")


def test_a_redirect_tells_strangers_nothing(world: World) -> None:
    repo, ann = world.repo("shop/a"), world.actor("ann")
    world.hub.repositories.move(ann, repo, "ann/hidden")
    assert where(world, "shop/a") == "ann/hidden"
    world.hub.repositories.update(ann, repo, private=True)
    for actor in (ANONYMOUS, world.actor("bob")):
        with pytest.raises(RepositoryNotFound) as gone:
            world.hub.repositories.get(actor, "model", "shop/a")
        with pytest.raises(RepositoryNotFound) as absent:
            world.hub.repositories.get(actor, "model", "shop/z")
        assert gone.value.message == absent.value.message.replace("shop/z", "shop/a")


def test_moves_that_are_refused_change_nothing(world: World) -> None:
    repo, move = world.repo("shop/a"), world.hub.repositories.move
    world.repo("shop/taken")
    for name in ("bob/a", "nobody/a", "api/a"):
        with pytest.raises(Forbidden):
            move(world.actor("ann"), repo, name)
    for name in ("shop", "shop/..", "shop/a.git", "shop/a/b", ""):
        with pytest.raises(BadInput):
            move(world.actor("ann"), repo, name)
    with pytest.raises(Conflict, match=r"A model repository called .* already exists"):
        move(world.actor("ann"), repo, "shop/TAKEN")
    for actor in (world.actor("bob"), world.actor("ann", "read"), ANONYMOUS):
        with pytest.raises(Forbidden):
            move(actor, repo, "bob/stolen")
    assert world.hub.repositories.get(ANONYMOUS, "model", "shop/a").id == repo.id


def test_a_deleted_repository_takes_its_redirects_along(world: World) -> None:
    repo, ann = world.repo("shop/a"), world.actor("ann")
    repo = world.hub.repositories.move(ann, repo, "shop/b")
    world.hub.repositories.delete(ann, repo)
    with pytest.raises(RepositoryNotFound):
        world.hub.repositories.get(ann, "model", "shop/a")


def test_searches_find_the_new_name(world: World) -> None:
    repo, ann = world.repo("shop/before"), world.actor("ann")
    world.hub.repositories.move(ann, repo, "ann/after")
    found = world.hub.repositories.list(ANONYMOUS, search="ann/aft")
    assert [r.full_name for r in found.items] == ["ann/after"]
    assert world.hub.repositories.count(ANONYMOUS, search="before") == 0
