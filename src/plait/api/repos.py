# SPDX-License-Identifier: Apache-2.0
"""Making, removing, renaming and setting up repositories."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from plait.api.context import HubOf, Readable, User
from plait.api.wire import object_id, repository_url
from plait.errors import BadInput, Conflict, Unsupported
from plait.hub import Actor

router = APIRouter(tags=["repositories"])


class _Named(BaseModel):
    name: str
    organization: str | None = None
    type: str | None = None

    def full_name(self, user: Actor) -> str:
        if self.organization is None and "/" in self.name:
            return self.name
        return f"{self.organization or user.name}/{self.name}"


class _New(_Named):
    private: bool | None = None
    visibility: str | None = None


class _Move(BaseModel):
    fromRepo: str  # noqa: N815
    toRepo: str  # noqa: N815
    type: str | None = None


class _Settings(BaseModel):
    private: bool | None = None
    visibility: str | None = None
    gated: Literal["auto", "manual", False] | None = None


@router.post("/api/repos/create")
def create(hub: HubOf, user: User, body: _New) -> JSONResponse:
    """Make a repository; 409 with its address if it is there already."""
    kind = body.type or "model"
    name = body.full_name(user)
    private = _private(body.private, body.visibility)
    try:
        repo = hub.repositories.create(user, kind, name, bool(private))
        status, extra = 200, {}
    except Conflict as conflict:
        repo = hub.repositories.get(user, kind, name)
        status, extra = 409, {"error": conflict.message}
    found = {
        "url": repository_url(hub.settings, repo),
        "name": repo.full_name,
        "id": object_id(repo),
    }
    return JSONResponse({**found, **extra}, status)


@router.delete("/api/repos/delete")
def delete(hub: HubOf, user: User, body: _Named) -> dict[str, Any]:
    """Remove a repository for good."""
    repo = hub.repositories.get(user, body.type or "model", body.full_name(user))
    hub.repositories.delete(user, repo)
    return {}


@router.post("/api/repos/move")
def move(hub: HubOf, user: User, body: _Move) -> dict[str, Any]:
    """Give a repository another name or owner."""
    repo = hub.repositories.get(user, body.type or "model", body.fromRepo)
    moved = hub.repositories.move(user, repo, body.toRepo)
    return {"url": repository_url(hub.settings, moved)}


@router.put("/api/{kind:type}/{namespace}/{name}/settings")
def update(hub: HubOf, user: User, repo: Readable, body: _Settings) -> dict[str, Any]:
    """Change who sees a repository."""
    if body.gated:
        raise Unsupported("Plait has no gated repositories. Make the repository private instead.")
    private = _private(body.private, body.visibility)
    fresh = hub.repositories.update(user, repo, private=private)
    return {"private": fresh.private, "gated": False}


def _private(private: bool | None, visibility: str | None) -> bool | None:
    if visibility is None:
        return private
    if visibility not in ("public", "private"):
        raise BadInput(
            f"A repository cannot be {visibility[:40]!r} here. Use 'public' or 'private'."
        )
    return visibility == "private"
