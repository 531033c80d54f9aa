# SPDX-License-Identifier: Apache-2.0
"""``plait leaderboard``: how models rank on a data set, and submitting one."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from plait.cli.contributions import repository_path, wait_for_job
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call
from plait.errors import BadInput

leaderboard = typer.Typer(no_args_is_help=True, help="How models rank on a data set's tasks.")
Licence = Annotated[str, typer.Option("--license", help="Models under this licence.")]
TrainedOn = Annotated[str, typer.Option("--data", help="Models whose card names this data set.")]
Smallest = Annotated[int | None, typer.Option("--smallest", min=0, help="Parameters at least.")]
Largest = Annotated[int | None, typer.Option("--largest", min=0, help="Parameters at most.")]
Since = Annotated[str, typer.Option("--since", help="Scored since a day, like 2026-01-31.")]
Data = Annotated[str, typer.Argument(metavar="DATASET", help="namespace/name of a data set")]


@leaderboard.command("show")
def show(
    dataset: Data,
    task: Annotated[str | None, typer.Option(help="Of this task alone.")] = None,
    licence: Licence = "",
    data: TrainedOn = "",
    smallest: Smallest = None,
    largest: Largest = None,
    since: Since = "",
    sort: Annotated[str, typer.Option(help="rank, score, model, size or date.")] = "rank",
    descending: Annotated[bool, typer.Option("--descending", help="The other way round.")] = False,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Show the ranks: models that cannot be told apart on the same items share one.

    Filters choose rows; a rank stays the one among all models that you may read.
    """
    query = _query(licence, data, smallest, largest, since)
    query |= {"task": task, "sort": sort, "descending": "true" if descending else None}
    path = f"{repository_path(dataset, 'dataset')}/leaderboard{_written(query)}"
    found = call(endpoint, token, "GET", path)
    if as_json:
        print_json(found)
        return
    for one in found["tasks"]:
        print(f"{one['task']} ({one['metric']}, {one['split']})")
        for row in one["rows"]:
            low, high = row["interval"]
            print(
                f"{row['rank']}\t{row['model']}@{row['revision'][:10]}\t{row['score']:.3f}\t"
                f"{low:.3f} to {high:.3f}\t{row['license']}"
            )


@leaderboard.command("collection")
def of_collection(
    slug: Annotated[str, typer.Argument(help="The collection: namespace/title-id")],
    licence: Licence = "",
    data: TrainedOn = "",
    smallest: Smallest = None,
    largest: Largest = None,
    since: Since = "",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Show models over the tasks of all data sets of a collection, by mean rank."""
    if slug.count("/") != 1 or not all(slug.split("/")):
        raise BadInput(f"Name the collection as its address does, namespace/title-id, not {slug}.")
    query = _query(licence, data, smallest, largest, since)
    found = call(endpoint, token, "GET", f"collections/{quote(slug)}/leaderboard{_written(query)}")
    if as_json:
        print_json(found)
        return
    print("place\tmodel\tmean rank\t" + "\t".join(one["task"] for one in found["tasks"]))
    for one in found["models"]:
        scores = "\t".join(f"{row['score']:.3f}" if row else "-" for row in one["rows"])
        print(f"{one['place']}\t{one['model']}\t{one['mean_rank']:.2f}\t{scores}")


def _query(
    licence: str, data: str, smallest: int | None, largest: int | None, since: str
) -> dict[str, object]:
    return {
        "license": licence, "data": data, "smallest": smallest, "largest": largest, "since": since
    }  # fmt: skip


def _written(query: dict[str, object]) -> str:
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return f"?{urlencode(kept)}" if kept else ""


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
