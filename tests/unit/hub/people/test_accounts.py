# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from plait.errors import BadInput, Conflict, NotFound, Unauthorized
from plait.hub import ANONYMOUS
from plait.hub.database import BrowserSession, Token, now
from plait.hub.people.tokens import looks_like_token, new_token

from ..conftest import World


def test_names_are_unique_in_any_case_and_across_kinds(world: World) -> None:
    for make in (
        lambda: world.hub.accounts.create_user("Ann"),
        lambda: world.hub.accounts.create_user("SHOP"),
        lambda: world.hub.accounts.create_organization("bob", "ann"),
    ):
        with pytest.raises(Conflict, match="already an account"):
            make()
    with pytest.raises(NotFound):
        world.hub.accounts.create_organization("other", "nobody")
    assert world.hub.accounts.find("other") is None
    with pytest.raises(BadInput):
        world.hub.accounts.create_user("../x")


def test_roles_are_given_changed_and_taken(world: World) -> None:
    accounts = world.hub.accounts
    shop, ann, bob = (world.accounts[name] for name in ("shop", "ann", "bob"))
    accounts.add_member(shop, bob, "read")
    accounts.add_member(shop, bob, "contributor")
    assert [(a.name, role) for a, role in accounts.members(shop)] == [
        ("ann", "admin"),
        ("bob", "contributor"),
    ]
    assert world.actor("bob").roles == {shop.id: "contributor"}
    assert [(o.name, role) for o, role in accounts.list_organizations(bob)] == [
        ("shop", "contributor")
    ]
    with pytest.raises(Conflict, match="last admin"):
        accounts.remove_member(shop, ann)
    with pytest.raises(Conflict, match="last admin"):
        accounts.add_member(shop, ann, "write")
    accounts.add_member(shop, bob, "admin")
    accounts.remove_member(shop, ann)
    assert world.actor("ann").roles == {}


def test_who_cannot_be_a_member(world: World) -> None:
    accounts = world.hub.accounts
    shop, bob = world.accounts["shop"], world.accounts["bob"]
    role: Any = "owner"
    with pytest.raises(BadInput, match="owner"):
        accounts.add_member(shop, bob, role)
    with pytest.raises(BadInput, match="not an organisation"):
        accounts.add_member(bob, bob)
    with pytest.raises(BadInput, match="not a user"):
        accounts.add_member(shop, shop)


def test_a_token_is_shown_once_and_kept_as_a_digest(world: World) -> None:
    secret = world.hub.tokens.create(world.accounts["bob"], scope="read", name="laptop")
    assert secret.startswith("plait_")
    assert looks_like_token(secret)
    found = world.hub.tokens.authenticate(secret)
    assert found is not None
    actor, token = found
    assert (actor.name, actor.scope, actor.token_id) == ("bob", "read", token.id)
    assert [t.name for t in world.hub.tokens.list(world.accounts["bob"])] == ["laptop"]
    with world.hub.session() as session:
        stored = session.execute(text("SELECT * FROM tokens")).all()
    assert secret not in repr(stored)
    assert secret.removeprefix("plait_") not in repr(stored)


def test_tokens_differ_and_a_slip_of_the_pen_is_noticed() -> None:
    made = {new_token() for _ in range(200)}
    assert len(made) == 200
    assert len({len(token) for token in made}) == 1
    token = made.pop()
    swapped = token[:10] + token[11] + token[10] + token[12:]
    assert not looks_like_token(swapped) or swapped == token
    assert not looks_like_token(token[:-1])
    assert not looks_like_token("")


@pytest.mark.parametrize("wrong", ["", "hf_abc", "plait_", "plait_" + "é" * 49, "x" * 10**5])
def test_what_is_no_token(world: World, wrong: str) -> None:
    assert world.hub.tokens.authenticate(wrong) is None
    assert world.hub.tokens.authenticate(new_token()) is None


def test_a_revoked_or_expired_token_ends(world: World) -> None:
    tokens, bob = world.hub.tokens, world.accounts["bob"]
    secret = tokens.create(bob)
    late = tokens.create(bob, expires_at=now() - timedelta(seconds=1))
    found = tokens.authenticate(secret)
    assert found is not None
    assert tokens.authenticate(late) is None
    cookie = tokens.open_session(found[0])
    assert tokens.session_actor(cookie) is not None
    tokens.revoke(found[1].id)
    assert tokens.authenticate(secret) is None
    assert tokens.session_actor(cookie) is None
    with pytest.raises(NotFound):
        tokens.revoke(12345)


def test_organisations_and_strange_scopes_get_no_token(world: World) -> None:
    scope: Any = "admin"
    with pytest.raises(BadInput, match="admin"):
        world.hub.tokens.create(world.accounts["bob"], scope=scope)
    with pytest.raises(BadInput, match="organisation"):
        world.hub.tokens.create(world.accounts["shop"])


def test_use_is_noted_at_most_once_a_minute(world: World) -> None:
    tokens = world.hub.tokens
    secret = tokens.create(world.accounts["bob"])

    def used() -> Any:
        tokens.authenticate(secret)
        with world.hub.session() as session:
            return session.scalar(select(Token.last_used_at))

    first = used()
    assert first is not None
    assert used() == first
    with world.hub.session(write=True) as session:
        session.execute(update(Token).values(last_used_at=first - timedelta(seconds=61)))
    assert used() > first


def test_a_browser_session_does_no_more_than_its_token(world: World) -> None:
    tokens = world.hub.tokens
    cookie = tokens.open_session(world.actor("ann", "read"))
    actor = tokens.session_actor(cookie)
    assert actor is not None
    assert (actor.name, actor.scope) == ("ann", "read")
    tokens.close_session(cookie)
    assert tokens.session_actor(cookie) is None
    with pytest.raises(Unauthorized):
        tokens.open_session(ANONYMOUS)


def test_a_browser_session_expires(world: World) -> None:
    cookie = world.hub.tokens.open_session(world.actor("ann"))
    with world.hub.session(write=True) as session:
        session.execute(update(BrowserSession).values(expires_at=now()))
    assert world.hub.tokens.session_actor(cookie) is None


def test_roles_are_those_of_now_not_of_signing_in(world: World) -> None:
    world.hub.accounts.add_member(world.accounts["shop"], world.accounts["bob"], "write")
    cookie = world.hub.tokens.open_session(world.actor("bob"))
    world.hub.accounts.remove_member(world.accounts["shop"], world.accounts["bob"])
    actor = world.hub.tokens.session_actor(cookie)
    assert actor is not None
    assert actor.roles == {}
