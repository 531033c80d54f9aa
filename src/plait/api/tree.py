# SPDX-License-Identifier: Apache-2.0
"""Files and folders of a revision."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from plait.api.context import HubOf, Readable
from plait.api.routing import FilePath, Revision
from plait.api.security import file_status
from plait.api.wire import page, position, tree_entry
from plait.errors import BadInput, TooLarge
from plait.hub import Hub, TreeEntry
from plait.hub.database import Repository
from plait.hub.xet.service import WORTH_XET

router = APIRouter(tags=["files"])

PAGE = 1000
EXPANDED_PAGE = 100
MAX_PATHS = 10_000
_REF = re.compile(r"(?:(?:pr|preview)/[0-9]{1,9}|preview/queue|convert/[^/]+)(?:/|\Z)")

Recursive = Annotated[bool, Query(description="Also everything in folders below.")]
Limit = Annotated[int | None, Query(ge=1, description="Entries on a page.")]
Expand = Annotated[bool, Query(description="With the commit that last changed each.")]


@router.get("/api/{kind:type}/{namespace}/{name}/tree/{revision}")
def list_root(
    request: Request,
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    recursive: Recursive = False,
    expand: Expand = False,
    limit: Limit = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List a revision's files and folders."""
    return _list(request, hub, repo, revision, "", recursive, expand, limit, cursor)


@router.get("/api/{kind:type}/{namespace}/{name}/tree/{revision}/{path:path}")
def list_folder(
    request: Request,
    hub: HubOf,
    repo: Readable,
    revision: Revision,
    path: FilePath,
    recursive: Recursive = False,
    expand: Expand = False,
    limit: Limit = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List the files and folders of a folder."""
    return _list(request, hub, repo, revision, path.strip("/"), recursive, expand, limit, cursor)


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
    return _rows(hub, repo, oid, entries, expand=wanted.expand, plain=True)


def _list(
    request: Request,
    hub: Hub,
    repo: Repository,
    revision: str,
    path: str,
    recursive: bool,
    expand: bool,
    limit: int | None,
    cursor: str | None,
) -> JSONResponse:
    revision, path = split_ref(revision, path)
    oid = hub.git.resolve(repo, revision)
    start = position(cursor)
    stop = start + min(limit or PAGE, EXPANDED_PAGE if expand else PAGE)
    entries = hub.git.tree(repo, oid, path, recursive, start, stop + 1)
    rows = _rows(hub, repo, oid, entries[: stop - start], expand=expand)
    return page(request, hub.settings, rows, stop if len(entries) > stop - start else None)


def split_ref(revision: str, path: str) -> tuple[str, str]:
    """Put together again what a client wrote as ``refs/pr/1`` without encoding the slashes."""
    match = _REF.match(path) if revision == "refs" else None
    if match is None:
        return revision, path
    return f"refs/{match[0].rstrip('/')}", path[match.end() :]


def _rows(
    hub: Hub,
    repo: Repository,
    oid: str,
    entries: list[TreeEntry],
    *,
    expand: bool,
    plain: bool = False,
) -> list[dict[str, Any]]:
    """Describe entries; with ``plain`` every large file has a Xet hash.

    Clients copy to another repository only what has one (see `plait.hub.xet.plain`).
    """
    paths = [entry.path for entry in entries]
    last = hub.git.last_commits(repo, oid, paths) if expand else {}
    least = 0 if plain else WORTH_XET
    large = [entry.lfs.sha256 for entry in entries if entry.lfs and entry.lfs.size >= least]
    hashes = hub.xet.hashes(repo, large)
    scans = hub.scans.verdicts(entries) if expand else {}
    return [
        tree_entry(
            entry,
            last.get(entry.path),
            xet_hash=_xet_hash(entry, hashes, plain=plain),
            security=file_status(scans[entry.path]) if entry.path in scans else None,
        )
        for entry in entries
    ]


def _xet_hash(entry: TreeEntry, hashes: dict[str, str], *, plain: bool) -> str | None:
    if entry.lfs is None:
        return None
    return hashes.get(entry.lfs.sha256) or (entry.lfs.sha256 if plain else None)
