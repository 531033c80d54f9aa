# SPDX-License-Identifier: Apache-2.0
"""``plait jobs``: what runs and waits, its log, what it cost, limits and priorities.

With ``--dir`` the commands work on a hub's folder, as its operator; without, they ask the hub that
``HF_ENDPOINT`` names, with the rights of ``HF_TOKEN``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from plait.cli.options import Endpoint, HubToken, Json, open_hub, print_json
from plait.client import FINISHED, call

jobs = typer.Typer(
    no_args_is_help=True, help="Jobs of a hub: list, log, cancel, costs, limits, priorities."
)
JobId = Annotated[int, typer.Argument(metavar="JOB", min=1, help="The job's number.")]
Folder = Annotated[
    Path | None,
    typer.Option("--dir", envvar="PLAIT_DIR", help="The hub's folder, for its operator."),
]
PAUSE = 1.0
"""Seconds between two looks at a log that is followed."""


@jobs.command("list")
def list_jobs(
    directory: Folder = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List jobs with what they cost, newest first; for the hub's administrators."""
    if directory is None:
        asked = f"jobs?limit={limit}" + (f"&state={quote(state)}" if state else "")
        rows = call(endpoint, token, "GET", asked)["jobs"]
    else:
        from plait.collaboration import jobs as queue
        from plait.collaboration.requests import describe_job

        with open_hub(directory) as hub:
            found = queue.recent(hub, state=state, limit=limit)
            names = queue.payers(hub, found)
            rows = [
                {**describe_job(job), "namespace": names.get(job.namespace_id or 0)}
                for job in found
            ]
    if as_json:
        print_json(rows)
        return
    print("job\tkind\tstate\tnamespace\tpriority\tCPU-s\tGPU-s\tMB written")
    for row in rows:
        print(
            f"{row['id']}\t{row['kind']}\t{row['state']}\t{row['namespace'] or '-'}\t"
            f"{row['priority']}\t{_cost(row)}"
        )


@jobs.command("log")
def show_log(
    job: JobId,
    directory: Folder = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a job's log; with --follow line by line until it ends.

    Following ends with status 1 if the job failed or was cancelled.
    """
    if directory is None:

        def ask(after: int) -> dict[str, Any]:
            found: dict[str, Any] = call(endpoint, token, "GET", f"jobs/{job}/log?after={after}")
            return found

        state = _print_log(ask, follow, as_json)
    else:
        with open_hub(directory) as hub:
            from plait.collaboration import jobs as queue

            def look(after: int) -> dict[str, Any]:
                held = queue.get(hub, job)  # before its lines: none can come after it ended
                lines = [
                    {"id": line.id, "at": line.created_at.isoformat(), "text": line.text}
                    for line in queue.lines(hub, job, after)
                ]
                last = int(str(lines[-1]["id"])) if lines else after
                return {"lines": lines, "next": last, "state": held.state}

            state = _print_log(look, follow, as_json)
    if follow and state != "succeeded":
        print(f"Job {job}: {state}.", file=sys.stderr)
        raise typer.Exit(1)


@jobs.command("cancel")
def cancel(
    job: JobId, directory: Folder = None, endpoint: Endpoint = None, token: HubToken = None
) -> None:
    """Stop a job: at once if it waits, at its next look if it runs."""
    if directory is None:
        state = call(endpoint, token, "POST", f"jobs/{job}/cancel", b"{}")["state"]
    else:
        from plait.collaboration import jobs as queue

        with open_hub(directory) as hub:
            state = queue.cancel(hub, job).state
    print(f"Job {job}: {state}{', and stops at its next look' if state == 'running' else ''}")


@jobs.command("costs")
def costs(
    namespace: Annotated[
        str | None, typer.Argument(metavar="[NAMESPACE]", help="A user or organisation alone.")
    ] = None,
    directory: Folder = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Sum what jobs cost by user and organisation, the most processor time first.

    Over HTTP, members see their own namespaces and administrators all.
    """
    if directory is None:
        if namespace is None:
            rows = call(endpoint, token, "GET", "costs")["costs"]
        else:
            rows = [call(endpoint, token, "GET", f"costs/{quote(namespace, safe='')}")]
    else:
        from plait.collaboration import budgets

        with open_hub(directory) as hub:
            account = None if namespace is None else hub.accounts.get(namespace)
            rows = [budgets.plain(row) for row in budgets.usage(hub, account)]
    if as_json:
        print_json(rows)
        return
    print("namespace\tjobs\trunning\tlimit\tCPU-s\tGPU-s\tMB written")
    for row in rows:
        print(
            f"{row['namespace']}\t{row['jobs']}\t{row['running']}\t{row['limit'] or 'none'}\t"
            f"{_cost(row)}"
        )


@jobs.command("limit")
def limit_jobs(
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="User or organisation.")],
    running: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Jobs at the same time; none: as usual.")
    ] = None,
    directory: Folder = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Say how many jobs on somebody's bill may run at the same time; for administrators."""
    if directory is None:
        body = json.dumps({"running": running}).encode()
        call(endpoint, token, "PUT", f"costs/{quote(namespace, safe='')}/limit", body)
    else:
        from plait.collaboration import budgets

        with open_hub(directory) as hub:
            budgets.set_limit(hub, hub.accounts.get(namespace), running)
    print(f"{namespace}: {'the usual number' if running is None else running} at the same time.")


@jobs.command("priority")
def prioritize(
    job: JobId,
    priority: Annotated[int, typer.Argument(metavar="N", help="-100 to 100; higher is sooner.")],
    directory: Folder = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Change how soon a waiting job is taken up; for administrators."""
    if directory is None:
        body = json.dumps({"priority": priority}).encode()
        call(endpoint, token, "PUT", f"jobs/{job}/priority", body)
    else:
        from plait.collaboration import jobs as queue

        with open_hub(directory) as hub:
            queue.prioritize(hub, job, priority)
    print(f"Job {job} has priority {priority}.")


def _print_log(ask: Callable[[int], dict[str, Any]], follow: bool, as_json: bool) -> str:
    """Print the lines that there are, or all until the job has ended; return its state."""
    state = ""
    for found in _pages(ask, follow):
        for line in found["lines"]:
            text = json.dumps(line, ensure_ascii=False) if as_json else line["text"]
            print(text, flush=True)
        state = found["state"]
    return state


def _pages(ask: Callable[[int], dict[str, Any]], follow: bool) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        found = ask(after)
        yield found
        after = found["next"]
        if not found["lines"]:
            if not follow or found["state"] in FINISHED:
                return
            time.sleep(PAUSE)


def _cost(row: dict[str, Any]) -> str:
    return f"{row['cpu_seconds']:.1f}\t{row['gpu_seconds']:.1f}\t{row['bytes_written'] / 1e6:.1f}"
