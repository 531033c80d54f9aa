# SPDX-License-Identifier: Apache-2.0
"""``plait pr``: pull requests from the command line."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.cli.resolve import resolve
from plait.client import call, pull_request_state, wait_for
from plait.errors import BadInput

pr = typer.Typer(no_args_is_help=True, help="Look at and wait for pull requests.")
pr.command("resolve")(resolve)


@pr.command("wait")
def wait(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")],
    number: Annotated[int, typer.Argument(metavar="N", help="The pull request's number.")],
    repo_type: Annotated[str, typer.Option("--type", help="model, dataset or space.")] = "model",
    timeout: Annotated[float | None, typer.Option(help="Give up after this many seconds.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(envvar="HF_ENDPOINT", help="The hub's address.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Your token.", show_envvar=True)
    ] = None,
    as_json: Json = False,
) -> None:
    """Wait until a pull request's merge has ended, and print its verdict.

    Exit status 0: landed. 1: it did not land (the gate refused it, or it failed). The hub is the
    one that HF_ENDPOINT names.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if not endpoint:
        raise BadInput("Say which hub: set HF_ENDPOINT or give --endpoint.")
    if repo_type not in ("model", "dataset", "space"):
        raise BadInput(f"--type must be model, dataset or space, not {repo_type!r}.")
    if repo.count("/") != 1:
        raise BadInput(f"REPO must be namespace/name, not {repo!r}.")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        row = bar.add_task("Waiting", total=1.0)

        def show(state: dict[str, Any]) -> None:
            job = state.get("job")
            if job:
                bar.update(row, completed=job["fraction"], description=job["stage"] or job["state"])

        state = wait_for(
            lambda: pull_request_state(endpoint, token, repo_type, repo, number),
            timeout=timeout,
            show=show,
        )
    landed = state["status"] == "merged"
    if as_json:
        print_json(state)
    else:
        print(describe(repo, number, state))
    if not landed:
        raise typer.Exit(1)


def describe(repo: str, number: int, state: dict[str, Any]) -> str:
    """Say in a few lines how a pull request's merge ended."""
    report, job = state.get("report"), state.get("job")
    lines = [f"{repo} #{number}: {state['status']}"]
    if report:
        lines.append(f"verdict: {report['verdict']}: {report['reason']}")
        average = report["average"]
        scores, difference = average["scores"], average["difference"]
        lines.append(
            f"average: main {scores['main']:.3f}, candidate {scores['candidate']:.3f} "
            f"({difference['effect']:+.3f}, "
            f"[{difference['low']:+.3f}, {difference['high']:+.3f}])"
        )
    elif job and job.get("error"):
        lines.append(f"{job['state']}: {job['error']}")
    elif not job and state["status"] in ("open", "draft"):
        lines.append("Nobody has asked for its merge yet.")
    return "\n".join(lines)


@pr.command("licence")
def licence(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")],
    number: Annotated[int, typer.Argument(metavar="N", help="The pull request's number.")],
    repo_type: Annotated[str, typer.Option("--type", help="model, dataset or space.")] = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Say whether the licences permit a pull request's merge, and why. It is no legal advice."""
    state = call(endpoint, token, "GET", _licence_path(repo, number, repo_type))
    print_json(state) if as_json else print(describe_licence(state))


@pr.command("decide-licence")
def decide_licence(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")],
    number: Annotated[int, typer.Argument(metavar="N", help="The pull request's number.")],
    allow: Annotated[
        bool, typer.Option("--allow/--refuse", help="Whether the licences permit the merge.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the decision.")],
    repo_type: Annotated[str, typer.Option("--type", help="model, dataset or space.")] = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Record a maintainer's decision on licences that the hub cannot judge."""
    body = json.dumps({"allow": allow, "reason": reason}).encode()
    state = call(endpoint, token, "POST", _licence_path(repo, number, repo_type), body)
    print_json(state) if as_json else print(describe_licence(state))


def describe_licence(state: dict[str, Any]) -> str:
    """Say a licence verdict in lines."""
    lines = [f"licences: {state['outcome']}"]
    lines += [f"  {name}: {stated or 'none stated'}" for name, stated in state["sources"].items()]
    lines += [reason["text"] for reason in state["reasons"]]
    lines += [f"- {notice}" for notice in state["notices"]]
    if state["decision"]:
        word = "permitted" if state["decision"]["allow"] else "refused"
        lines.append(f"{word} by {state['decision']['by']}: {state['decision']['reason']}")
    elif state["open"]:
        lines.append("A maintainer must decide before the merge: plait pr decide-licence")
    lines.append(state["disclaimer"])
    return "\n".join(lines)


def _licence_path(repo: str, number: int, repo_type: str) -> str:
    if repo_type not in ("model", "dataset", "space"):
        raise BadInput(f"--type must be model, dataset or space, not {repo_type!r}.")
    if repo.count("/") != 1:
        raise BadInput(f"REPO must be namespace/name, not {repo!r}.")
    return f"{repo_type}s/{quote(repo)}/pulls/{number}/licence"
