# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from plait.errors import BadInput, Conflict, Forbidden, NotFound, RepositoryNotFound
from plait.hub import SYSTEM
from plait.hub.database import Team

from ..conftest import World


@pytest.fixture
def team(world: World) -> Team:
    accounts = world.hub.accounts
    for name in ("bob", "eve"):
        accounts.add_member(world.accounts["shop"], world.accounts[name], "write")
    made = world.hub.teams.create(world.actor("ann"), world.accounts["shop"], "Core", "the core")
    world.hub.teams.add_member(world.actor("ann"), made, world.accounts["bob"], "read")
    return made


def test_a_teams_private_repository_is_there_for_the_team(world: World, team: Team) -> None:
    hub, ann = world.hub, world.actor("ann")
    repo = world.repo("shop/secret", private=True)
    assert hub.repositories.get(world.actor("eve"), "model", "shop/secret").id == repo.id
    hub.teams.add_repository(ann, team, repo)
    with pytest.raises(RepositoryNotFound):
        hub.repositories.get(world.actor("eve"), "model", "shop/secret")
    hub.repositories.get(world.actor("bob"), "model", "shop/secret")
    with pytest.raises(Forbidden):
        hub.repositories.get(world.actor("bob"), "model", "shop/secret", "repo.write")
    hub.teams.add_member(ann, team, world.accounts["bob"], "write")
    hub.repositories.get(world.actor("bob"), "model", "shop/secret", "repo.write")
    assert [r.full_name for r in hub.teams.repositories(world.actor("bob"), team)] == [
        "shop/secret"
    ]
    assert hub.teams.repositories(world.actor("eve"), team) == []
    with pytest.raises(Conflict, match="Take them out first"):
        hub.teams.delete(ann, team)
    fresh = hub.repositories.by_id(repo.id)
    assert fresh is not None
    hub.teams.remove_repository(ann, team, fresh)
    hub.repositories.get(world.actor("eve"), "model", "shop/secret", "repo.write")
    hub.teams.delete(ann, team)
    assert hub.teams.list(ann, world.accounts["shop"]) == []


def test_who_leaves_the_organisation_leaves_its_teams(world: World, team: Team) -> None:
    hub, shop, bob = world.hub, world.accounts["shop"], world.accounts["bob"]
    hub.accounts.remove_member(shop, bob)
    assert hub.teams.members(SYSTEM, team) == []
    hub.accounts.add_member(shop, bob, "read")
    assert world.actor("bob").teams == {}


def test_names_are_found_in_any_case_and_taken_once(world: World, team: Team) -> None:
    teams, shop, ann = world.hub.teams, world.accounts["shop"], world.actor("ann")
    assert teams.get(world.actor("bob"), shop, "CORE").id == team.id
    with pytest.raises(Conflict):
        teams.create(ann, shop, "core")
    other = teams.create(ann, shop, "other")
    with pytest.raises(Conflict):
        teams.update(ann, other, name="CORE")
    assert teams.update(ann, other, name="Others", description="x").name == "Others"
    assert [t.name for t in teams.list(ann, shop)] == ["Core", "Others"]
    with pytest.raises(BadInput):
        teams.create(ann, shop, "../x")
    with pytest.raises(BadInput, match="not an organisation"):
        teams.create(SYSTEM, world.accounts["bob"], "x")


def test_only_administrators_decide_and_only_members_see(world: World, team: Team) -> None:
    teams, shop = world.hub.teams, world.accounts["shop"]
    world.add("out")
    bob, out = world.actor("bob"), world.actor("out")
    repo = world.repo("shop/open")
    changes: list[Any] = [
        lambda who: teams.create(who, shop, "mine"),
        lambda who: teams.update(who, team, name="mine"),
        lambda who: teams.delete(who, team),
        lambda who: teams.add_member(who, team, world.accounts["bob"], "admin"),
        lambda who: teams.remove_member(who, team, world.accounts["bob"]),
        lambda who: teams.add_repository(who, team, repo),
    ]
    looks: list[Any] = [
        lambda who: teams.list(who, shop),
        lambda who: teams.get(who, shop, "core"),
        lambda who: teams.members(who, team),
        lambda who: teams.repositories(who, team),
    ]
    for act in changes:
        for who in (bob, out, world.actor("ann", "read"), world.actor("ann", "contributor")):
            with pytest.raises(Forbidden):
                act(who)
    for look in looks:
        look(bob)
        with pytest.raises(Forbidden):
            look(out)


def test_what_does_not_fit_is_refused(world: World, team: Team) -> None:
    teams, ann = world.hub.teams, world.actor("ann")
    world.add("out")
    role: Any = "owner"
    with pytest.raises(BadInput, match="owner"):
        teams.add_member(ann, team, world.accounts["bob"], role)
    with pytest.raises(BadInput, match="does not belong"):
        teams.add_member(ann, team, world.accounts["out"], "read")
    with pytest.raises(BadInput, match="does not belong"):
        teams.add_repository(ann, team, world.repo("ann/own"))
    with pytest.raises(NotFound):
        teams.remove_repository(ann, team, world.repo("shop/other"))
    with pytest.raises(NotFound):
        teams.remove_member(ann, team, world.accounts["eve"])
    with pytest.raises(NotFound):
        teams.get(ann, world.accounts["shop"], "nothing")


def test_it_is_all_in_the_log(world: World, team: Team) -> None:
    ann, repo = world.actor("ann"), world.repo("shop/secret", private=True)
    world.hub.teams.add_repository(ann, team, repo)
    found = world.hub.audit.list(SYSTEM, action="team", account=world.accounts["shop"]).items
    assert [entry.action for entry in found] == [
        "team.add-repository", "team.add-member", "team.create",
    ]  # fmt: skip
    assert found[0].details == {"team": "Core", "repository": "model shop/secret"}
