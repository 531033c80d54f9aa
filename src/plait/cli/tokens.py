# SPDX-License-Identifier: Apache-2.0
"""``plait token``: access tokens."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from plait.cli.accounts import User
from plait.cli.options import HubDirectory, Json, open_hub, print_json
from plait.cli.teams import find_repository
from plait.errors import BadInput

if TYPE_CHECKING:
    from plait.hub import Hub
    from plait.hub.people.tokens import Grant
    from plait.hub.permissions import Permission

token = typer.Typer(no_args_is_help=True, help="Make, list and revoke access tokens.")

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"\A([1-9][0-9]{0,4})([mhdw])\Z")


class Scope(StrEnum):
    """What a token allows."""

    read = "read"
    contributor = "contributor"
    write = "write"
    fine = "fine-grained"


def read_duration(text: str) -> timedelta:
    """Read ``30d``, ``12h``, ``90m`` or ``4w``.

    Raises:
        BadInput: it is none of these.
    """
    found = _DURATION.match(text)
    if found is None:
        raise BadInput(f"'{text}' is no length of time. Write 90m, 12h, 30d or 4w.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _grants(hub: Hub, repos: list[str], namespaces: list[str]) -> list[Grant]:
    from plait.hub.people.tokens import Grant

    grants = []
    for text in repos:
        place, permission = _split(text)
        grants.append(Grant(permission, repository=find_repository(hub, place)))
    for text in namespaces:
        place, permission = _split(text)
        grants.append(Grant(permission, namespace=hub.accounts.get(place)))
    return grants


def _split(text: str) -> tuple[str, Permission]:
    place, mark, permission = text.rpartition(":")
    return (place, cast("Permission", permission)) if mark else (text, "read")


@token.command("create")
def create_token(
    name: User,
    directory: HubDirectory,
    scope: Annotated[
        Scope | None, typer.Option(help="What it allows: write, unless places are named.")
    ] = None,
    label: Annotated[str, typer.Option("--name", help="What it is for.")] = "command line",
    repos: Annotated[
        list[str] | None,
        typer.Option(
            "--repo", help="For this repository: 'org/name:write', 'datasets/org/name:read'."
        ),
    ] = None,
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespace", help="For all of a user's or organisation's: 'org:read'."),
    ] = None,
    expires_in: Annotated[str | None, typer.Option(help="As 90m, 12h, 30d or 4w.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it, once, alone on standard output."""
    ends = datetime.now(UTC) + read_duration(expires_in) if expires_in else None
    chosen = scope or (Scope.fine if repos or namespaces else Scope.write)
    with open_hub(directory) as hub:
        plaintext = hub.tokens.create(
            hub.accounts.get_user(name),
            scope=chosen.value,
            name=label,
            expires_at=ends,
            grants=_grants(hub, repos or [], namespaces or []),
        )
    if as_json:
        print_json({"user": name, "scope": chosen.value, "token": plaintext, "expires_at": ends})
    else:
        print(plaintext)


@token.command("list")
def list_tokens(name: User, directory: HubDirectory, as_json: Json = False) -> None:
    """List a user's tokens: number, last letters, scope, name, last use, end."""
    with open_hub(directory) as hub:
        tokens = hub.tokens.list(hub.accounts.get_user(name))
        grants = hub.tokens.grants_of(tokens)
    rows = [
        {
            "id": one.id,
            "hint": f"…{one.hint}",
            "scope": one.scope,
            "name": one.name,
            "grants": [f"{grant.place}:{grant.permission}" for grant in grants.get(one.id, ())],
            "last_used_at": one.last_used_at,
            "last_used_from": one.last_used_from,
            "expires_at": one.expires_at,
        }
        for one in tokens
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        used = f"{row['last_used_at']:%Y-%m-%d %H:%M}" if row["last_used_at"] else "never used"
        ends = f"ends {row['expires_at']:%Y-%m-%d %H:%M}" if row["expires_at"] else "does not end"
        print(row["id"], row["hint"], row["scope"], row["name"], used, ends, sep="\t")


@token.command("revoke")
def revoke(
    number: Annotated[int, typer.Argument(metavar="ID", help="As 'plait token list' shows it.")],
    directory: HubDirectory,
) -> None:
    """End a token and every browser session opened with it."""
    with open_hub(directory) as hub:
        hub.tokens.revoke(number)
    print(f"Token {number} is revoked.")
