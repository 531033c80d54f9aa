# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from plait.errors import (
    BadInput,
    Forbidden,
    NotFound,
    RepositoryNotFound,
    TooManyRequests,
)
from plait.hub import SYSTEM, Actor, Token
from plait.hub.database import BrowserSession, now
from plait.hub.people.tokens import Grant

from ..conftest import World

HERE = "203.0.113.7"


def actor(world: World, secret: str, address: str = "") -> tuple[Actor, Token]:
    found = world.hub.tokens.authenticate(secret, address)
    assert found is not None
    return found


def fine(world: World, grants: Sequence[Grant], name: str = "ann") -> Actor:
    secret = world.hub.tokens.create(world.accounts[name], scope="fine-grained", grants=grants)
    return actor(world, secret)[0]


def test_a_fine_grained_token_does_what_it_was_given(world: World) -> None:
    repos = world.hub.repositories
    one, two = world.repo("shop/one", private=True), world.repo("shop/two", private=True)
    world.repo("ann/own", private=True)
    here = fine(world, [Grant("write", repository=one)])
    repos.require(here, one, "repo.write")
    with pytest.raises(RepositoryNotFound):
        repos.require(here, two, "repo.read")
    with pytest.raises(Forbidden):
        repos.create(here, "model", "shop/three")
    throughout = fine(world, [Grant("write", namespace=world.accounts["shop"])])
    for repo in (one, two):
        repos.require(throughout, repo, "repo.write")
    repos.create(throughout, "model", "shop/three", True)
    reading = fine(
        world,
        [Grant("read", namespace=world.accounts["shop"]), Grant("contributor", repository=one)],
    )
    repos.require(reading, one, "repo.propose")
    with pytest.raises(Forbidden, match="fine-grained"):
        repos.require(reading, two, "repo.propose")
    assert {r.full_name for r in repos.list(reading).items} == {
        "shop/one", "shop/two", "shop/three",
    }  # fmt: skip
    assert {r.full_name for r in repos.list(here).items} == {"shop/one"}
    # What its user cannot do, it cannot: bob belongs nowhere.
    with pytest.raises(RepositoryNotFound):
        repos.require(fine(world, [Grant("write", repository=one)], "bob"), one, "repo.read")


def test_a_contributors_token_only_contributes(world: World) -> None:
    hub = world.hub
    repo = world.repo("shop/one", private=True)
    found = actor(world, hub.tokens.create(world.accounts["ann"], scope="contributor"))[0]
    pull = hub.discussions.create(found, repo, "Mine", pull_request=True)
    hub.repositories.require(found, repo, "pull.write", pull)
    others = hub.discussions.create(SYSTEM, repo, "Not mine", pull_request=True)
    for action, about in (("repo.write", None), ("repo.merge", pull), ("pull.write", others)):
        with pytest.raises(Forbidden):
            hub.repositories.require(found, repo, action, about)  # type: ignore[arg-type]
    with pytest.raises(Forbidden):
        hub.tokens.issue(found, scope="write", name="more")


def test_grants_and_scopes_must_fit(world: World) -> None:
    create, bob = world.hub.tokens.create, world.accounts["bob"]
    repo = world.repo("shop/one")
    grant = Grant("read", repository=repo)
    permission: Any = "admin"
    for scope, grants, words in (
        ("fine-grained", [], "at least one"),
        ("write", [grant], "only such a token"),
        ("fine-grained", [Grant("read")], "either a repository or a namespace"),
        ("fine-grained", [Grant("read", repo, bob)], "either a repository or a namespace"),
        ("fine-grained", [Grant(permission, repository=repo)], "Grant one of"),
        ("fine-grained", [grant, grant], "once"),
        ("fine-grained", [grant] * 101, "at most 100"),
    ):
        with pytest.raises(BadInput, match=words):
            create(bob, scope=scope, grants=grants)  # type: ignore[arg-type]


def test_users_make_list_and_end_their_own(world: World) -> None:
    tokens = world.hub.tokens
    bob = world.actor("bob")
    ends = now() + timedelta(days=1)
    secret = tokens.issue(bob, scope="read", name="laptop", expires_at=ends)
    newest = tokens.list_own(bob)[0]
    assert (newest.name, newest.scope, newest.hint) == ("laptop", "read", secret[-4:])
    assert newest.expires_at == ends
    with pytest.raises(NotFound):
        tokens.revoke(newest.id, by=world.actor("eve"))
    with pytest.raises(NotFound):
        tokens.revoke(newest.id, by=world.actor("bob", "read"))
    tokens.revoke(newest.id, by=bob)
    assert tokens.authenticate(secret) is None
    other = actor(world, tokens.create(world.accounts["bob"]))[1]
    tokens.revoke(other.id, by=world.add("root", admin=True))
    with pytest.raises(Forbidden):
        tokens.create(world.accounts["bob"], by=world.actor("eve"))
    with pytest.raises(Forbidden):
        tokens.issue(world.actor("bob", "read"), scope="read", name="x")
    with pytest.raises(Forbidden):
        tokens.list_own(world.actor("bob", "read"))


