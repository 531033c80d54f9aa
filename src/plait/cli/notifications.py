# SPDX-License-Identifier: Apache-2.0
"""``plait notifications`` and ``plait activity``: what one is told of, and what others did."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from plait.cli.contributions import repository_path
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call
from plait.errors import BadInput

notifications = typer.Typer(no_args_is_help=True, help="What you are told of.")


@notifications.command("list")
def show(
    unread: Annotated[bool, typer.Option("--unread", help="Only what is unread.")] = False,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """List what you are told of and may read, newest first."""
    found = call(endpoint, token, "GET", f"notifications{'?unread=true' if unread else ''}")
    if as_json:
        print_json(found)
        return
    for one in found["notifications"]:
        where = f"{one['repository']['name']}#{one['discussion']['number']}"
        mark = " " if one["read"] else "*"
        print(
            f"{mark} {one['id']}\t{one['at']}\t{one['reason']}\t{where}\t"
            f"{one['actor'] or 'Plait'}\t{one['discussion']['title']}"
        )


@notifications.command("read")
def read(
    ids: Annotated[
        list[int] | None, typer.Argument(help="Those to mark; all of them without any.", min=1)
    ] = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Mark notifications read: those named, or all."""
    body = json.dumps({"ids": ids or None}).encode()
    print(f"{call(endpoint, token, 'POST', 'notifications/read', body)['read']} are marked read.")


def activity(
    where: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME | REPO]",
            help="A user, an organisation or a repository; without any, those whom you follow.",
        ),
    ] = None,
    kind: Annotated[str, typer.Option("--type", help="Of a repository: model, dataset, space.")] = (
        "model"
    ),
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Tell what happened lately, as far as you may know of it."""
    path = "activity"
    if where is not None and "/" in where:
        path = f"{repository_path(where, kind)}/activity"
    elif where is not None:
        path = f"activity/{quote(where, safe='')}"
    found = call(endpoint, token, "GET", path)
    if as_json:
        print_json(found)
        return
    for one in found["activity"]:
        number = f"#{one['number']}" if one["number"] else ""
        print(
            f"{one['at']}\t{one['actor'] or 'Plait'}\t{one['action']}\t"
            f"{one['repository']['name']}{number}"
        )


def follow(
    name: Annotated[str, typer.Argument(help="A user or an organisation.")],
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Follow a user or an organisation: what they do stands in your activity."""
    call(endpoint, token, "POST", f"accounts/{_account(name)}/follow")
    print(f"You follow {name}.")


def unfollow(
    name: Annotated[str, typer.Argument(help="A user or an organisation.")],
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Follow a user or an organisation no more."""
    call(endpoint, token, "DELETE", f"accounts/{_account(name)}/follow")
    print(f"You do not follow {name}.")


def _account(name: str) -> str:
    if not name or "/" in name:
        raise BadInput(f"Name a user or an organisation, not {name!r}.")
    return quote(name, safe="")


def shown_label(label: dict[str, Any]) -> str:
    """Write a label as the commands print it."""
    return f"{label['name']} ({label['colour']})"
