# SPDX-License-Identifier: Apache-2.0
"""Conflicts of a pull request, and settling them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Number
from plait.collaboration.merging.resolutions import parse_resolutions
from plait.collaboration.requests import describe_job
from plait.collaboration.settling import find_conflicts, settle
from plait.errors import BadInput

router = APIRouter(tags=["conflicts"])

BASE = "/api/plait/{kind:type}/{namespace}/{name}/pulls/{number}/conflicts"


class _Resolutions(BaseModel):
    resolutions: dict[str, Any]


@router.get(BASE)
def list_conflicts(hub: HubOf, actor: Caller, repo: Readable, number: Number) -> dict[str, Any]:
    """List what main and a pull request say differently, with both sides."""
    hub.repositories.require(actor, repo, "repo.files")
    found = find_conflicts(hub, repo, hub.discussions.get(repo, number))
    return {
        "known": found.known,
        "refused": found.refused,
        "files": [conflict.to_json() for conflict in found.files],
    }


@router.post(BASE)
def settle_conflicts(
    hub: HubOf, user: User, repo: Readable, number: Number, body: _Resolutions
) -> dict[str, Any]:
    """Settle conflicts: ``{"resolutions": {path: "main" | "pull" | {places, rest, content}}}``."""
    discussion = hub.discussions.get(repo, number)
    if not discussion.is_pull_request:
        raise BadInput(f"Discussion {number} is not a pull request; it has no conflicts.")
    decided = parse_resolutions(body.resolutions, "resolutions")
    done = settle(hub, user, repo, discussion, decided)
    return {
        "commit": done.commit,
        "left": done.left,
        "job": describe_job(done.job) if done.job is not None else None,
    }
