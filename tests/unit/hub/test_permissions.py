# SPDX-License-Identifier: Apache-2.0
"""The decision as a table to read, and the laws that hold for everything outside the table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.hub.permissions import (
    ACTIONS,
    ANONYMOUS,
    PERMISSIONS,
    ROLES,
    SYSTEM,
    Action,
    Actor,
    Resource,
    Role,
    can,
)

ORG, ME, OTHER, REPO, TEAM = 10, 1, 2, 77, 5
PUBLIC = Resource(ORG, created_by=OTHER, repository_id=REPO)
PRIVATE = replace(PUBLIC, private=True)
TEAMS = replace(PRIVATE, team_id=TEAM)
TEAMS_PUBLIC = replace(PUBLIC, team_id=TEAM)
GATED = replace(PUBLIC, gated=True)
LET_IN = replace(GATED, accepted=True)
CLOSED = replace(PUBLIC, disabled=True)
CLOSED_PRIVATE = replace(PRIVATE, disabled=True)
MADE_BY_ME = replace(PRIVATE, created_by=ME)
MY_PULL = replace(PUBLIC, author_id=ME)
MY_GATED_PULL = replace(GATED, author_id=ME)
MY_PRIVATE_PULL = replace(PRIVATE, author_id=ME)
MINE = Resource(ME, private=True, created_by=ME, repository_id=REPO)
ORGANISATION, MYSELF, SOMEBODY = Resource(ORG), Resource(ME), Resource(OTHER)

R, F, D, P = "repo.read", "repo.files", "repo.discuss", "repo.propose"
W, M, A = "repo.write", "repo.merge", "repo.admin"
E, PW = "discussion.edit", "pull.write"
NR, NC, NA = "namespace.read", "namespace.create", "namespace.admin"
SELF, HUB_ADMIN = "account.self", "hub.admin"

REPO_ACTIONS = (R, F, D, P, W, M, A, E, PW)
NAMESPACE_ACTIONS = (NR, NC, NA, SELF)
READER = {R, F}
PROPOSER = {R, F, D, P}
WRITER = {*PROPOSER, W, M, A, E, PW}


def member(role: Role | None, scope: Any = "write", *, admin: bool = False, **more: Any) -> Actor:
    roles: dict[int, Role] = {} if role is None else {ORG: role}
    return Actor(ME, "me", admin, scope, roles, **more)


def teammate(role: Role, scope: Any = "write") -> Actor:
    return member("read", scope, teams={TEAM: role})


def fine(role: Role | None, **grants: Any) -> Actor:
    return member(role, "fine-grained", token_id=9, **grants)


def here(permission: str) -> dict[str, Any]:
    return {"repository_grants": {REPO: permission}}


def throughout(permission: str) -> dict[str, Any]:
    return {"namespace_grants": {ORG: permission}}


REPOSITORIES: list[tuple[str, Actor, Resource, set[str]]] = [
    # Nobody and strangers.
    ("nobody, public", ANONYMOUS, PUBLIC, READER),
    ("nobody, private", ANONYMOUS, PRIVATE, set()),
    ("nobody, gated", ANONYMOUS, GATED, {R}),
    ("stranger, public", member(None), PUBLIC, PROPOSER),
    ("stranger, private", member(None), PRIVATE, set()),
    ("stranger, own pull request", member(None), MY_PULL, {*PROPOSER, E, PW}),
    ("stranger, own pull request, since made private", member(None), MY_PRIVATE_PULL, set()),
    ("left the organisation, made it once", member(None), MADE_BY_ME, set()),
    # Roles in an organisation.
    ("read, public", member("read"), PUBLIC, PROPOSER),
    ("read, private", member("read"), PRIVATE, PROPOSER),
    ("contributor, another's", member("contributor"), PRIVATE, PROPOSER),
    ("contributor, own", member("contributor"), MADE_BY_ME, WRITER),
    ("write", member("write"), PRIVATE, WRITER),
    ("admin", member("admin"), PRIVATE, WRITER),
    ("own namespace", member(None), MINE, WRITER),
    ("site admin", member(None, admin=True), PRIVATE, WRITER),
    ("the hub itself", SYSTEM, PRIVATE, WRITER),
    # Teams: the team's role counts, for members of the organisation alone.
    ("writer of the organisation, a team's private one", member("write"), TEAMS, set()),
    ("writer of the organisation, a team's public one", member("write"), TEAMS_PUBLIC, PROPOSER),
    ("admin of the organisation, a team's", member("admin"), TEAMS, WRITER),
    ("site admin, a team's", member(None, admin=True), TEAMS, WRITER),
    ("team reader", teammate("read"), TEAMS, PROPOSER),
    ("team writer", teammate("write"), TEAMS, WRITER),
    ("team writer, not the team's", teammate("write"), PRIVATE, PROPOSER),
    ("team contributor, own", teammate("contributor"), replace(TEAMS, created_by=ME), WRITER),
    ("team writer who left", member(None, teams={TEAM: "write"}), TEAMS, set()),
    # Gates.
    ("stranger, gated", member(None), GATED, {R, D}),
    ("stranger, gated, let in", member(None), LET_IN, PROPOSER),
    ("stranger, gated, own pull request", member(None), MY_GATED_PULL, {R, D, E}),
    ("member, gated", member("read"), GATED, PROPOSER),
    ("writer of the organisation, a team's gated", member("write"),
     replace(TEAMS_PUBLIC, gated=True), {R, D}),
    ("nobody is never let in", ANONYMOUS, LET_IN, {R}),
    ("let in, but it is private", member(None), replace(LET_IN, private=True), set()),
    ("read token, let in", member(None, "read"), LET_IN, READER),
    ("fine-grained token, gated, let in", fine(None), LET_IN, {R}),
    ("fine-grained token, gated, let in, granted", fine(None, **here("read")), LET_IN, READER),
    # Closed by the hub's administrators.
    ("nobody, closed", ANONYMOUS, CLOSED, {R}),
    ("writer, closed", member("write"), CLOSED, {R}),
    ("stranger, closed and private", member(None), CLOSED_PRIVATE, set()),
    ("site admin, closed", member(None, admin=True), CLOSED_PRIVATE, {R, A}),
    ("disabled account, public", member("admin", disabled=True), PUBLIC, set()),
    ("disabled site admin", member(None, admin=True, disabled=True), PRIVATE, set()),
    # Tokens.
    ("read token, stranger, public", member(None, "read"), PUBLIC, READER),
    ("read token, stranger, private", member(None, "read"), PRIVATE, set()),
    ("read token, admin of the organisation", member("admin", "read"), PRIVATE, READER),
    ("read token, site admin", member(None, "read", admin=True), PRIVATE, READER),
    ("contributor token, stranger", member(None, "contributor"), PUBLIC, PROPOSER),
    ("contributor token, stranger, private", member(None, "contributor"), PRIVATE, set()),
    ("contributor token, admin", member("admin", "contributor"), PRIVATE, PROPOSER),
    ("contributor token, own pull request", member("admin", "contributor"), MY_PRIVATE_PULL,
     {*PROPOSER, E, PW}),
    ("contributor token, site admin", member(None, "contributor", admin=True), PRIVATE, PROPOSER),
    ("fine-grained, no grant, public", fine("admin"), PUBLIC, READER),
    ("fine-grained, no grant, private", fine("admin"), PRIVATE, set()),
    ("fine-grained, granted elsewhere", fine("admin", repository_grants={78: "write"}),
     PRIVATE, set()),
    ("fine-grained, read here", fine("admin", **here("read")), PRIVATE, READER),
    ("fine-grained, contributor here", fine("admin", **here("contributor")), PRIVATE, PROPOSER),
    ("fine-grained, write here", fine("admin", **here("write")), PRIVATE, WRITER),
    ("fine-grained, write throughout", fine("write", **throughout("write")), PRIVATE, WRITER),
    ("fine-grained, the wider of two", fine("write", **here("write"), **throughout("read")),
     PRIVATE, WRITER),
    ("fine-grained, more than its user may", fine("read", **here("write")), PRIVATE, PROPOSER),
    ("fine-grained, user is a stranger", fine(None, **here("write")), PRIVATE, set()),
    ("fine-grained of a site admin, no grant", replace(fine(None), is_admin=True), PRIVATE, set()),
    ("scope none, admin", member("admin", "none"), PRIVATE, set()),
    ("scope none, public", member("admin", "none"), PUBLIC, READER),
]  # fmt: skip

NAMESPACES: list[tuple[str, Actor, Resource, set[str]]] = [
    ("nobody", ANONYMOUS, ORGANISATION, set()),
    ("stranger", member(None), ORGANISATION, set()),
    ("read", member("read"), ORGANISATION, {NR}),
    ("contributor", member("contributor"), ORGANISATION, {NR, NC}),
    ("write", member("write"), ORGANISATION, {NR, NC}),
    ("admin", member("admin"), ORGANISATION, {NR, NC, NA}),
    ("myself", member(None), MYSELF, {NR, NC, NA, SELF}),
    ("somebody else", member(None), SOMEBODY, set()),
    ("site admin", member(None, admin=True), ORGANISATION, {NR, NC, NA}),
    ("site admin is not everybody", member(None, admin=True), SOMEBODY, {NR, NC, NA}),
    ("disabled", member("admin", disabled=True), MYSELF, set()),
    ("read token", member("admin", "read"), MYSELF, {NR}),
    ("contributor token", member("admin", "contributor"), MYSELF, {NR}),
    ("fine-grained, no grant", fine("admin"), MYSELF, set()),
    ("fine-grained, write throughout", fine("admin", **throughout("write")), ORGANISATION,
     {NR, NC}),
    ("fine-grained, read throughout", fine("admin", **throughout("read")), ORGANISATION, {NR}),
    ("fine-grained, write to one repository", fine("admin", **here("write")), ORGANISATION, set()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("actor", "resource", "allowed"),
    [row[1:] for row in REPOSITORIES],
    ids=[row[0] for row in REPOSITORIES],
)
def test_repositories(actor: Actor, resource: Resource, allowed: set[str]) -> None:
    assert {action for action in REPO_ACTIONS if can(actor, action, resource)} == allowed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("actor", "resource", "allowed"),
    [row[1:] for row in NAMESPACES],
    ids=[row[0] for row in NAMESPACES],
)
def test_namespaces(actor: Actor, resource: Resource, allowed: set[str]) -> None:
    assert {action for action in NAMESPACE_ACTIONS if can(actor, action, resource)} == allowed  # type: ignore[arg-type]


def test_the_hub_is_for_its_administrators() -> None:
    root = member(None, admin=True)
    assert can(root, "hub.admin")
    assert can(SYSTEM, "hub.admin")
    for other in (
        ANONYMOUS,
        member("admin"),
        replace(root, scope="read"),
        replace(root, scope="contributor"),
        replace(root, scope="fine-grained", namespace_grants={0: "write"}),
        replace(root, disabled=True),
    ):
        assert not can(other, "hub.admin")


def test_oneself_needs_no_name() -> None:
    assert can(member(None), "account.self")
    assert not can(member(None, "read"), "account.self")
    assert not can(member(None, "fine-grained"), "account.self")
    assert not can(ANONYMOUS, "account.self")


def test_every_action_stands_in_a_table() -> None:
    assert set(REPO_ACTIONS) | set(NAMESPACE_ACTIONS) | {HUB_ADMIN} == set(ACTIONS)


ids = st.sampled_from([ORG, 11, ME, OTHER])
roles = st.sampled_from(ROLES)
permissions = st.sampled_from(PERMISSIONS)
actors = st.builds(
    Actor,
    user_id=st.sampled_from([ME, OTHER, None]),
    name=st.just("x"),
    is_admin=st.booleans(),
    scope=st.sampled_from(["none", "read", "contributor", "write", "fine-grained"]),
    roles=st.dictionaries(st.sampled_from([ORG, 11]), roles),
    teams=st.dictionaries(st.sampled_from([TEAM, 6]), roles),
    repository_grants=st.dictionaries(st.sampled_from([REPO, 78]), permissions),
    namespace_grants=st.dictionaries(ids, permissions),
    disabled=st.sampled_from([False, False, False, True]),
)
resources = st.builds(
    Resource,
    namespace_id=ids,
    private=st.booleans(),
    created_by=st.sampled_from([ME, OTHER, None]),
    author_id=st.sampled_from([ME, OTHER, None]),
    repository_id=st.sampled_from([REPO, 78]),
    team_id=st.sampled_from([None, TEAM, 6]),
    gated=st.booleans(),
    accepted=st.booleans(),
    disabled=st.sampled_from([False, False, True]),
)
actions = st.sampled_from(ACTIONS)


@given(actors, actions, resources)
def test_who_may_do_anything_may_read(actor: Actor, action: Action, resource: Resource) -> None:
    if can(actor, action, resource) and action.startswith(("repo.", "discussion.", "pull.")):
        assert can(actor, "repo.read", resource)


@given(actors, actions, resources)
def test_who_may_write_or_propose_may_read_the_files(
    actor: Actor, action: Action, resource: Resource
) -> None:
    if action in (P, W, M, PW) and can(actor, action, resource):
        assert can(actor, "repo.files", resource)


@given(actors, actions, resources)
def test_a_token_never_does_more_than_its_user(
    actor: Actor, action: Action, resource: Resource
) -> None:
    if can(actor, action, resource):
        assert can(replace(actor, scope="write"), action, resource) or not actor.signed_in


@given(actors, actions, resources)
def test_a_wider_scope_never_allows_less(actor: Actor, action: Action, resource: Resource) -> None:
    scopes: tuple[Any, ...] = ("none", "read", "contributor", "write")
    allowed = [can(replace(actor, scope=scope), action, resource) for scope in scopes]
    assert allowed == sorted(allowed)


@given(actors, actions, resources)
def test_a_wider_grant_never_allows_less(actor: Actor, action: Action, resource: Resource) -> None:
    actor = replace(actor, scope="fine-grained", repository_grants={}, namespace_grants={})
    assert resource.repository_id is not None
    grants: list[Any] = [{}, *({resource.repository_id: p} for p in PERMISSIONS)]
    for kind in ("repository_grants", "namespace_grants"):
        if kind == "namespace_grants":
            grants = [{}, *({resource.namespace_id: p} for p in PERMISSIONS)]
        allowed = [can(replace(actor, **{kind: grant}), action, resource) for grant in grants]
        assert allowed == sorted(allowed)


@given(actors, actions, resources)
def test_a_grant_opens_no_more_than_the_scope_of_its_name(
    actor: Actor, action: Action, resource: Resource
) -> None:
    assert resource.repository_id is not None
    for permission in PERMISSIONS:
        fine_grained = replace(
            actor,
            scope="fine-grained",
            repository_grants={resource.repository_id: permission},
            namespace_grants={resource.namespace_id: permission},
        )
        if can(fine_grained, action, resource):
            assert can(replace(actor, scope=permission), action, resource)


@given(actors, actions, resources)
def test_a_greater_role_never_allows_less(actor: Actor, action: Action, resource: Resource) -> None:
    actor = replace(actor, is_admin=False)
    greater: tuple[Role | None, ...] = (None, *ROLES)
    in_team, in_organisation = [], []
    for role in greater:
        given_role: dict[int, Role] = {} if role is None else {resource.namespace_id: role}
        in_organisation.append(can(replace(actor, roles=given_role), action, resource))
        if resource.team_id is not None:
            given_role = {} if role is None else {resource.team_id: role}
            in_team.append(can(replace(actor, teams=given_role), action, resource))
    assert in_organisation == sorted(in_organisation)
    assert in_team == sorted(in_team)


@given(actors, actions, resources)
def test_private_is_nobodys_who_has_no_role(
    actor: Actor, action: Action, resource: Resource
) -> None:
    resource = replace(resource, private=True)
    stranger = (
        not actor.is_admin
        and actor.user_id != resource.namespace_id
        and resource.namespace_id not in actor.roles
    )
    if stranger and action not in ("account.self", "hub.admin"):
        assert not can(actor, action, resource)


@given(actors, actions, resources)
def test_being_let_in_opens_the_files_and_nothing_else(
    actor: Actor, action: Action, resource: Resource
) -> None:
    without = can(actor, action, replace(resource, accepted=False))
    let_in = can(actor, action, replace(resource, accepted=True))
    assert let_in >= without
    if let_in != without:
        assert action in (F, P, PW)
        assert resource.gated
        assert actor.signed_in


@given(actors, actions, resources)
def test_nobody_changes_anything(actor: Actor, action: Action, resource: Resource) -> None:
    nobody = Actor(roles=actor.roles, teams=actor.teams, scope=actor.scope)
    if action not in (R, F):
        assert not can(nobody, action, resource)
