# SPDX-License-Identifier: Apache-2.0
"""``plait contributions``: what a model's main was fused from, and withdrawing one of it."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any
from urllib.parse import quote

import click
import typer
from typer.core import TyperGroup

from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import FINISHED, call
from plait.errors import BadInput, PlaitError


class _ListFirst(TyperGroup):
    """A repository's name right after the command means its list."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and "/" in args[0]:
            args = ["list", *args]
        return super().resolve_command(ctx, args)


contributions = typer.Typer(
    cls=_ListFirst,
    no_args_is_help=True,
    help="What a model's main was fused from: `plait contributions REPO`.",
)
Repo = Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The pull request's number.")]


def repository_path(repo: str, kind: str = "model") -> str:
    """Return a repository's path below ``/api/plait``.

    Raises:
        BadInput: the name or the type is none.
    """
    if kind not in ("model", "dataset", "space"):
        raise BadInput(f"--type must be model, dataset or space, not {kind!r}.")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise BadInput(f"REPO must be namespace/name, not {repo!r}.")
    return f"{kind}s/{quote(repo)}"


def wait_for_job(endpoint: str | None, token: str | None, job: dict[str, Any]) -> dict[str, Any]:
    """Ask for a job until it has ended, and return it with its result.

    Raises:
        PlaitError: it failed or was cancelled; the sentence is the job's.
    """
    state: dict[str, Any] = call(endpoint, token, "GET", f"jobs/{job['id']}")
    while state["state"] not in FINISHED:
        time.sleep(0.5)
        state = call(endpoint, token, "GET", f"jobs/{job['id']}")
    if state["state"] != "succeeded":
        raise PlaitError(f"Job {state['id']} {state['state']}: {state['error']}")
    return state


@contributions.command("list")
def list_(
    repo: Repo, endpoint: Endpoint = None, token: HubToken = None, as_json: Json = False
) -> None:
    """List the contributions that main holds: who, when, credit, licence, privacy cost."""
    found = call(endpoint, token, "GET", f"{repository_path(repo)}/contributions")
    if as_json:
        print_json(found)
        return
    if not found["contributions"]:
        print(f"main of {repo} holds no contribution: no merge has fused it.")
    for one in found["contributions"]:
        print(_line(one))
    for one in found["withdrawn"]:
        print(f"#{one['number']}\twithdrawn by {one['by']} {one['at'][:10]}")


@contributions.command("withdraw")
def withdraw(
    repo: Repo,
    number: Number,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Land it also if main regresses: a maintainer's decision."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job.")] = True,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Take a contribution out of main: it is fused without it, judged, and landed.

    Exit status 0: landed (or queued, with --no-wait). 1: the gate found that main regresses and
    nobody decided that this does not matter.
    """
    path = f"{repository_path(repo)}/contributions/{number}/withdraw"
    body = json.dumps({"anyway": anyway}).encode()
    job = call(endpoint, token, "POST", path, body)["job"]
    if not wait:
        print_json(job) if as_json else print(f"Job {job['id']} withdraws it.")
        return
    report = wait_for_job(endpoint, token, job)["result"] or {}
    if as_json:
        print_json(report)
    elif report.get("landed"):
        print(f"Withdrawn: {report['landed']}. {report.get('reason', '')}")
    else:
        print(f"Not withdrawn: {report.get('reason', '')} A maintainer may add --anyway.")
    if not report.get("landed"):
        raise typer.Exit(1)


def _line(one: dict[str, Any]) -> str:
    credit, privacy = one["credit"], one["privacy"]
    gained = "no credit" if credit is None else f"{credit['value'] * 100:+.1f} points"
    stated = "" if not privacy else " ".join(f"{k} {v:g}" for k, v in sorted(privacy.items()))
    parts = [
        f"#{one['number']}",
        one["organisation"],
        (one["mergedAt"] or "")[:10],
        one["revision"][:10],
        gained,
        one["licence"] or "licence not stated",
        stated or "privacy cost not stated",
        one["title"] + (" (in the base)" if one["insideBase"] else ""),
    ]
    return "\t".join(parts)
