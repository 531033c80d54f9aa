# SPDX-License-Identifier: Apache-2.0
"""Gated repositories: asking for the files, and deciding on those who asked."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from plait.api.context import HubOf, Readable, User
from plait.api.routing import Name, Namespace, Type
from plait.api.wire import date, page
from plait.errors import BadInput
from plait.hub import Actor, Hub
from plait.hub.database import AccessRequest, Repository
from plait.hub.repositories.access import PAGE, STATUSES, Status

router = APIRouter(tags=["access"])

BASE = "/api/{kind:type}/{namespace}/{name}"
MAX_ANSWERS = 100


class _Decision(BaseModel):
    user: str | None = None
    requestId: str | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815
    status: Status
    rejectionReason: str | None = None  # noqa: N815


class _Grant(BaseModel):
    user: str


async def _answers(request: Request) -> dict[str, Any]:
    """Read the answers to the card's questions, from a form or from JSON."""
    if "json" in request.headers.get("content-type", ""):
        body = await request.body()
        try:
            found = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise BadInput("The body should be a JSON object of answers.")
        # The client of the Hub's pages puts the answers one level down.
        inner = found.get("fields")
        return inner if isinstance(inner, dict) else found
    form = await request.form(max_fields=MAX_ANSWERS, max_files=0)
    return {name: value for name, value in form.items() if isinstance(value, str)}


Answers = Annotated[dict[str, Any], Depends(_answers)]


@router.post(f"{BASE}/ask-access")
@router.post(f"{BASE}/user-access-request")
def ask(hub: HubOf, user: User, repo: Readable, answers: Answers) -> dict[str, Any]:
    """Ask for the files of a gated repository."""
    return _own(hub.access.ask(user, repo, answers))


@router.post("/{kind:prefix}/{namespace}/{name}/ask-access")
def ask_of(
    hub: HubOf, user: User, kind: Type, namespace: Namespace, name: Name, answers: Answers
) -> dict[str, Any]:
    """Ask for the files of a gated data set or space."""
    return _ask(hub, user, kind, f"{namespace}/{name}", answers)


@router.post("/{namespace}/{name}/ask-access")
def ask_of_model(
    hub: HubOf, user: User, namespace: Namespace, name: Name, answers: Answers
) -> dict[str, Any]:
    """Ask for the files of a gated model."""
    return _ask(hub, user, "model", f"{namespace}/{name}", answers)


@router.get(f"{BASE}/user-access-request")
def show_own(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """Show what became of the caller's own request."""
    return _own(hub.access.state(user, repo))


@router.delete(f"{BASE}/user-access-request")
def withdraw(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """Take back the caller's own request."""
    hub.access.withdraw(user, repo)
    return {}


@router.get(f"{BASE}/user-access-request/{{status}}")
def list_requests(
    request: Request,
    hub: HubOf,
    user: User,
    repo: Readable,
    status: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    cursor: str | None = None,
) -> JSONResponse:
    """List who asked, by what became of it."""
    chosen = next((known for known in STATUSES if known == status), None)
    if chosen is None:
        raise BadInput(f"There is no status {status[:40]!a}. Use one of {', '.join(STATUSES)}.")
    found = hub.access.list(user, repo, chosen, limit=limit, cursor=cursor)
    return page(request, hub.settings, [_request(row) for row in found.items], found.cursor)


@router.post(f"{BASE}/user-access-request/handle")
def decide(hub: HubOf, user: User, repo: Readable, body: _Decision) -> dict[str, Any]:
    """Accept or reject a request, or make it pending again."""
    return _request(
        hub.access.decide(
            user,
            repo,
            body.status,
            user=body.user,
            request_id=body.requestId,
            reason=body.rejectionReason or "",
        )
    )


@router.post(f"{BASE}/user-access-request/grant")
def grant(hub: HubOf, user: User, repo: Readable, body: _Grant) -> dict[str, Any]:
    """Let somebody in who may not have asked."""
    return _request(hub.access.grant(user, repo, body.user))


def _ask(
    hub: Hub, user: Actor, kind: str, full_name: str, answers: dict[str, Any]
) -> dict[str, Any]:
    repo: Repository = hub.repositories.get(user, kind, full_name)
    return _own(hub.access.ask(user, repo, answers))


def _own(found: AccessRequest | None) -> dict[str, Any]:
    if found is None:
        return {"status": None}
    return {
        "status": found.status,
        "requestId": found.public_id,
        "timestamp": date(found.created_at),
        "fields": found.fields,
        **({"rejectionReason": found.reason} if found.reason else {}),
    }


def _request(found: AccessRequest) -> dict[str, Any]:
    user: dict[str, Any] = {"user": found.user.name, "fullname": found.user.fullname}
    if found.user.email and not found.granted:
        # They agreed to show it by asking; whoever was let in unasked did not.
        user["email"] = found.user.email
    shown: dict[str, Any] = {
        "requestId": found.public_id,
        "status": found.status,
        "timestamp": date(found.created_at),
        "user": user,
    }
    if found.fields:
        shown["fields"] = found.fields
    if found.reason:
        shown["rejectionReason"] = found.reason
    return shown
