# SPDX-License-Identifier: Apache-2.0
"""``plait team``: some members of an organisation around some of its repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.accounts import Name, Organization, Role, User
from plait.cli.options import HubDirectory, Json, open_hub, print_json

if TYPE_CHECKING:
    from plait.hub import Hub, Repository
    from plait.hub.database import Team

team = typer.Typer(
    no_args_is_help=True,
    help="Teams: a team's private repositories are there for its members alone.",
)
TeamName = Annotated[str, typer.Argument(metavar="TEAM", help="The team.")]
RepositoryName = Annotated[
    str, typer.Argument(metavar="REPO", help="As 'org/name', 'datasets/org/name'.")
]


def find_repository(hub: Hub, text: str) -> Repository:
    """Return the repository that ``datasets/org/name``, ``spaces/…`` or ``org/name`` names.

    Raises:
        RepositoryNotFound: there is none.
    """
    from plait.hub import SYSTEM

    first, _, rest = text.partition("/")
    kind = {"datasets": "dataset", "spaces": "space", "models": "model"}.get(first)
    if kind is None or "/" not in rest:
        kind, rest = "model", text
    return hub.repositories.get(SYSTEM, kind, rest)


def _find(hub: Hub, organization: str, name: str) -> Team:
    from plait.hub import SYSTEM

    return hub.teams.get(SYSTEM, hub.accounts.get_organization(organization), name)


@team.command("create")
def create(
    organization: Organization,
    name: Name,
    directory: HubDirectory,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a team of an organisation."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        found = hub.accounts.get_organization(organization)
        hub.teams.create(SYSTEM, found, name, description)
    print(f"Team {name} of {organization} made.")


@team.command("list")
def list_teams(organization: Organization, directory: HubDirectory, as_json: Json = False) -> None:
    """List an organisation's teams and what they are for."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        teams = hub.teams.list(SYSTEM, hub.accounts.get_organization(organization))
    if as_json:
        print_json([{"name": one.name, "description": one.description} for one in teams])
    else:
        print("\n".join(f"{one.name}\t{one.description}" for one in teams))


@team.command("delete")
def delete(organization: Organization, name: TeamName, directory: HubDirectory) -> None:
    """Remove a team without repositories."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        hub.teams.delete(SYSTEM, _find(hub, organization, name))
    print(f"Team {name} of {organization} is removed.")


@team.command("add")
def add(
    organization: Organization,
    name: TeamName,
    member: User,
    directory: HubDirectory,
    role: Annotated[Role, typer.Option(help="What they may do in it.")] = Role.write,
) -> None:
    """Add a member of the organisation to a team, or change their role in it."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        found = _find(hub, organization, name)
        hub.teams.add_member(SYSTEM, found, hub.accounts.get_user(member), role.value)
    print(f"{member} is now a {role.value} of team {name}.")


@team.command("remove")
def remove(
    organization: Organization, name: TeamName, member: User, directory: HubDirectory
) -> None:
    """Take somebody out of a team; they stay in the organisation."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        found = _find(hub, organization, name)
        hub.teams.remove_member(SYSTEM, found, hub.accounts.get_user(member))
    print(f"{member} is not in team {name} any more.")


@team.command("members")
def members(
    organization: Organization, name: TeamName, directory: HubDirectory, as_json: Json = False
) -> None:
    """List a team's members and their roles in it."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        rows = hub.teams.members(SYSTEM, _find(hub, organization, name))
    if as_json:
        print_json([{"user": account.name, "role": role} for account, role in rows])
    else:
        print("\n".join(f"{account.name}\t{role}" for account, role in rows))


@team.command("give")
def give(
    organization: Organization, name: TeamName, repository: RepositoryName, directory: HubDirectory
) -> None:
    """Give one of the organisation's repositories to a team."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        found = _find(hub, organization, name)
        hub.teams.add_repository(SYSTEM, found, find_repository(hub, repository))
    print(f"{repository} belongs to team {name}.")


@team.command("take")
def take(
    organization: Organization, name: TeamName, repository: RepositoryName, directory: HubDirectory
) -> None:
    """Take a repository out of a team: the organisation's roles count in it again."""
    from plait.hub import SYSTEM

    with open_hub(directory) as hub:
        found = _find(hub, organization, name)
        hub.teams.remove_repository(SYSTEM, found, find_repository(hub, repository))
    print(f"{repository} belongs to no team.")
