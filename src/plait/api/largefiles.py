# SPDX-License-Identifier: Apache-2.0
"""Large files over all of a repository's history: listing, purging, copying to another."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from plait.api.context import HubOf, Readable, User
from plait.api.wire import date, page, position
from plait.errors import Moved
from plait.hub.repositories.largefiles import MAX_NAMED

router = APIRouter(tags=["uploads"])

BASE = "/api/{kind:type}/{namespace}/{name}/lfs-files"
PAGE = 1000


class _Deletions(BaseModel):
    sha: Annotated[list[str], Field(max_length=MAX_NAMED)]
    rewriteHistory: bool = True  # noqa: N815


class _Batch(BaseModel):
    deletions: _Deletions


class _Target(BaseModel):
    type: str = "model"
    name: str


class _File(BaseModel):
    sha256: str
    xetHash: str | None = None  # noqa: N815
    filename: str = ""


class _Copy(BaseModel):
    target: _Target
    files: Annotated[list[_File], Field(max_length=MAX_NAMED)]


@router.get(BASE)
def list_files(
    request: Request,
    hub: HubOf,
    user: User,
    repo: Readable,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    cursor: str | None = None,
) -> JSONResponse:
    """List the large files that any commit refers to, the last pushed first."""
    start = position(cursor)
    found = hub.largefiles.list(user, repo)
    rows = [
        {
            "fileOid": file.sha256,
            "filename": file.path,
            "oid": file.pointer,
            "pushedAt": date(file.pushed_at),
            "ref": file.ref,
            "size": file.size,
        }
        for file in found[start : start + limit]
    ]
    following = start + limit
    return page(request, hub.settings, rows, following if following < len(found) else None)


@router.post(f"{BASE}/batch")
def purge(hub: HubOf, user: User, repo: Readable, body: _Batch) -> dict[str, Any]:
    """Remove large files for good, by default from all history too."""
    deletions = body.deletions
    hub.largefiles.purge(user, repo, deletions.sha, rewrite=deletions.rewriteHistory)
    return {"success": True}


@router.post(f"{BASE}/duplicate")
def duplicate(hub: HubOf, user: User, repo: Readable, body: _Copy) -> dict[str, Any]:
    """Let another repository refer to large files of this one, so that it can commit them."""
    hub.repositories.require(user, repo, "repo.files")
    try:
        target = hub.repositories.get(user, body.target.type, body.target.name, "repo.propose")
    except Moved as moved:
        target = hub.repositories.get(user, body.target.type, moved.new_name, "repo.propose")
    failed = hub.largefiles.copy(user, repo, target, [file.sha256 for file in body.files])
    return {
        "success": not failed,
        "failed": [{"sha256": name, "error": error} for name, error in failed.items()],
    }
