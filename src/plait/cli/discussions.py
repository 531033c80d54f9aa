# SPDX-License-Identifier: Apache-2.0
"""``plait discussion``: labels, locks and hidden comments of discussions and pull requests."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import typer

from plait.cli.contributions import repository_path
from plait.cli.notifications import shown_label
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call

discussion = typer.Typer(
    no_args_is_help=True,
    help="Keep discussions in order: labels, locks, hidden comments, watching.",
)
Repo = Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The discussion's number.")]
Kind = Annotated[str, typer.Option("--type", help="model, dataset or space.")]


@discussion.command("labels")
def labels(
    repo: Repo,
    kind: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """List the labels that a repository defines."""
    found = call(endpoint, token, "GET", f"{repository_path(repo, kind)}/labels")
    if as_json:
        print_json(found)
        return
    for one in found["labels"]:
        print(shown_label(one))


@discussion.command("define")
def define(
    repo: Repo,
    name: Annotated[str, typer.Argument(help="The label.")],
    colour: Annotated[
        str, typer.Option(help="grey, red, orange, yellow, green, teal, blue or purple.")
    ] = "grey",
    remove: Annotated[bool, typer.Option("--remove", help="Remove it from all.")] = False,
    kind: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Define a label of a repository, change its colour, or remove it."""
    path = f"{repository_path(repo, kind)}/labels"
    if remove:
        call(endpoint, token, "DELETE", f"{path}?label={quote(name, safe='')}")
        print(f"The label {name} is removed.")
        return
    body = json.dumps({"name": name, "colour": colour}).encode()
    print(shown_label(call(endpoint, token, "POST", path, body)))


@discussion.command("label")
def label(
    repo: Repo,
    number: Number,
    names: Annotated[
        list[str] | None, typer.Argument(help="Exactly these; none without any.")
    ] = None,
    kind: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Let a discussion have exactly the labels named."""
    body = json.dumps({"labels": names or []}).encode()
    found = call(endpoint, token, "POST", f"{_thread(repo, kind, number)}/labels", body)
    print(", ".join(shown_label(one) for one in found["labels"]) or "It has no label.")


@discussion.command("lock")
def lock(
    repo: Repo,
    number: Number,
    off: Annotated[bool, typer.Option("--off", help="Open it to all again.")] = False,
    kind: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Let only those who may write go on with a discussion."""
    body = json.dumps({"locked": not off}).encode()
    found = call(endpoint, token, "POST", f"{_thread(repo, kind, number)}/lock", body)
    print(f"#{number} is {'locked' if found['locked'] else 'open to all'}.")


@discussion.command("hide")
def hide(
    repo: Repo,
    number: Number,
    comment: Annotated[str, typer.Argument(help="The comment's id, as its address ends.")],
    kind: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Hide a comment for good: its author, or who may write to the repository."""
    ident = quote(comment.removeprefix("event-"), safe="")
    call(endpoint, token, "POST", f"{_thread(repo, kind, number)}/comments/{ident}/hide")
    print("The comment is hidden.")


@discussion.command("watch")
def watch(
    repo: Repo,
    number: Number,
    wish: Annotated[str, typer.Argument(help="watch, mute or default.")] = "watch",
    kind: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Be told of everything in a discussion, of nothing, or of the usual."""
    body = json.dumps({"wish": wish}).encode()
    found = call(endpoint, token, "POST", f"{_thread(repo, kind, number)}/subscription", body)
    print(f"#{number}: {found['wish']}")


def _thread(repo: str, kind: str, number: int) -> str:
    return f"{repository_path(repo, kind)}/discussions/{number}"
