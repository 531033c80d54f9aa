# SPDX-License-Identifier: Apache-2.0
"""The contributions that a model's main holds, and withdrawing one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Number
from plait.collaboration import contributions
from plait.collaboration.requests import describe_job

router = APIRouter(tags=["contributions"])

BASE = "/api/plait/{kind:type}/{namespace}/{name}/contributions"


class _Withdraw(BaseModel):
    anyway: bool = False


@router.get(BASE)
def list_contributions(hub: HubOf, actor: Caller, repo: Readable) -> dict[str, Any]:
    """List what main was fused from, and what was withdrawn from it."""
    found = contributions.list_contributions(hub, repo)
    return {
        "contributions": [contributions.entry_json(row, actor, repo) for row in found.held],
        "withdrawn": [
            {"number": one.number, "revision": one.revision, "by": one.by, "at": one.at}
            for one in found.withdrawn
        ],
    }


@router.post(BASE + "/{number}/withdraw")
def withdraw(
    hub: HubOf, user: User, repo: Readable, number: Number, body: _Withdraw | None = None
) -> dict[str, Any]:
    """Queue the job that fuses main without a contribution, judges it and lands it."""
    anyway = body is not None and body.anyway
    job = contributions.request_withdrawal(hub, user, repo, number, anyway=anyway)
    return {"job": describe_job(job)}
