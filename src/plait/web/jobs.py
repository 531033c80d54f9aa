# SPDX-License-Identifier: Apache-2.0
"""A job's page: how far it is, what it says, and how to stop it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from plait.collaboration import jobs
from plait.errors import Forbidden, NotFound
from plait.hub import Repository, can
from plait.hub.database import Discussion, Job
from plait.web.here import RepositoryView
from plait.web.session import Form
from plait.web.visit import Visit, Visitor, repository_url

MOST_LINES = 5000


@dataclass(frozen=True)
class JobView:
    """What the templates show of a job."""

    id: int
    kind: str
    state: str
    stage: str
    percent: int
    live: bool
    error: str
    attempts: int
    may_cancel: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    thread: str
    priority: int
    cpu_seconds: float
    gpu_seconds: float
    bytes_written: int


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/jobs/{number}", show)
    router.add_api_route("/jobs/{number}/state", state)
    router.add_api_route("/jobs/{number}/cancel", cancel, methods=["POST"])


def job_view(visit: Visit, job: Job, repo: Repository | None, thread: str = "") -> JobView:
    """Reduce a job to what is shown of it."""
    live = job.state not in jobs.FINISHED
    return JobView(
        id=job.id,
        kind=job.kind,
        state=job.state,
        stage=job.stage if live else "",
        percent=round(100 * min(max(job.fraction, 0.0), 1.0)),
        live=live,
        error=job.error or "",
        attempts=job.attempts,
        may_cancel=live and jobs.may_cancel(visit.hub, visit.actor, job),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        thread=thread,
        priority=job.priority,
        cpu_seconds=round(job.cpu_seconds or 0.0, 1),
        gpu_seconds=round(job.gpu_seconds or 0.0, 1),
        bytes_written=job.bytes_written or 0,
    )


def _find(visit: Visit, number: int) -> tuple[Job, Repository | None, str]:
    """Return a job, its repository, and the address of its discussion.

    Raises:
        NotFound: there is none, or the visitor may not see what it is about.
    """
    nothing = NotFound(f"There is no job {number}.")
    if not 0 < number < 2**31:
        raise nothing
    job = jobs.get(visit.hub, number)
    if job.repository_id is None:
        own = visit.actor.signed_in and job.requested_by == visit.actor.user_id
        if not own and not visit.may("hub.admin"):
            raise nothing
        return job, None, _opened(visit, job)
    repo = visit.hub.repositories.by_id(job.repository_id)
    if repo is None or not can(visit.actor, "repo.read", repo):
        raise nothing
    thread = ""
    if job.discussion_id is not None:
        with visit.hub.session() as session:
            found = session.get(Discussion, job.discussion_id)
        if found is not None:
            thread = f"{repository_url(repo.type, repo.full_name)}/discussions/{found.number}"
    return job, repo, thread


def _opened(visit: Visit, job: Job) -> str:
    """Return the address of the pull request that a training opened."""
    number = (job.result or {}).get("pull_request")
    model = visit.hub.repositories.by_id(int(job.payload.get("model") or 0)) if number else None
    if model is None or not can(visit.actor, "repo.read", model):
        return ""
    return f"{repository_url(model.type, model.full_name)}/discussions/{number}"


def show(visit: Visitor, number: int) -> Response:
    """Show a job and its log."""
    job, repo, thread = _find(visit, number)
    lines = jobs.lines(visit.hub, job.id, limit=MOST_LINES)
    return visit.render(
        "job.html",
        repo=RepositoryView(visit, repo) if repo is not None else None,
        job=job_view(visit, job, repo, thread),
        lines=[line.text for line in lines],
    )


def state(visit: Visitor, number: int, after: int = 0) -> Response:
    """Answer how far a job is, and its log lines after one: what the page's script asks for."""
    job, repo, thread = _find(visit, number)
    view = job_view(visit, job, repo, thread)
    lines = jobs.lines(visit.hub, job.id, after=min(max(after, 0), 2**53))
    return JSONResponse(
        {
            "state": view.state,
            "word": visit.t(f"job.state.{view.state}"),
            "stage": view.stage,
            "percent": view.percent,
            "live": view.live,
            "lines": [line.text for line in lines],
            "last": lines[-1].id if lines else after,
        },
        headers={"Cache-Control": "no-store"},
    )


def cancel(visit: Visitor, number: int, form: Form) -> Response:
    """Ask for a job to stop."""
    job, _, thread = _find(visit, number)
    if not jobs.may_cancel(visit.hub, visit.actor, job):
        raise Forbidden("You may not cancel this job. Ask somebody who may merge here.")
    jobs.cancel(visit.hub, job.id)
    return visit.go(thread or f"/jobs/{job.id}")
