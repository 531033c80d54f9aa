# SPDX-License-Identifier: Apache-2.0
"""``plait user``, ``plait org`` and ``plait token``: who may do what on a hub."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from plait.cli.options import HubDirectory, Json, open_hub, print_json

user = typer.Typer(no_args_is_help=True, help="Make and list the people of a hub.")
org = typer.Typer(no_args_is_help=True, help="Make organisations and say who belongs to them.")
token = typer.Typer(no_args_is_help=True, help="Make and revoke access tokens.")


class Scope(StrEnum):
    """What a token allows."""

    read = "read"
    write = "write"


class Role(StrEnum):
    """What a member of an organisation may do in it."""

    read = "read"
    contributor = "contributor"
    write = "write"
    admin = "admin"


Name = Annotated[str, typer.Argument(help="Letters, digits, '-', '_' and '.', at most 96.")]


@user.command("create")
def create_user(
    name: Name,
    directory: HubDirectory,
    admin: Annotated[bool, typer.Option("--admin", help="May administer the whole hub.")] = False,
    fullname: Annotated[str, typer.Option(help="The name that pages show.")] = "",
    email: Annotated[str, typer.Option(help="Shown to the user alone.")] = "",
    as_json: Json = False,
) -> None:
    """Make a user. Give them a token next: plait token create NAME --dir DIR."""
    with open_hub(directory) as hub:
        account = hub.accounts.create_user(name, admin=admin, fullname=fullname, email=email)
    if as_json:
        print_json({"name": account.name, "admin": account.is_admin})
    else:
        print(f"User {account.name} made. Next: plait token create {name} --dir {directory}")


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
    name: Annotated[str, typer.Argument(help="The organisation.")],
    member: Annotated[str, typer.Argument(help="The user to add.")],
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


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(metavar="USER", help="Whose token it is.")],
    directory: HubDirectory,
    scope: Annotated[Scope, typer.Option(help="What it allows.")] = Scope.write,
    label: Annotated[str, typer.Option("--name", help="What it is for.")] = "command line",
    as_json: Json = False,
) -> None:
    """Make a token and print it, once, alone on standard output."""
    with open_hub(directory) as hub:
        plaintext = hub.tokens.create(hub.accounts.get_user(name), scope=scope.value, name=label)
    if as_json:
        print_json({"user": name, "scope": scope.value, "token": plaintext})
    else:
        print(plaintext)
