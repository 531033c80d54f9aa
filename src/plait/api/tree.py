# SPDX-License-Identifier: Apache-2.0
"""Files and folders of a revision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from plait.api.context import HubOf, Readable
from plait.api.routing import FilePath, Revision
from plait.api.wire import page, position, tree_entry
from plait.errors import BadInput, TooLarge
from plait.hub import Hub, TreeEntry
from plait.hub.database import Repository

router = APIRouter(tags=["files"])

PAGE = 1000
EXPANDED_PAGE = 100
MAX_PATHS = 10_000

Recursive = Annotated[bool, Query(description="Also everything in folders below.")]
Expand = Annotated[bool, Query(description="With the commit that last changed each.")]


@router.get("/api/{kind:type}/{namespace}/{name}/tree/{revision}")
def list_root(
    request: Request,
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    recursive: Recursive = False,
    expand: Expand = False,
    cursor: str | None = None,
) -> JSONResponse:
    """List a revision's files and folders."""
    return _list(request, hub, repo, revision, "", recursive, expand, cursor)


@router.get("/api/{kind:type}/{namespace}/{name}/tree/{revision}/{path:path}")
def list_folder(
    request: Request,
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    path: FilePath,
    recursive: Recursive = False,
    expand: Expand = False,
    cursor: str | None = None,
) -> JSONResponse:
    """List the files and folders of a folder."""
    return _list(request, hub, repo, revision, path.strip("/"), recursive, expand, cursor)


@dataclass(frozen=True)
class _Wanted:
    paths: list[str]
    expand: bool


async def _wanted(request: Request) -> _Wanted:
    """Read the paths from a form, as clients send them, or from JSON."""
    if "json" in request.headers.get("content-type", ""):
        try:
            value = json.loads(await request.body())
            paths, expand = value["paths"], value.get("expand", False)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadInput("The body should be JSON with a list of 'paths'.") from None
        paths = [paths] if isinstance(paths, str) else paths
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise BadInput("'paths' should be a list of texts.")
    else:
        form = await request.form(max_fields=MAX_PATHS + 10, max_files=0)
        paths = [value for value in form.getlist("paths") if isinstance(value, str)]
        expand = str(form.get("expand", "")).lower() in ("1", "true")
    if len(paths) > MAX_PATHS:
        raise TooLarge(f"Ask for at most {MAX_PATHS} paths at once, not {len(paths)}.")
    return _Wanted(paths, bool(expand))


@router.post("/api/{kind:type}/{namespace}/{name}/paths-info/{revision}")
def paths_info(
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    wanted: Annotated[_Wanted, Depends(_wanted)],
) -> list[dict[str, Any]]:
    """Describe those of the paths that exist."""
    oid = hub.git.resolve(repo, revision)
    entries = hub.git.entries(repo, oid, [path.strip("/") for path in wanted.paths])
    return _rows(hub, repo, oid, entries, expand=wanted.expand)


def _list(
    request: Request,
    hub: Hub,
    repo: Repository,
    revision: str,
    path: str,
    recursive: bool,
    expand: bool,
    cursor: str | None,
) -> JSONResponse:
    oid = hub.git.resolve(repo, revision)
    entries = hub.git.tree(repo, oid, path, recursive)
    start = position(cursor)
    stop = start + (EXPANDED_PAGE if expand else PAGE)
    rows = _rows(hub, repo, oid, entries[start:stop], expand=expand)
    return page(request, hub.settings, rows, stop if stop < len(entries) else None)


def _rows(
    hub: Hub, repo: Repository, oid: str, entries: list[TreeEntry], *, expand: bool
) -> list[dict[str, Any]]:
    paths = [entry.path for entry in entries]
    last = hub.git.last_commits(repo, oid, paths) if expand else {}
    return [tree_entry(entry, last.get(entry.path)) for entry in entries]
