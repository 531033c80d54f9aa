# SPDX-License-Identifier: Apache-2.0
"""Branches, tags and history."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from plait.api.context import HubOf, Readable, User
from plait.api.routing import Revision
from plait.api.wire import commit, page, position, reference
from plait.errors import BadInput

router = APIRouter(tags=["history"])

PAGE = 50


class _Branch(BaseModel):
    startingPoint: str | None = None  # noqa: N815
    emptyBranch: bool = False  # noqa: N815
    overwrite: bool = False


class _Tag(BaseModel):
    tag: str
    message: str | None = None


class _Squash(BaseModel):
    message: str | None = None


@router.get("/api/{kind:type}/{namespace}/{name}/refs")
def list_refs(hub: HubOf, repo: Readable, include_prs: bool = False) -> dict[str, Any]:
    """List branches and tags, and pull-request refs if asked."""
    refs = hub.git.refs(repo)
    found: dict[str, Any] = {
        "branches": [reference(ref) for ref in refs.branches],
        "converts": [],
        "tags": [reference(ref) for ref in refs.tags],
    }
    if include_prs:
        found["pullRequests"] = [reference(ref) for ref in refs.pull_requests]
    return found


@router.get("/api/{kind:type}/{namespace}/{name}/commits/{revision}")
def list_commits(
    request: Request,
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    expand: Annotated[list[str] | None, Query(alias="expand[]")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    cursor: str | None = None,
) -> JSONResponse:
    """List the commits of a revision, newest first."""
    oid = hub.git.resolve(repo, revision)
    start = position(cursor)
    found = hub.git.log(repo, oid, limit + 1, start)
    rows = [commit(info, formatted="formatted" in (expand or [])) for info in found[:limit]]
    return page(request, hub.settings, rows, start + limit if len(found) > limit else None)


@router.post("/api/{kind:type}/{namespace}/{name}/branch/{revision}")
def create_branch(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Branch | None = None
) -> dict[str, Any]:
    """Make a branch."""
    body = body or _Branch()
    if body.emptyBranch or body.overwrite:
        raise BadInput("Plait makes branches from a starting point and overwrites none.")
    hub.references.create_branch(user, repo, revision, body.startingPoint)
    return {}


@router.delete("/api/{kind:type}/{namespace}/{name}/branch/{revision}")
def delete_branch(hub: HubOf, user: User, repo: Readable, revision: Revision) -> dict[str, Any]:
    """Remove a branch."""
    hub.references.delete_branch(user, repo, revision)
    return {}


@router.post("/api/{kind:type}/{namespace}/{name}/tag/{revision}")
def create_tag(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Tag
) -> dict[str, Any]:
    """Tag a revision."""
    hub.references.create_tag(user, repo, body.tag, revision, body.message)
    return {}


@router.delete("/api/{kind:type}/{namespace}/{name}/tag/{revision}")
def delete_tag(hub: HubOf, user: User, repo: Readable, revision: Revision) -> dict[str, Any]:
    """Remove a tag."""
    hub.references.delete_tag(user, repo, revision)
    return {}


@router.post("/api/{kind:type}/{namespace}/{name}/super-squash/{revision}")
def super_squash(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Squash
) -> dict[str, Any]:
    """Replace a branch's history by one commit."""
    oid = hub.references.super_squash(user, repo, revision, body.message or "")
    return {"commitOid": oid}
