# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.hub.permissions import ACTIONS, ANONYMOUS, ROLES, SYSTEM, Action, Actor, Resource, can

ORG, ME, OTHER = 10, 1, 2
PUBLIC = Resource(ORG, created_by=OTHER)
PRIVATE = Resource(ORG, private=True, created_by=OTHER)
MADE_BY_ME = Resource(ORG, private=True, created_by=ME)
MY_PULL = Resource(ORG, created_by=OTHER, author_id=ME)
MY_PRIVATE_PULL = Resource(ORG, private=True, created_by=OTHER, author_id=ME)
MINE = Resource(ME, private=True, created_by=ME)

R, D, P, W, M, A = (
    "repo.read",
    "repo.discuss",
    "repo.propose",
    "repo.write",
    "repo.merge",
    "repo.admin",
)
E, PW, NC, NA = "discussion.edit", "pull.write", "namespace.create", "namespace.admin"
PROPOSER = {R, D, P}
WRITER = {R, D, P, W, M, A, E, PW, NC}


def member(role: str | None, scope: str = "write", *, admin: bool = False) -> Actor:
    roles = {} if role is None else {ORG: role}
    return Actor(ME, "me", admin, scope, roles)  # type: ignore[arg-type]


TABLE: list[tuple[str, Actor, Resource, set[str]]] = [
    ("nobody, public", ANONYMOUS, PUBLIC, {R}),
    ("nobody, private", ANONYMOUS, PRIVATE, set()),
    ("stranger, public", member(None), PUBLIC, PROPOSER),
    ("stranger, private", member(None), PRIVATE, set()),
    ("stranger, own pull request", member(None), MY_PULL, {*PROPOSER, E, PW}),
    ("stranger, own pull request, since made private", member(None), MY_PRIVATE_PULL, set()),
    ("read, private", member("read"), PRIVATE, PROPOSER),
    ("contributor, another's", member("contributor"), PRIVATE, {*PROPOSER, NC}),
    ("contributor, own", member("contributor"), MADE_BY_ME, WRITER),
    ("write", member("write"), PRIVATE, WRITER),
    ("admin", member("admin"), PRIVATE, {*WRITER, NA}),
    ("own namespace", member(None), MINE, {*WRITER, NA}),
    ("left the organisation, made it once", member(None), MADE_BY_ME, set()),
    ("site admin", member(None, admin=True), PRIVATE, set(ACTIONS)),
    ("read token, stranger, public", member(None, "read"), PUBLIC, {R}),
    ("read token, admin of the organisation", member("admin", "read"), PRIVATE, {R}),
    ("read token, stranger, private", member(None, "read"), PRIVATE, set()),
    ("read token, site admin", member(None, "read", admin=True), PRIVATE, {R}),
    ("scope none, admin", member("admin", "none"), PRIVATE, set()),
    ("scope none, public", member("admin", "none"), PUBLIC, {R}),
    ("the hub itself", SYSTEM, PRIVATE, set(ACTIONS)),
]


@pytest.mark.parametrize(("who", "actor", "resource", "allowed"), TABLE)
def test_the_table(who: str, actor: Actor, resource: Resource, allowed: set[str]) -> None:
    assert {action for action in ACTIONS if can(actor, action, resource)} == allowed


actors = st.builds(
    Actor,
    user_id=st.sampled_from([ME, OTHER, None]),
    name=st.just("x"),
    is_admin=st.booleans(),
    scope=st.sampled_from(["none", "read", "write"]),
    roles=st.dictionaries(st.sampled_from([ORG, 11]), st.sampled_from(ROLES)),
)
resources = st.builds(
    Resource,
    namespace_id=st.sampled_from([ORG, 11, ME, OTHER]),
    private=st.booleans(),
    created_by=st.sampled_from([ME, OTHER, None]),
    author_id=st.sampled_from([ME, OTHER, None]),
)
actions = st.sampled_from(ACTIONS)


def with_scope(actor: Actor, scope: str) -> Actor:
    return Actor(actor.user_id, actor.name, actor.is_admin, scope, actor.roles)  # type: ignore[arg-type]


@given(actors, actions, resources)
def test_what_may_be_changed_may_be_read(actor: Actor, action: Action, resource: Resource) -> None:
    if can(actor, action, resource) and not action.startswith("namespace."):
        assert can(actor, "repo.read", resource)


@given(actors, actions, resources)
def test_a_smaller_scope_never_allows_more(
    actor: Actor, action: Action, resource: Resource
) -> None:
    allowed = [can(with_scope(actor, s), action, resource) for s in ("none", "read", "write")]
    assert allowed == sorted(allowed)
    if action != "repo.read":
        assert not allowed[1]


@given(actors, actions, resources)
def test_a_greater_role_never_allows_less(actor: Actor, action: Action, resource: Resource) -> None:
    allowed = []
    for role in (None, *ROLES):
        roles = {} if role is None else {resource.namespace_id: role}
        other = Actor(actor.user_id, "x", False, actor.scope, roles)
        allowed.append(can(other, action, resource))
    assert allowed == sorted(allowed)


@given(actors, actions, resources)
def test_a_private_repository_is_nobodys_who_has_no_role(
    actor: Actor, action: Action, resource: Resource
) -> None:
    if (
        resource.private
        and not actor.is_admin
        and actor.user_id != resource.namespace_id
        and resource.namespace_id not in actor.roles
    ):
        assert not can(actor, action, resource)
