# SPDX-License-Identifier: Apache-2.0
"""What administrators of the hub and of organisations do over HTTP: people, members, teams, log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from plait.api.context import HubOf, User
from plait.api.tokens import Done, Profile
from plait.api.wire import date
from plait.hub import Account, Hub
from plait.hub.audit import AuditPage, public
from plait.hub.permissions import Role

router = APIRouter(prefix="/api/plait", tags=["accounts"])

_Name = Annotated[str, Field(max_length=96)]
_Limit = Annotated[int, Query(ge=1, le=200)]


class NewUser(BaseModel):
    """A user to be made."""

    name: _Name
    fullname: Annotated[str, Field(max_length=200)] = ""
    email: Annotated[str, Field(max_length=320)] = ""
    admin: bool = False


class ShownUser(BaseModel):
    """A user, as administrators see them."""

    name: str
    fullname: str
    email: str
    admin: bool
    disabled: bool
    created_at: str


class Switches(BaseModel):
    """What an administrator decides about a user; what is left out stays."""

    disabled: bool | None = None
    admin: bool | None = None


class Invitation(BaseModel):
    """A one-time link with which a user sets their password, shown this once."""

    url: str


class NewOrganization(BaseModel):
    """An organisation to be made; whoever makes it administers it."""

    name: _Name
    fullname: Annotated[str, Field(max_length=200)] = ""


class Named(BaseModel):
    """A name."""

    name: str


class GivenRole(BaseModel):
    """What a member may do."""

    role: Role


class Member(BaseModel):
    """Somebody in an organisation or team."""

    name: str
    fullname: str
    role: Role


class NewTeam(BaseModel):
    """A team to be made."""

    name: _Name
    description: Annotated[str, Field(max_length=400)] = ""


class ShownTeam(BaseModel):
    """A team."""

    name: str
    description: str


class ShownRepository(BaseModel):
    """A repository of a team."""

    type: str
    name: str
    private: bool


class Entries(BaseModel):
    """Entries of the audit log, newest first; ``cursor`` asks for older ones."""

    entries: list[dict[str, Any]]
    cursor: str | None


@router.get("/users")
def list_users(
    hub: HubOf, user: User, limit: _Limit = 100, after: Annotated[str, Query(max_length=96)] = ""
) -> list[ShownUser]:
    """List the hub's users by name, those after ``after``; for its administrators."""
    hub.accounts.require_administrator(user)
    return [_user(one) for one in hub.accounts.list_accounts("user", limit=limit, after=after)]


@router.post("/users", status_code=201)
def make_user(hub: HubOf, user: User, body: NewUser) -> ShownUser:
    """Make a user."""
    return _user(hub.accounts.create_user(**body.model_dump(), by=user))


@router.patch("/users/{name}")
def switch_user(hub: HubOf, user: User, name: str, body: Switches) -> ShownUser:
    """Disable or enable a user, make them an administrator or no longer."""
    hub.accounts.require_administrator(user)
    found = hub.accounts.get_user(name)
    if body.disabled is not None:
        (hub.accounts.disable if body.disabled else hub.accounts.enable)(found, by=user)
    if body.admin is not None:
        hub.accounts.set_admin(found, body.admin, by=user)
    return _user(hub.accounts.get_user(name))


@router.post("/users/{name}/invitation", status_code=201)
def invite(hub: HubOf, user: User, name: str) -> Invitation:
    """Make a one-time link with which a user sets their password; earlier ones end."""
    hub.accounts.require_administrator(user)
    secret = hub.accounts.invite(hub.accounts.get_user(name), by=user)
    return Invitation(url=f"{hub.settings.url}/setup#{secret}")


@router.post("/organizations", status_code=201)
def make_organization(hub: HubOf, user: User, body: NewOrganization) -> Named:
    """Make an organisation and become its first administrator."""
    assert user.name is not None
    made = hub.accounts.create_organization(body.name, user.name, fullname=body.fullname, by=user)
    return Named(name=made.name)


@router.patch("/accounts/{name}")
def update_account(hub: HubOf, user: User, name: str, body: Profile) -> Done:
    """Change what a user or organisation says of itself."""
    hub.accounts.update_profile(user, hub.accounts.get(name), **body.model_dump())
    return Done()


@router.delete("/accounts/{name}")
def delete_account(hub: HubOf, user: User, name: str) -> Done:
    """Remove a user or organisation that owns nothing."""
    hub.accounts.delete(hub.accounts.get(name), by=user)
    return Done()


@router.get("/organizations/{organization}/members")
def list_members(
    hub: HubOf,
    user: User,
    organization: str,
    limit: _Limit = 100,
    after: Annotated[str, Query(max_length=96)] = "",
) -> list[Member]:
    """List an organisation's members and their roles by name, those after ``after``."""
    found = hub.accounts.get_organization(organization)
    rows = hub.accounts.members_for(user, found, limit=limit, after=after)
    return [_member(account, role) for account, role in rows]


@router.put("/organizations/{organization}/members/{name}")
def set_member(hub: HubOf, user: User, organization: str, name: str, body: GivenRole) -> Done:
    """Add a user to an organisation, or change their role in it."""
    accounts = hub.accounts
    found = accounts.get_organization(organization)
    accounts.add_member(found, accounts.get_user(name), body.role, by=user)
    return Done()


