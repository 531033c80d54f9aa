# SPDX-License-Identifier: Apache-2.0
"""What jobs cost and by whose order they run: for administrators, and for members their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field

from plait.api.context import HubOf, User
from plait.api.routing import decode
from plait.collaboration import budgets, jobs
from plait.collaboration.requests import describe_job
from plait.errors import Forbidden, NotFound
from plait.hub import Account, Actor, Hub, can

router = APIRouter(tags=["jobs"])

Name = Annotated[
    str, Path(alias="namespace", description="A user or organisation."), AfterValidator(decode)
]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class NewLimit(BaseModel):
    """How many jobs may run at the same time; none: the hub's usual number."""

    running: Annotated[int | None, Field(ge=1, le=budgets.MOST)] = None


class NewPriority(BaseModel):
    """How soon a waiting job is taken up: higher is sooner."""

    priority: Annotated[int, Field(ge=-jobs.MOST_PRIORITY, le=jobs.MOST_PRIORITY)]


@router.get("/api/plait/jobs")
def list_jobs(
    hub: HubOf,
    user: User,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> dict[str, Any]:
    """List jobs with what they cost, newest first, those before a number; for administrators."""
    _administers(user)
    found = jobs.recent(hub, state=state, limit=limit, before=before)
    names = jobs.payers(hub, found)
    rows = [{**describe_job(job), "namespace": names.get(job.namespace_id or 0)} for job in found]
    return {"jobs": rows}


@router.put("/api/plait/jobs/{job}/priority")
def prioritize(
    hub: HubOf, user: User, body: NewPriority, job: Annotated[int, Path(ge=1, le=2**62)]
) -> dict[str, Any]:
    """Change how soon a waiting job is taken up; for administrators."""
    _administers(user)
    return describe_job(jobs.prioritize(hub, job, body.priority, user))


@router.get("/api/plait/costs")
def all_costs(hub: HubOf, user: User) -> dict[str, Any]:
    """Sum what jobs cost by user and organisation, the most CPU time first; for administrators."""
    _administers(user)
    return {"costs": [budgets.plain(one) for one in budgets.usage(hub)]}


@router.get("/api/plait/costs/{namespace}")
def costs(hub: HubOf, user: User, namespace: Name) -> dict[str, Any]:
    """Show what the jobs of a user or organisation cost; for those who belong to it."""
    account = _own(hub, user, namespace)
    return budgets.plain(budgets.usage(hub, account)[0])


@router.put("/api/plait/costs/{namespace}/limit")
def set_limit(hub: HubOf, user: User, body: NewLimit, namespace: Name) -> dict[str, Any]:
    """Say how many jobs of somebody may run at the same time; for administrators."""
    _administers(user)
    account = hub.accounts.get(namespace)
    budgets.set_limit(hub, account, body.running, user)
    return budgets.plain(budgets.usage(hub, account)[0])


def _administers(actor: Actor) -> None:
    if not can(actor, "hub.admin"):
        raise Forbidden("Only the hub's administrators may do this.")


def _own(hub: Hub, actor: Actor, name: str) -> Account:
    found = hub.accounts.find(name)
    if found is None or not budgets.may_see(actor, found):
        raise NotFound(f"There is no user or organisation {name[:100]!a} that you belong to.")
    return found
