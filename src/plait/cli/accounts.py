# SPDX-License-Identifier: Apache-2.0
"""``plait user`` and ``plait org``: the people of a hub and what belongs to whom."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.options import HubDirectory, Json, open_hub, print_json

if TYPE_CHECKING:
    from plait.hub import Hub

user = typer.Typer(no_args_is_help=True, help="Make, invite and disable the people of a hub.")
org = typer.Typer(no_args_is_help=True, help="Make organisations and say who belongs to them.")


class Role(StrEnum):
    """What a member of an organisation or team may do in it."""

    read = "read"
    contributor = "contributor"
    write = "write"
    admin = "admin"


Name = Annotated[str, typer.Argument(help="Letters, digits, '-', '_' and '.', at most 96.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The user.")]
Organization = Annotated[str, typer.Argument(metavar="ORG", help="The organisation.")]


def setup_link(hub: Hub, secret: str) -> str:
    """Return the address at which a one-time secret sets a password."""
    return f"{hub.settings.url}/setup#{secret}"


@user.command("create")
def create_user(
    name: Name,
    directory: HubDirectory,
    admin: Annotated[bool, typer.Option("--admin", help="May administer the whole hub.")] = False,
    fullname: Annotated[str, typer.Option(help="The name that pages show.")] = "",
    email: Annotated[str, typer.Option(help="Shown to the user alone.")] = "",
    as_json: Json = False,
) -> None:
    """Make a user. Next, a link to set a password (plait user invite) or a token."""
    with open_hub(directory) as hub:
        account = hub.accounts.create_user(name, admin=admin, fullname=fullname, email=email)
    if as_json:
        print_json({"name": account.name, "admin": account.is_admin})
    else:
        print(
            f"User {account.name} made. Next: plait user invite {name} --dir {directory}, "
            f"or plait token create {name} --dir {directory}"
        )


@user.command("invite")
@user.command("reset-password")
def invite(name: User, directory: HubDirectory, as_json: Json = False) -> None:
    """Print a link with which a user sets their password; it works once, and earlier ones end."""
    with open_hub(directory) as hub:
        link = setup_link(hub, hub.accounts.invite(hub.accounts.get_user(name)))
        days = hub.settings.invitation_ttl / 86400
    if as_json:
        print_json({"name": name, "url": link, "days": days})
    else:
        print(link)


@user.command("disable")
def disable(name: User, directory: HubDirectory) -> None:
    """Close an account: nobody signs in with it, and its tokens do nothing."""
    with open_hub(directory) as hub:
        hub.accounts.disable(hub.accounts.get_user(name))
    print(f"{name} is disabled.")


@user.command("enable")
def enable(name: User, directory: HubDirectory) -> None:
    """Open a disabled account again: its password and tokens work as before."""
    with open_hub(directory) as hub:
        hub.accounts.enable(hub.accounts.get_user(name))
    print(f"{name} is enabled.")


@user.command("delete")
def delete(name: User, directory: HubDirectory) -> None:
    """Remove a user who owns nothing, with their tokens and memberships."""
    with open_hub(directory) as hub:
        hub.accounts.delete(hub.accounts.get_user(name))
    print(f"{name} is removed.")


@user.command("list")
def list_users(directory: HubDirectory, as_json: Json = False) -> None:
    """List users, who administers the hub, and who is disabled."""
    found = []
    with open_hub(directory) as hub:
        after = ""
        while page := hub.accounts.list_accounts("user", limit=500, after=after):
            found += page
            after = page[-1].name_key
    if as_json:
        print_json(
            [
                {"name": one.name, "admin": one.is_admin, "disabled": one.disabled_at is not None}
                for one in found
            ]
        )
        return
    for one in found:
        marks = ["admin"] * one.is_admin + ["disabled"] * (one.disabled_at is not None)
        print("\t".join([one.name, *marks]))


@org.command("create")
def create_org(
    name: Name,
    owner: Annotated[str, typer.Option(help="The user who administers it.")],
    directory: HubDirectory,
    fullname: Annotated[str, typer.Option(help="The name that pages show.")] = "",
    as_json: Json = False,
) -> None:
    """Make an organisation: a namespace that several users share."""
    with open_hub(directory) as hub:
        account = hub.accounts.create_organization(
            name, hub.accounts.get_user(owner), fullname=fullname
        )
    if as_json:
        print_json({"name": account.name, "owner": owner})
    else:
        print(f"Organisation {account.name} made; {owner} administers it.")


@org.command("add")
def add_member(
    name: Organization,
    member: User,
    directory: HubDirectory,
    role: Annotated[Role, typer.Option(help="What they may do in it.")] = Role.contributor,
    as_json: Json = False,
) -> None:
    """Add a user to an organisation, or change their role in it."""
    with open_hub(directory) as hub:
        accounts = hub.accounts
        accounts.add_member(accounts.get(name), accounts.get_user(member), role.value)
    if as_json:
        print_json({"organization": name, "user": member, "role": role.value})
    else:
        print(f"{member} is now a {role.value} of {name}.")


@org.command("remove")
def remove_member(name: Organization, member: User, directory: HubDirectory) -> None:
    """Take a user out of an organisation and all its teams."""
    with open_hub(directory) as hub:
        accounts = hub.accounts
        accounts.remove_member(accounts.get_organization(name), accounts.get_user(member))
    print(f"{member} does not belong to {name} any more.")


@org.command("members")
def members(name: Organization, directory: HubDirectory, as_json: Json = False) -> None:
    """List an organisation's members and their roles."""
    rows = []
    with open_hub(directory) as hub:
        organization, after = hub.accounts.get_organization(name), ""
        while page := hub.accounts.members(organization, limit=500, after=after):
            rows += page
            after = page[-1][0].name_key
    if as_json:
        print_json([{"user": account.name, "role": role} for account, role in rows])
    else:
        print("\n".join(f"{account.name}\t{role}" for account, role in rows))
