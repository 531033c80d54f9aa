# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import BadInput, Forbidden, RepositoryNotFound, Unauthorized
from plait.hub import ANONYMOUS

from ..conftest import World


def test_a_user_likes_once_and_takes_it_back(world: World) -> None:
    repo, bob, likes = world.repo(), world.actor("bob"), world.hub.likes
    assert likes.add(bob, repo) == 1
    assert likes.add(bob, repo) == 1
    assert likes.add(world.actor("eve"), repo) == 2
    assert likes.likes(bob, repo)
    assert not likes.likes(ANONYMOUS, repo)
    assert [user.name for user in likes.likers(ANONYMOUS, repo).items] == ["bob", "eve"]
    assert likes.remove(bob, repo) == 1
    assert likes.remove(bob, repo) == 1
    found = world.hub.repositories.get(ANONYMOUS, "model", repo.full_name)
    assert found.likes == 1


def test_who_may_like(world: World) -> None:
    repo, secret = world.repo(), world.repo("shop/secret", private=True)
    with pytest.raises(Unauthorized):
        world.hub.likes.add(ANONYMOUS, repo)
    with pytest.raises(Forbidden):
        world.hub.likes.add(world.actor("bob", "read"), repo)
    for call in (world.hub.likes.add, world.hub.likes.remove, world.hub.likes.likers):
        with pytest.raises(RepositoryNotFound):
            call(world.actor("bob"), secret)


def test_what_a_user_likes_is_shown_to_those_who_may_read_it(world: World) -> None:
    secret, ann = world.repo("shop/secret", private=True), world.actor("ann")
    world.hub.likes.add(ann, secret)
    world.hub.likes.add(ann, world.repo("shop/open"))
    account = world.accounts["ann"]

    def shown(actor: object) -> list[str]:
        page = world.hub.likes.liked_by(actor, account)  # type: ignore[arg-type]
        return [repo.full_name for repo, _ in page.items]

    assert shown(ann) == ["shop/open", "shop/secret"]
    assert shown(world.actor("bob")) == shown(ANONYMOUS) == ["shop/open"]


def test_pages_of_likes_join(world: World) -> None:
    ann, likes = world.actor("ann"), world.hub.likes
    repos = [world.repo(f"shop/m{n}") for n in range(5)]
    for repo in repos:
        likes.add(ann, repo)
    seen: list[str] = []
    cursor = None
    while True:
        page = likes.liked_by(ANONYMOUS, world.accounts["ann"], limit=2, cursor=cursor)
        seen += [repo.name for repo, _ in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"m{n}" for n in (4, 3, 2, 1, 0)]
    for strange in ("x", "2026-01-01_1", "_", "2026-01-01T00:00:00+00:00_x"):
        with pytest.raises(BadInput):
            likes.liked_by(ANONYMOUS, world.accounts["ann"], cursor=strange)
    users = [world.add(f"user{n}") for n in range(3)]
    for user in users:
        likes.add(user, repos[0])
    first = likes.likers(ANONYMOUS, repos[0], limit=2)
    rest = likes.likers(ANONYMOUS, repos[0], limit=5, cursor=first.cursor)
    assert [u.name for u in [*first.items, *rest.items]] == ["ann", "user0", "user1", "user2"]
