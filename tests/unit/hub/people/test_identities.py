# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import BadInput, Conflict, Forbidden, Unauthorized
from plait.hub.people.identities import Claims

from ..conftest import World

ISSUER = "https://id.example"


def test_a_linked_identity_signs_in(world: World) -> None:
    identities = world.hub.identities
    claims = Claims(ISSUER, "1234", {"preferred_username": "ann"})
    with pytest.raises(Unauthorized):
        identities.sign_in_with(claims)
    identities.link(world.actor("bob"), claims)
    actor = identities.sign_in_with(claims, address="203.0.113.7")
    assert (actor.name, actor.scope, actor.address) == ("bob", "write", "203.0.113.7")
    with pytest.raises(Conflict):
        identities.link(world.actor("eve"), claims)
    with pytest.raises(Forbidden):
        identities.link(world.actor("eve", "read"), Claims(ISSUER, "5", {}))
    world.hub.accounts.disable(world.accounts["bob"])
    with pytest.raises(Unauthorized):
        identities.sign_in_with(claims, create=True)
    world.hub.accounts.enable(world.accounts["bob"])
    identities.unlink(world.actor("bob"), ISSUER)
    with pytest.raises(Unauthorized):
        identities.sign_in_with(claims)


def test_a_name_or_an_address_takes_no_account_over(world: World) -> None:
    claims = Claims(ISSUER, "99", {"preferred_username": "ann", "email": "ann@example"})
    with pytest.raises(Conflict):
        world.hub.identities.sign_in_with(claims, create=True)
    with pytest.raises(BadInput):
        world.hub.identities.sign_in_with(Claims(ISSUER, "98", {}), create=True)


def test_newcomers_get_an_account_where_the_operator_wants_it(world: World) -> None:
    claims = Claims(ISSUER, "7", {"preferred_username": "zoe", "name": "Zoë", "email": "z@x.test"})
    first = world.hub.identities.sign_in_with(claims, create=True)
    assert world.hub.identities.sign_in_with(claims) == first
    account = world.hub.accounts.get("zoe")
    assert (account.fullname, account.email, account.is_admin) == ("Zoë", "z@x.test", False)
