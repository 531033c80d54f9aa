# SPDX-License-Identifier: Apache-2.0
"""Branches, tags and history."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import FilePath, Revision
from plait.api.wire import commit, page, position, reference
from plait.errors import BadInput

router = APIRouter(tags=["history"])

PAGE = 50


class _Branch(BaseModel):
    startingPoint: str | None = None  # noqa: N815
    emptyBranch: bool | None = None  # noqa: N815
    overwrite: bool | None = None


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


@router.get("/api/{kind:type}/{namespace}/{name}/commits/{revision}/{path:path}")
def list_commits_of_ref(
    request: Request,
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    path: FilePath,
    expand: Annotated[list[str] | None, Query(alias="expand[]")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    cursor: str | None = None,
) -> JSONResponse:
    """List the commits of a ref whose slashes the client did not encode."""
    return list_commits(request, hub, repo, f"{revision}/{path}", expand, limit, cursor)


@router.get(
    "/api/{kind:type}/{namespace}/{name}/compare/{revision}", response_class=PlainTextResponse
)
def compare(
    hub: HubOf, actor: Caller, repo: Readable, revision: Revision, raw: bool = False
) -> PlainTextResponse:
    """Send the difference of two revisions as a patch.

    ``old..new`` compares the two, ``old...new`` the second with where it parted from the first.
    With ``raw`` a line a file, as git's raw format has it.
    """
    hub.repositories.require(actor, repo, "repo.files")
    three = "..." in revision
    old, _, new = revision.partition("..." if three else "..")
    if not old or not new:
        raise BadInput("Name two revisions, as 'main..refs/pr/1' or 'v1...main'.")
    git = hub.git
    first, second = git.resolve(repo, old), git.resolve(repo, new)
    if three:
        parted = git.merge_base(repo, first, second)
        if parted is None:
            raise BadInput("The two revisions have no commit in common. Compare with 'old..new'.")
        first = parted
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
    if not raw:
        return PlainTextResponse(git.diff(repo, first, second), headers=headers)
    nothing = "0" * 40
    letters = {"added": "A", "modified": "M", "deleted": "D"}
    lines = [
        f":{change.old_oid or nothing} {change.new_oid or nothing} "
        f"{letters[change.kind]}\t{change.path}\n"
        for change in git.changed_paths(repo, first, second)
    ]
    return PlainTextResponse("".join(lines), headers=headers)


@router.post("/api/{kind:type}/{namespace}/{name}/branch/{revision}")
def create_branch(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Branch | None = None
) -> dict[str, Any]:
    """Make a branch."""
    body = body or _Branch()
    hub.references.create_branch(
        user,
        repo,
        revision,
        body.startingPoint,
        empty=bool(body.emptyBranch),
        overwrite=bool(body.overwrite),
    )
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
