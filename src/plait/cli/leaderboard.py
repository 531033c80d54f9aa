# SPDX-License-Identifier: Apache-2.0
"""``plait leaderboard``: how models rank on a data set, and submitting one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from plait.cli.contributions import repository_path, wait_for_job
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call
from plait.errors import BadInput

leaderboard = typer.Typer(no_args_is_help=True, help="How models rank on a data set's tasks.")
Data = Annotated[str, typer.Argument(metavar="DATASET", help="namespace/name of a data set")]


@leaderboard.command("show")
def show(
    dataset: Data, endpoint: Endpoint = None, token: HubToken = None, as_json: Json = False
) -> None:
    """Show the ranks: models that cannot be told apart on the same items share one."""
    found = call(endpoint, token, "GET", f"{repository_path(dataset, 'dataset')}/leaderboard")
    if as_json:
        print_json(found)
        return
    for task in found["tasks"]:
        print(f"{task['task']} ({task['metric']}, {task['split']})")
        for row in task["rows"]:
            low, high = row["interval"]
            print(
                f"{row['rank']}\t{row['model']}@{row['revision'][:10]}\t{row['score']:.3f}\t"
                f"{low:.3f} to {high:.3f}\t{row['license']}"
            )


@leaderboard.command("submit")
def submit(
    dataset: Data,
    model: Annotated[str | None, typer.Argument(help="namespace/name of a model")] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag, refs/pr/N or commit.")] = "main",
    pull: Annotated[
        int | None,
        typer.Option("--pull", help="Score what this pull request of the data set names."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job.")] = True,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Have a model scored by a job of the hub."""
    if (model is None) == (pull is None):
        raise BadInput("Name either a model or, with --pull, a pull request of the data set.")
    named = {"pull": pull} if model is None else {"model": model, "revision": revision}
    path = f"{repository_path(dataset, 'dataset')}/leaderboard"
    job = call(endpoint, token, "POST", path, json.dumps(named).encode())["job"]
    if not wait:
        print_json(job) if as_json else print(f"Job {job['id']} scores it.")
        return
    scored = (wait_for_job(endpoint, token, job)["result"] or {}).get("scored", [])
    if as_json:
        print_json(scored)
        return
    for row in scored:
        print(f"{row['model']}\t{row['task']}\t{row['score']}")


@leaderboard.command("remove")
def remove(
    dataset: Data,
    number: Annotated[int, typer.Argument(help="The row's id, as 'show --json' prints it.", min=1)],
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Take a row away: for who may write to the data set or to the model."""
    call(endpoint, token, "DELETE", f"{repository_path(dataset, 'dataset')}/leaderboard/{number}")
    print(f"Row {number} is removed.")
