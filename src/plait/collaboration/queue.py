# SPDX-License-Identifier: Apache-2.0
"""Asking for the merge queue: which of the open pull requests are best merged together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from plait.collaboration import jobs
from plait.collaboration.requests import describe_job
from plait.errors import BadInput, Conflict
from plait.hub import Actor, Hub, Repository
from plait.hub.database import Job
from plait.hub.git.store import MAIN

KIND = "queue"
MOST = 200
"""Pull requests that may be named."""


def request_queue(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    numbers: Sequence[int] = (),
    *,
    land: bool = False,
) -> Job:
    """Queue the job that tries open contributions together; asking again gives the same job.

    Args:
        hub: where.
        actor: must be able to merge.
        repo: a model.
        numbers: the pull requests to try; all open ones if left out.
        land: merge the best set if it passes the gate, instead of only proposing it.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not.
        BadInput: it is no model, or too many are named.
        Conflict: the queue is under way on other terms.
    """
    hub.repositories.require(actor, repo, "repo.merge")
    if repo.type != "model":
        raise BadInput("Only a model's pull requests are fused; merge these one by one.")
    wanted = sorted(set(numbers))
    if len(wanted) > MOST:
        raise BadInput(f"Name at most {MOST} pull requests, or none to try all open ones.")
    if land:
        hub.protection.require_merger(actor, repo, MAIN)
    payload: dict[str, Any] = {"numbers": wanted, "land": land}
    if actor.is_system:
        payload["system"] = True
    with hub.session(write=True) as session:
        running = session.scalar(
            select(Job).where(
                Job.repository_id == repo.id,
                Job.kind == KIND,
                Job.state.in_(("queued", "running")),
            )
        )
        if running is not None:
            if all(running.payload.get(key) == payload[key] for key in ("numbers", "land")):
                return running
            raise Conflict(
                f"The queue is under way as job {running.id}, on other terms. Cancel it, or wait."
            )
        return jobs.enqueue_in(
            session,
            KIND,
            payload,
            repo=repo.id,
            requested_by=actor.user_id,
            key=f"{KIND}:{repo.id}",
        )


def queue_state(hub: Hub, repo: Repository) -> dict[str, Any]:
    """Return the newest job of the queue and what it proposed."""
    with hub.session() as session:
        job = session.scalar(
            select(Job)
            .where(Job.repository_id == repo.id, Job.kind == KIND)
            .order_by(Job.id.desc())
            .limit(1)
        )
    if job is None:
        return {"job": None, "report": None}
    report = job.result if job.state == "succeeded" else None
    return {"job": describe_job(job), "report": report}
