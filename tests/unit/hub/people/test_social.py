# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from plait.api import create_api
from plait.errors import BadInput, Forbidden, NotFound, Unauthorized
from plait.hub import ANONYMOUS
from plait.hub.people.avatars import draw_avatar

from ..conftest import World


def test_numbers_count_what_the_caller_may_read(world: World) -> None:
    hub, ann, eve = world.hub, world.actor("ann"), world.actor("eve")
    world.repo("ann/open")
    secret = world.repo("ann/secret", private=True)
    world.repo("ann/data", private=True, kind="dataset")
    hub.discussions.create(ann, secret, "Quiet")
    hub.likes.add(ann, secret)
    own = hub.social.overview(ann, "ann", "user")
    assert own.repositories == {"model": 2, "dataset": 1}
    assert (own.discussions, own.likes) == (1, 1)
    assert [o.name for o in own.organizations] == ["shop"]
    for stranger in (eve, ANONYMOUS):
        seen = hub.social.overview(stranger, "ANN")
        assert seen.repositories == {"model": 1}
        assert (seen.discussions, seen.likes, seen.organizations) == (0, 0, [])
        organization = hub.social.overview(stranger, "shop", "organization")
        assert organization.members is None
        assert hub.social.members(stranger, "shop").items == []
    assert hub.social.overview(ann, "shop", "organization").members == 1
    assert [m.name for m in hub.social.members(ann, "shop").items] == ["ann"]
    for name, kind in [("shop", "user"), ("ann", "organization"), ("nobody", None), ("é", None)]:
        with pytest.raises(NotFound):
            hub.social.overview(ann, name, kind)  # type: ignore[arg-type]


def test_following(world: World) -> None:
    hub, ann, bob = world.hub, world.actor("ann"), world.actor("bob")
    for name in ("ann", "eve", "shop", "ann"):
        hub.social.follow(bob, name)
    assert {a.name for a in hub.social.following(ANONYMOUS, "bob").items} == {"ann", "eve", "shop"}
    seen, cursor = [], None
    while True:
        page = hub.social.following(ANONYMOUS, "bob", limit=1, cursor=cursor)
        seen += [a.name for a in page.items]
        if (cursor := page.cursor) is None:
            break
    assert sorted(seen) == ["ann", "eve", "shop"]
    assert [a.name for a in hub.social.followers(ann, "shop").items] == ["bob"]
    overview = hub.social.overview(bob, "ann")
    assert (overview.followers, overview.is_following) == (1, True)
    assert not hub.social.overview(ann, "ann").is_following
    hub.social.unfollow(bob, "ann")
    hub.social.unfollow(bob, "ann")
    assert hub.social.followers(ann, "ann").items == []
    with pytest.raises(BadInput):
        hub.social.follow(bob, "bob")
    with pytest.raises(Unauthorized):
        hub.social.follow(ANONYMOUS, "bob")
    with pytest.raises(Forbidden):
        hub.social.follow(world.actor("ann", "read"), "bob")


def test_nobody_learns_an_address_of_mail(world: World) -> None:
    world.accounts["zoe"] = world.hub.accounts.create_user("zoe", email="zoe@secret.example")
    world.hub.accounts.add_member(world.accounts["shop"], world.accounts["zoe"])
    world.hub.social.follow(world.actor("zoe"), "ann")
    token = world.hub.tokens.create(world.accounts["ann"])
    headers = {"Authorization": f"Bearer {token}"}
    client = TestClient(create_api(world.hub), headers=headers)
    for path in (
        "users/zoe/overview",
        "users/zoe/following",
        "users/ann/followers",
        "organizations/shop/members",
        "organizations/shop/overview",
        "organizations/shop/followers",
    ):
        answer = client.get(f"/api/{path}")
        assert answer.status_code == 200, path
        assert "@" not in answer.text


def test_avatars_run_nothing_and_tell_nothing(world: World) -> None:
    client = TestClient(create_api(world.hub))
    known, unknown = client.get("/avatars/ann.svg"), client.get("/avatars/nobody-here.svg")
    assert known.status_code == unknown.status_code == 200
    assert known.headers["Content-Type"].startswith("image/svg+xml")
    assert known.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in known.headers["Content-Security-Policy"]
    assert client.get("/avatars/%3Cscript%3E.svg").status_code == 404


@given(st.text(max_size=30))
def test_an_avatar_holds_only_letters_of_the_name(name: str) -> None:
    drawn = draw_avatar(name)
    assert drawn.count("<") == draw_avatar("ann").count("<")
    assert "&" not in drawn
