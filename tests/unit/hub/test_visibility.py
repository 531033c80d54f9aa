# SPDX-License-Identifier: Apache-2.0
"""The condition for the database and the one decision say the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from plait.hub import ANONYMOUS, SYSTEM, Actor, Hub, can
from plait.hub.database import Repository, Team
from plait.hub.permissions import PERMISSIONS, ROLES
from plait.hub.visibility import readable
from plait.settings import load_settings

ME, OTHER, ORG, ORG2 = 1, 2, 3, 4
TEAMS = (1, 2)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """Two users and two organisations with repositories of every sort."""
    hub = Hub.open(load_settings(tmp_path_factory.mktemp("town") / "hub", {}))
    me, other = (hub.accounts.create_user(name) for name in ("me", "other"))
    org, org2 = (hub.accounts.create_organization(name, other) for name in ("org", "org2"))
    assert [a.id for a in (me, other, org, org2)] == [ME, OTHER, ORG, ORG2]
    with hub.session(write=True) as session:
        for number, owner in ((1, ORG), (2, ORG2)):
            session.add(Team(id=number, organization_id=owner, name="t", name_key="t"))
        session.flush()
        sorts = itertools.product((ME, OTHER, ORG, ORG2), (False, True), (None, *TEAMS))
        for number, (owner, private, team) in enumerate(sorts):
            session.add(
                Repository(
                    type="model",
                    namespace_id=owner,
                    name=f"r{number}",
                    name_key=f"r{number}",
                    private=private,
                    team_id=team,
                    gated="auto" if number % 3 == 0 else "",
                    disabled=number % 5 == 0,
                    created_by=ME if number % 2 else OTHER,
                )
            )
    return hub


roles = st.sampled_from(ROLES)
permissions = st.sampled_from(PERMISSIONS)
actors = st.builds(
    Actor,
    user_id=st.sampled_from([ME, OTHER, 9, None]),
    is_admin=st.booleans(),
    scope=st.sampled_from(["none", "read", "contributor", "write", "fine-grained"]),
    roles=st.dictionaries(st.sampled_from([ORG, ORG2]), roles),
    teams=st.dictionaries(st.sampled_from(TEAMS), roles),
    repository_grants=st.dictionaries(st.integers(1, 30), permissions, max_size=5),
    namespace_grants=st.dictionaries(st.sampled_from([ME, OTHER, ORG, ORG2]), permissions),
    disabled=st.sampled_from([False, False, True]),
) | st.sampled_from([ANONYMOUS, SYSTEM])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actor=actors)
def test_lists_hold_what_may_be_read_and_nothing_else(town: Hub, actor: Actor) -> None:
    with town.session() as session:
        everything = list(session.scalars(select(Repository)))
        found = set(session.scalars(select(Repository.id).where(readable(actor))))
    assert found == {repo.id for repo in everything if can(actor, "repo.read", repo)}


def test_the_town_has_repositories_of_every_sort(town: Hub, tmp_path: Path) -> None:
    with town.session() as session:
        everything = list(session.scalars(select(Repository)))
    assert len({(r.namespace_id, r.private, r.team_id) for r in everything}) == 24