def test_a_token_makes_none_that_outlives_it(world: World) -> None:
    tokens = world.hub.tokens
    ends = now() + timedelta(hours=1)
    short = actor(world, tokens.create(world.accounts["bob"], expires_at=ends))[0]
    for later in (None, ends + timedelta(seconds=1)):
        with pytest.raises(BadInput, match="outlives"):
            tokens.issue(short, scope="write", name="longer", expires_at=later)
    tokens.issue(short, scope="write", name="shorter", expires_at=ends)


def test_nothing_unreadable_can_be_granted(world: World) -> None:
    secret = world.repo("shop/secret", private=True)
    with pytest.raises(RepositoryNotFound):
        world.hub.tokens.issue(
            world.actor("bob"), scope="fine-grained", name="x",
            grants=[Grant("read", repository=secret)],
        )  # fmt: skip


def test_grants_are_listed_while_they_can_be_seen(world: World) -> None:
    tokens, bob = world.hub.tokens, world.accounts["bob"]
    repo = world.repo("shop/open")
    grants = [Grant("read", repository=repo), Grant("write", namespace=bob)]
    tokens.create(bob, scope="fine-grained", grants=grants)
    token = tokens.list(bob)[0]
    assert [(g.place, g.permission) for g in tokens.grants_of([token])[token.id]] == [
        ("model shop/open", "read"),
        ("bob", "write"),
    ]
    world.hub.repositories.update(world.actor("ann"), repo, private=True)
    assert [g.place for g in tokens.grants_of([token])[token.id]] == ["bob"]


def test_making_tokens_is_limited(world: World) -> None:
    bob = world.actor("bob")
    for number in range(world.hub.settings.token_limit):
        world.hub.tokens.issue(bob, scope="read", name=f"t{number}")
    with pytest.raises(TooManyRequests):
        world.hub.tokens.issue(bob, scope="read", name="one more")


def test_where_a_token_was_used(world: World) -> None:
    tokens = world.hub.tokens
    secret = tokens.create(world.accounts["bob"])
    assert actor(world, secret, HERE)[0].address == HERE
    used = tokens.list(world.accounts["bob"])[0]
    assert used.last_used_from == HERE
    assert used.last_used_at is not None


def test_a_session_slides_until_its_end(world: World) -> None:
    tokens, settings = world.hub.tokens, world.hub.settings
    cookie = tokens.open_session(world.actor("ann"))

    def age(**values: Any) -> None:
        with world.hub.session(write=True) as session:
            session.execute(update(BrowserSession).values(**values))

    def end() -> Any:
        with world.hub.session() as session:
            return session.query(BrowserSession.expires_at).scalar()

    idle = timedelta(seconds=settings.session_idle)
    assert abs(end() - now() - idle) < timedelta(minutes=1)
    age(expires_at=now() + timedelta(hours=1))
    assert tokens.session_actor(cookie) is not None
    assert abs(end() - now() - idle) < timedelta(minutes=1)
    opened = now() - timedelta(seconds=settings.session_ttl) + timedelta(minutes=30)
    age(created_at=opened, expires_at=now() + timedelta(minutes=5))
    assert tokens.session_actor(cookie) is not None
    assert end() == opened + timedelta(seconds=settings.session_ttl)


def test_signing_out_everywhere(world: World) -> None:
    tokens = world.hub.tokens
    ann = replace(world.actor("ann"), token_id=None)
    cookies = [tokens.open_session(ann) for _ in range(3)]
    others = tokens.open_session(world.actor("bob"))
    with pytest.raises(Forbidden):
        tokens.close_sessions(world.actor("ann", "read"))
    tokens.close_sessions(ann)
    assert not any(tokens.session_actor(cookie) for cookie in cookies)
    assert tokens.session_actor(others) is not None


def test_what_happens_to_tokens_is_in_the_log_without_them(world: World) -> None:
    tokens = world.hub.tokens
    secret = tokens.issue(world.actor("bob"), scope="read", name="laptop")
    tokens.revoke(tokens.list(world.accounts["bob"])[0].id, by=world.actor("bob"))
    entries = world.hub.audit.list(SYSTEM, action="token", limit=200).items
    assert {entry.action for entry in entries} == {"token.create", "token.revoke"}
    revoked = next(e for e in entries if e.action == "token.revoke")
    assert (revoked.actor, revoked.target, revoked.details["name"]) == ("bob", "bob", "laptop")
    assert secret not in repr([entry.details for entry in entries])
