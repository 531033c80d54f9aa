# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from plait.errors import BadInput, Conflict, Forbidden, TooManyRequests, Unauthorized
from plait.hub import SYSTEM, Hub
from plait.hub.database import Account, OneTimeSecret, now
from plait.hub.people import passwords
from plait.hub.people.credentials import WRONG
from plait.hub.people.passwords import check_password, hash_password, is_common, verify_password

from ..conftest import World

GOOD = "unrelated words together"
OTHER = "another set of words"
HERE = "203.0.113.7"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Parameters that cost little: what they should be is tested by itself."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))
    passwords._nobody.cache_clear()
    yield
    passwords._nobody.cache_clear()


def invited(world: World, name: str = "bob", password: str = GOOD) -> None:
    secret = world.hub.accounts.invite(world.accounts[name])
    world.hub.accounts.use_secret(secret, password)


def log(world: World, action: str) -> list[Any]:
    return world.hub.audit.list(SYSTEM, action=action, limit=200).items


def test_the_parameters_are_those_of_rfc_9106(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    kept = passwords._HASHER.hash(GOOD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    "bad",
    [
        "short", "123456789", "password123!", "Password1234", "P@ssw0rd2026", "qwertyuiop",
        "1234567890", "0987654321", "aaaaaaaaaaaa", "abababababab", "abcabcabcabc",
        "adminadmin", "iloveyou2026!!", "woaini1314520", "1q2w3e4r5t6", "letmein!!!!",
        "bob-secret1", "x" * 257,
    ],
)  # fmt: skip
def test_passwords_that_everybody_tries_are_refused(bad: str) -> None:
    with pytest.raises(BadInput):
        check_password(bad, "bob")


@pytest.mark.parametrize(
    "good", [GOOD, "四个不相干的词语在这里哦", "tr0ub4dor&3-not", "x1" * 3 + GOOD]
)
def test_good_passwords_are_taken(good: str) -> None:
    assert check_password(good, "bob")


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=4), st.integers(3, 12))
def test_repetitions_are_common(piece: str, times: int) -> None:
    if len(piece * times) >= 10:
        assert is_common(piece * times)


def test_only_the_password_verifies() -> None:
    kept = hash_password(GOOD)
    assert GOOD not in kept
    assert verify_password(kept, GOOD)
    assert not verify_password(kept, GOOD + " ")
    assert not verify_password(kept, GOOD.upper())
    assert not verify_password(None, GOOD)
    assert not verify_password(None, "\0nobody")
    assert not verify_password("nonsense", GOOD)
    assert not verify_password(kept, "x" * 10**6)
    assert verify_password(hash_password("café of the world"), "cafe\u0301 of the world")
    assert hash_password("\ud800" * 10)


def test_signing_in_with_a_password(world: World) -> None:
    accounts = world.hub.accounts
    invited(world)
    actor = accounts.sign_in("BOB", GOOD, HERE)
    assert (actor.name, actor.scope, actor.token_id, actor.address) == ("bob", "write", None, HERE)
    cookie = world.hub.tokens.open_session(actor)
    found = world.hub.tokens.session_actor(cookie)
    assert found is not None and found.name == "bob"
    newest = log(world, "login")[0]
    assert (newest.actor, newest.address, newest.details) == ("bob", HERE, {"means": "password"})


def test_every_failure_says_the_same(world: World) -> None:
    accounts = world.hub.accounts
    invited(world)
    accounts.disable(world.accounts["bob"])
    for name, password in (
        ("ann", ""), ("ann", GOOD), ("nobody", GOOD), ("shop", GOOD), ("bob", GOOD),
        ("bob", "wrong"), ("", ""), ("é\0", GOOD), ("x" * 500, "y" * 5000),
    ):  # fmt: skip
        with pytest.raises(Unauthorized) as caught:
            accounts.sign_in(name, password)
        assert caught.value.message == WRONG
    failures = log(world, "login.failed")
    assert len(failures) == 9
    assert {entry.actor for entry in failures} == {""}
    # A name that is none may be a password in the wrong field.
    assert {entry.target for entry in failures} == {"ann", "bob", ""}


def test_unknown_users_take_as_long_as_known_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = PasswordHasher(1, 8, 1)

    class Counting:
        def verify(self, kept: str, password: str) -> bool:
            calls.append(kept)
            return real.verify(kept, password)

        hash = staticmethod(real.hash)
        check_needs_rehash = staticmethod(real.check_needs_rehash)

    monkeypatch.setattr(passwords, "_HASHER", Counting())
    for name in ("nobody", "ann", "shop"):
        with pytest.raises(Unauthorized):
            world.hub.accounts.sign_in(name, GOOD)
    assert len(calls) == 3


def test_stronger_parameters_reach_those_who_sign_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited(world)
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(2, 16, 1))
    world.hub.accounts.sign_in("bob", GOOD)
    kept = world.hub.accounts.get("bob").password
    assert kept is not None and "m=16,t=2" in kept
    world.hub.accounts.sign_in("bob", GOOD)


