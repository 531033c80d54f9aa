# SPDX-License-Identifier: Apache-2.0
"""Plait's own part: jobs, and how the merge of a pull request stands."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Number
from plait.api.wire import date
from plait.collaboration import events, jobs
from plait.collaboration.requests import describe_job as describe
from plait.collaboration.requests import merge_state, request_merge, request_preview
from plait.errors import Forbidden, NotFound
from plait.hub import Actor, Hub, can
from plait.hub.database import Job

router = APIRouter(tags=["jobs"])

LINES = 1000


def _job(
    hub: HubOf, actor: Caller, job_id: Annotated[int, Path(alias="job", ge=1, le=2**62)]
) -> Job:
    """Find a job; one of a repository that the caller may not read does not exist."""
    job = jobs.get(hub, job_id)
    if not _visible(hub, actor, job):
        raise NotFound(f"There is no job {job_id}.")
    return job


Found = Annotated[Job, Depends(_job)]


@router.get("/api/plait/jobs/{job}")
def describe_job(job: Found) -> dict[str, Any]:
    """Show a job's state, progress and result."""
    return {**describe(job), "result": job.result}


@router.get("/api/plait/jobs/{job}/log")
def job_log(
    hub: HubOf, job: Found, after: Annotated[int, Query(ge=0, le=2**62)] = 0
) -> dict[str, Any]:
    """Show the lines of a job's log that come after a given one."""
    lines = jobs.lines(hub, job.id, after, LINES)
    return {
        "lines": [
            {"id": line.id, "at": date(line.created_at), "text": line.text} for line in lines
        ],
        "next": lines[-1].id if lines else after,
        "state": job.state,
    }


@router.post("/api/plait/jobs/{job}/cancel")
def cancel_job(hub: HubOf, user: User, job: Found) -> dict[str, Any]:
    """Ask for a job to stop."""
    if not jobs.may_cancel(hub, user, job):
        raise Forbidden(f"Job {job.id} was started by somebody else. Ask a member to cancel it.")
    return describe(jobs.cancel(hub, job.id))


@router.get("/api/plait/{kind:type}/{namespace}/{name}/pulls/{number}")
def describe_pull(hub: HubOf, repo: Readable, number: Number) -> dict[str, Any]:
    """Show how the merge of a pull request stands."""
    discussion = hub.discussions.get(repo, number)
    if not discussion.is_pull_request:
        raise NotFound(f"Discussion {number} of '{repo.full_name}' is not a pull request.")
    return {
        "number": discussion.number,
        "title": discussion.title,
        **merge_state(hub, repo, discussion),
    }


@router.get("/api/plait/{kind:type}/{namespace}/{name}/pulls")
def list_pulls(hub: HubOf, repo: Readable, all: bool = False) -> dict[str, Any]:
    """List pull requests, newest first, with the verdict of their newest merge."""
    status = None if all else "open"
    found = hub.discussions.list(repo, pull_request=True, status=status, limit=500)
    verdicts = events.latest_verdicts(hub, [one.id for one in found])
    return {
        "pulls": [
            {
                "number": one.number,
                "title": one.title,
                "status": one.status,
                "author": one.author.name if one.author is not None else None,
                "target": one.base_ref.removeprefix("refs/heads/"),
                "verdict": verdicts.get(one.id),
                "createdAt": date(one.created_at),
            }
            for one in found
        ]
    }


@router.post("/api/plait/{kind:type}/{namespace}/{name}/pulls/{number}/merge")
def merge_pull(hub: HubOf, user: User, repo: Readable, number: Number) -> dict[str, Any]:
    """Merge a pull request at once, or queue the job that judges first."""
    outcome = request_merge(hub, user, repo, hub.discussions.get(repo, number))
    return {
        "job": describe(outcome.job) if outcome.job is not None else None,
        "commitOid": outcome.landed,
    }


@router.post("/api/plait/{kind:type}/{namespace}/{name}/pulls/{number}/preview")
def preview_pull(hub: HubOf, user: User, repo: Readable, number: Number) -> dict[str, Any]:
    """Queue the job that builds what merging would land, as ``refs/preview/N``."""
    outcome = request_preview(hub, user, repo, hub.discussions.get(repo, number))
    assert outcome.job is not None
    return {"job": describe(outcome.job)}


def _visible(hub: Hub, actor: Actor, job: Job) -> bool:
    if can(actor, "hub.admin"):
        return True
    if job.repository_id is None:
        return actor.signed_in and job.requested_by == actor.user_id
    repo = hub.repositories.by_id(job.repository_id)
    return repo is not None and can(actor, "repo.read", repo)
