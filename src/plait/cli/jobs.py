# SPDX-License-Identifier: Apache-2.0
"""``plait jobs``: what runs and waits, what it cost, limits and priorities; for operators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from plait.cli.options import HubDirectory, Json, open_hub, print_json

jobs = typer.Typer(no_args_is_help=True, help="Jobs of a hub: list, costs, limits, priorities.")
JobId = Annotated[int, typer.Argument(metavar="JOB", min=1, help="The job's number.")]


@jobs.command("list")
def list_jobs(
    directory: HubDirectory,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List jobs with what they cost, newest first."""
    from plait.collaboration import jobs as queue
    from plait.collaboration.requests import describe_job

    with open_hub(directory) as hub:
        rows = [describe_job(job) for job in queue.recent(hub, state=state, limit=limit)]
    if as_json:
        print_json(rows)
        return
    print("job\tkind\tstate\tpriority\tCPU-s\tGPU-s\tMB written")
    for row in rows:
        print(
            f"{row['id']}\t{row['kind']}\t{row['state']}\t{row['priority']}\t"
            f"{row['cpu_seconds']:.1f}\t{row['gpu_seconds']:.1f}\t{row['bytes_written'] / 1e6:.1f}"
        )


@jobs.command("costs")
def costs(directory: HubDirectory, as_json: Json = False) -> None:
    """Sum what jobs cost by user and organisation, the most processor time first."""
    from plait.collaboration import budgets

    with open_hub(directory) as hub:
        rows = budgets.usage(hub)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print("namespace\tjobs\trunning\tlimit\tCPU-s\tGPU-s\tMB written")
    for row in rows:
        print(
            f"{row.namespace}\t{row.jobs}\t{row.running}\t{row.limit or 'none'}\t"
            f"{row.cost.cpu_seconds:.1f}\t{row.cost.gpu_seconds:.1f}\t"
            f"{row.cost.bytes_written / 1e6:.1f}"
        )


@jobs.command("limit")
def limit_jobs(
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="User or organisation.")],
    directory: HubDirectory,
    running: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Jobs at the same time; none: as usual.")
    ] = None,
) -> None:
    """Say how many jobs of somebody's repositories may run at the same time."""
    from plait.collaboration import budgets

    with open_hub(directory) as hub:
        budgets.set_limit(hub, hub.accounts.get(namespace), running)
    print(f"{namespace}: {'the usual number' if running is None else running} at the same time.")


@jobs.command("priority")
def prioritize(
    job: JobId,
    priority: Annotated[int, typer.Argument(metavar="N", help="-100 to 100; higher is sooner.")],
    directory: HubDirectory,
) -> None:
    """Change how soon a waiting job is taken up."""
    from plait.collaboration import jobs as queue

    with open_hub(directory) as hub:
        queue.prioritize(hub, job, priority)
    print(f"Job {job} has priority {priority}.")


@jobs.command("cancel")
def cancel(job: JobId, directory: HubDirectory) -> None:
    """Stop a job: at once if it waits, at its next look if it runs."""
    from plait.collaboration import jobs as queue

    with open_hub(directory) as hub:
        print(f"Job {job}: {queue.cancel(hub, job).state}")
