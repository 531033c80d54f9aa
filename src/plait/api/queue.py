# SPDX-License-Identifier: Apache-2.0
"""The merge queue: which open pull requests of a model are best merged together."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from plait.api.context import Caller, HubOf, Readable, User
from plait.collaboration.queue import queue_state, request_queue
from plait.collaboration.requests import describe_job

router = APIRouter(tags=["queue"])

BASE = "/api/plait/{kind:type}/{namespace}/{name}/queue"


class _Queue(BaseModel):
    numbers: list[int] = Field(default_factory=list)
    land: bool = False
    proposal: int | None = Field(default=None, ge=1, le=2**53)
    judge: int = 3


@router.get(BASE)
def show_queue(hub: HubOf, actor: Caller, repo: Readable) -> dict[str, Any]:
    """Show the queue's newest job and the set that it proposed."""
    return queue_state(hub, repo)


@router.post(BASE)
def start_queue(
    hub: HubOf, user: User, repo: Readable, body: _Queue | None = None
) -> dict[str, Any]:
    """Queue the job that tries open contributions together, or lands what one proposed."""
    body = body or _Queue()
    job = request_queue(
        hub, user, repo, body.numbers, land=body.land, proposal=body.proposal, judge=body.judge
    )
    return {"job": describe_job(job)}
