# SPDX-License-Identifier: Apache-2.0
"""The licence verdict of a pull request, and a maintainer's decision."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from plait.api.context import HubOf, Readable, User
from plait.api.routing import Number
from plait.collaboration.merging import licensing
from plait.errors import Conflict
from plait.hub import Discussion, Hub, Repository

router = APIRouter(tags=["licences"])

PREFIX = "/api/plait/{kind:type}/{namespace}/{name}/pulls/{number}/licence"


class _Decision(BaseModel):
    allow: bool
    reason: Annotated[str, Field(max_length=licensing.MAX_REASON)]


def _state(hub: Hub, repo: Repository, number: int) -> tuple[Discussion, licensing.LicenceState]:
    discussion = hub.discussions.get(repo, number)
    state = licensing.of_pull(hub, repo, discussion)
    if state is None:
        raise Conflict(f"Number {number} is no open pull request; there is no merge to judge.")
    return discussion, state


@router.get(PREFIX)
def show_licence(hub: HubOf, repo: Readable, number: Number) -> dict[str, Any]:
    """Say whether the licences permit the merge, with the reasons. It is no legal advice."""
    return _state(hub, repo, number)[1].to_json()


@router.post(PREFIX)
def decide_licence(
    hub: HubOf, user: User, repo: Readable, number: Number, body: _Decision
) -> dict[str, Any]:
    """Record a maintainer's decision on licences that the hub cannot judge."""
    discussion, state = _state(hub, repo, number)
    licensing.decide(hub, user, repo, discussion, state, allow=body.allow, reason=body.reason)
    return _state(hub, repo, number)[1].to_json()