def test_changing_the_password_ends_every_session(world: World) -> None:
    hub = world.hub
    invited(world)
    actor = hub.accounts.sign_in("bob", GOOD)
    cookies = [hub.tokens.open_session(actor) for _ in range(2)]
    with pytest.raises(Unauthorized, match="old password"):
        hub.accounts.change_password(actor, "wrong", OTHER)
    with pytest.raises(BadInput, match="too short"):
        hub.accounts.change_password(actor, GOOD, "short")
    for other in (replace(actor, scope="read"), world.actor("ann")):
        with pytest.raises(Forbidden):
            hub.accounts.change_password(other, GOOD, OTHER)
    assert all(hub.tokens.session_actor(cookie) for cookie in cookies)
    hub.accounts.change_password(actor, GOOD, OTHER)
    assert not any(hub.tokens.session_actor(cookie) for cookie in cookies)
    with pytest.raises(Unauthorized):
        hub.accounts.sign_in("bob", GOOD)
    hub.accounts.sign_in("bob", OTHER)
    assert log(world, "password.change")[0].target == "bob"


def test_a_link_works_once_and_for_its_time(world: World) -> None:
    accounts = world.hub.accounts
    bob = world.accounts["bob"]
    first = accounts.invite(bob)
    second = accounts.invite(bob)
    with pytest.raises(Unauthorized, match="used"):
        accounts.use_secret(first, GOOD)
    with pytest.raises(BadInput, match="too short"):
        accounts.use_secret(second, "short")
    assert accounts.use_secret(second, GOOD).name == "bob"
    with pytest.raises(Unauthorized, match="used"):
        accounts.use_secret(second, OTHER)
    third = accounts.invite(bob)
    with world.hub.session(write=True) as session:
        session.execute(update(OneTimeSecret).values(expires_at=now() - timedelta(seconds=1)))
    with pytest.raises(Unauthorized, match="time is over"):
        accounts.use_secret(third, OTHER)
    fourth = accounts.invite(bob)
    accounts.disable(bob)
    with pytest.raises(Unauthorized):
        accounts.use_secret(fourth, OTHER)
    accounts.enable(bob)
    accounts.sign_in("bob", GOOD)
    with pytest.raises(Forbidden):
        accounts.invite(bob, by=world.actor("ann"))
    with pytest.raises(Conflict):
        accounts.invite(world.accounts["shop"])


def test_secrets_are_nowhere_in_the_database(world: World) -> None:
    secret = world.hub.accounts.invite(world.accounts["bob"])
    world.hub.accounts.use_secret(world.hub.accounts.invite(world.accounts["ann"]), GOOD)
    with world.hub.session() as session:
        for table in ("one_time_secrets", "accounts", "audit_entries"):
            rows = repr(session.execute(text(f"SELECT * FROM {table}")).all())
            assert secret not in rows
            assert GOOD not in rows


def test_a_new_hub_has_one_administrator_and_no_password(hub: Hub) -> None:
    first = hub.accounts.first_run()
    assert first is not None
    assert hub.accounts.first_run() is None
    with hub.session() as session:
        (account,) = session.scalars(select(Account))
    assert (account.name, account.is_admin, account.password) == ("administrator", True, None)
    with pytest.raises(Unauthorized):
        hub.accounts.sign_in("administrator", "")
    actor = hub.accounts.use_secret(first.secret, GOOD)
    assert actor.is_admin
    assert hub.accounts.sign_in("administrator", GOOD).is_admin


def test_a_hub_with_people_makes_nobody(world: World) -> None:
    assert world.hub.accounts.first_run() is None


def test_guessing_is_slowed_down_by_address_and_by_name(world: World) -> None:
    accounts = world.hub.accounts
    limit = world.hub.settings.login_limit
    for _ in range(limit):
        with pytest.raises(Unauthorized):
            accounts.sign_in("bob", "guess", HERE)
    with pytest.raises(TooManyRequests) as caught:
        accounts.sign_in("ann", "guess", HERE)
    assert 0 < caught.value.retry_after <= 302
    with pytest.raises(TooManyRequests):
        accounts.sign_in("bob", "guess", "198.51.100.9")
    with pytest.raises(TooManyRequests):
        accounts.sign_in_with_token("x", HERE)
    # Somebody else from elsewhere is not held up.
    with pytest.raises(Unauthorized):
        accounts.sign_in("ann", "guess", "198.51.100.9")


def test_guessing_links_is_slowed_down(world: World) -> None:
    for _ in range(world.hub.settings.secret_limit):
        with pytest.raises(Unauthorized):
            world.hub.accounts.use_secret("guess", GOOD, HERE)
    with pytest.raises(TooManyRequests):
        world.hub.accounts.use_secret("guess", GOOD, HERE)


def test_signing_in_with_a_token(world: World) -> None:
    hub = world.hub
    token = hub.tokens.create(world.accounts["bob"], scope="read")
    actor = hub.accounts.sign_in_with_token(token, HERE)
    assert (actor.name, actor.scope, actor.address) == ("bob", "read", HERE)
    assert log(world, "login")[0].details == {"means": "token"}
    with pytest.raises(Unauthorized):
        hub.accounts.sign_in_with_token("plait_x", HERE)


def test_a_disabled_user_is_out_at_once(world: World) -> None:
    hub = world.hub
    invited(world)
    token = hub.tokens.create(world.accounts["bob"])
    cookie = hub.tokens.open_session(hub.accounts.sign_in("bob", GOOD))
    hub.accounts.disable(world.accounts["bob"])
    assert hub.tokens.authenticate(token) is None
    assert hub.tokens.session_actor(cookie) is None
    assert hub.accounts.actor_for(hub.accounts.get("bob")).disabled
    hub.accounts.enable(world.accounts["bob"])
    assert hub.tokens.authenticate(token) is not None
    assert hub.tokens.session_actor(cookie) is None