@router.delete("/organizations/{organization}/members/{name}")
def remove_member(hub: HubOf, user: User, organization: str, name: str) -> Done:
    """Take a user out of an organisation and its teams."""
    accounts = hub.accounts
    found = accounts.get_organization(organization)
    accounts.remove_member(found, accounts.get_user(name), by=user)
    return Done()


@router.get("/organizations/{organization}/teams")
def list_teams(hub: HubOf, user: User, organization: str) -> list[ShownTeam]:
    """List an organisation's teams, for its members."""
    teams = hub.teams.list(user, hub.accounts.get_organization(organization))
    return [ShownTeam(name=team.name, description=team.description) for team in teams]


@router.post("/organizations/{organization}/teams", status_code=201)
def make_team(hub: HubOf, user: User, organization: str, body: NewTeam) -> ShownTeam:
    """Make a team."""
    found = hub.accounts.get_organization(organization)
    team = hub.teams.create(user, found, body.name, body.description)
    return ShownTeam(name=team.name, description=team.description)


@router.delete("/organizations/{organization}/teams/{team}")
def delete_team(hub: HubOf, user: User, organization: str, team: str) -> Done:
    """Remove a team without repositories."""
    hub.teams.delete(user, hub.teams.get(user, _organization(hub, organization), team))
    return Done()


@router.get("/organizations/{organization}/teams/{team}/members")
def list_team_members(hub: HubOf, user: User, organization: str, team: str) -> list[Member]:
    """List a team's members and their roles in it, for the organisation's members."""
    found = hub.teams.get(user, _organization(hub, organization), team)
    return [_member(account, role) for account, role in hub.teams.members(user, found)]


@router.put("/organizations/{organization}/teams/{team}/members/{name}")
def set_team_member(
    hub: HubOf, user: User, organization: str, team: str, name: str, body: GivenRole
) -> Done:
    """Add a member of the organisation to a team, or change their role in it."""
    found = hub.teams.get(user, _organization(hub, organization), team)
    hub.teams.add_member(user, found, hub.accounts.get_user(name), body.role)
    return Done()


@router.delete("/organizations/{organization}/teams/{team}/members/{name}")
def remove_team_member(hub: HubOf, user: User, organization: str, team: str, name: str) -> Done:
    """Take somebody out of a team."""
    found = hub.teams.get(user, _organization(hub, organization), team)
    hub.teams.remove_member(user, found, hub.accounts.get_user(name))
    return Done()


@router.get("/organizations/{organization}/teams/{team}/repositories")
def list_team_repositories(
    hub: HubOf,
    user: User,
    organization: str,
    team: str,
    limit: _Limit = 100,
    after: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> list[ShownRepository]:
    """List the repositories of a team that the caller may read."""
    found = hub.teams.get(user, _organization(hub, organization), team)
    rows = hub.teams.repositories(user, found, limit=limit, after=after)
    return [
        ShownRepository(type=repo.type, name=repo.full_name, private=repo.private) for repo in rows
    ]


_Type = Literal["model", "dataset", "space"]


@router.put("/organizations/{organization}/teams/{team}/repositories/{kind}/{repository}")
def add_team_repository(
    hub: HubOf, user: User, organization: str, team: str, kind: _Type, repository: str
) -> Done:
    """Give a repository of the organisation to a team."""
    found = hub.teams.get(user, _organization(hub, organization), team)
    repo = hub.repositories.get(user, kind, f"{organization}/{repository}")
    hub.teams.add_repository(user, found, repo)
    return Done()


@router.delete("/organizations/{organization}/teams/{team}/repositories/{kind}/{repository}")
def remove_team_repository(
    hub: HubOf, user: User, organization: str, team: str, kind: _Type, repository: str
) -> Done:
    """Take a repository out of a team."""
    found = hub.teams.get(user, _organization(hub, organization), team)
    repo = hub.repositories.get(user, kind, f"{organization}/{repository}")
    hub.teams.remove_repository(user, found, repo)
    return Done()


@router.get("/audit")
def audit_log(
    hub: HubOf,
    user: User,
    namespace: Annotated[str, Query(max_length=96)] = "",
    actor: Annotated[str, Query(max_length=96)] = "",
    action: Annotated[str, Query(max_length=48)] = "",
    target: Annotated[str, Query(max_length=300)] = "",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: _Limit = 50,
    cursor: Annotated[str, Query(max_length=32)] = "",
) -> Entries:
    """Read the audit log: all of it for the hub's administrators, else one's own ``namespace``."""
    page: AuditPage = hub.audit.list(
        user,
        account=hub.accounts.get(namespace) if namespace else None,
        who=actor,
        action=action,
        target=target,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor or None,
    )
    return Entries(
        entries=[{**public(entry), "hash": entry.hash} for entry in page.items],
        cursor=page.cursor,
    )


def _organization(hub: Hub, name: str) -> Account:
    return hub.accounts.get_organization(name)


def _member(account: Account, role: Role) -> Member:
    return Member(name=account.name, fullname=account.fullname or account.name, role=role)


def _user(account: Account) -> ShownUser:
    return ShownUser(
        name=account.name,
        fullname=account.fullname,
        email=account.email,
        admin=account.is_admin,
        disabled=account.disabled_at is not None,
        created_at=date(account.created_at),
    )
