# SPDX-License-Identifier: Apache-2.0
"""The JSON that the Hub's clients read: dates, addresses, files, commits, refs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import JSONResponse

from plait.errors import BadInput
from plait.hub.database import Repository
from plait.hub.git.store import CommitInfo, Ref, TreeEntry
from plait.settings import Settings

PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def date(moment: datetime) -> str:
    """Write a time as the Hub does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def repository_url(settings: Settings, repo: Repository) -> str:
    """The repository's address, in the only form that clients parse."""
    return f"{settings.url}/{PREFIXES[repo.type]}{repo.full_name}"


def object_id(repo: Repository) -> str:
    """A stable 24-digit id, as the Hub's records have."""
    return f"{repo.id:024x}"


def tree_entry(
    entry: TreeEntry,
    last: CommitInfo | None = None,
    *,
    xet_hash: str | None = None,
    security: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A file or folder of a tree."""
    found: dict[str, Any] = {
        "type": entry.type,
        "oid": entry.oid,
        "size": entry.size if entry.type == "file" else 0,
        "path": entry.path,
    }
    if entry.lfs:
        found["lfs"] = {
            "oid": entry.lfs.sha256,
            "size": entry.lfs.size,
            "pointerSize": entry.lfs.pointer_size,
        }
    if xet_hash:
        found["xetHash"] = xet_hash
    if security:
        found["securityFileStatus"] = security
    if last:
        found["lastCommit"] = {"id": last.oid, "title": last.title, "date": date(last.date)}
    return found


def sibling(entry: TreeEntry, *, blobs: bool) -> dict[str, Any]:
    """A file of a repository's description; with ``blobs`` its size and ids."""
    found: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        found |= {"size": entry.size, "blobId": entry.oid}
        if entry.lfs:
            found["lfs"] = {
                "sha256": entry.lfs.sha256,
                "size": entry.lfs.size,
                "pointerSize": entry.lfs.pointer_size,
            }
    return found


def commit(info: CommitInfo, *, formatted: bool) -> dict[str, Any]:
    """A commit of a repository's history."""
    found: dict[str, Any] = {
        "id": info.oid,
        "title": info.title,
        "message": info.message,
        "authors": [{"user": info.author}],
        "date": date(info.date),
    }
    if formatted:
        found["formatted"] = {"title": escape(info.title), "message": escape(info.message)}
    return found


def reference(ref: Ref) -> dict[str, str]:
    """A branch, tag or pull-request ref."""
    return {"name": ref.name, "ref": ref.ref, "targetCommit": ref.oid}


def escape(text: str) -> str:
    """Text as HTML that shows it as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def page(
    request: Request, settings: Settings, rows: list[Any], cursor: str | int | None
) -> JSONResponse:
    """A page of a list, with the address of the next one if ``cursor`` leads there."""
    headers = {}
    if cursor is not None:
        kept = [item for item in request.query_params.multi_items() if item[0] != "cursor"]
        query = urlencode([*kept, ("cursor", str(cursor))])
        path = quote(request.scope["path"], safe="/%:@!$&'()*+,;=~-._")
        headers["Link"] = f'<{settings.url}{path}?{query}>; rel="next"'
    return JSONResponse(rows, headers=headers)


def position(cursor: str | None) -> int:
    """The position at which a page starts, from the link that led to it.

    Raises:
        BadInput: it is no position.
    """
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 12:
        raise BadInput(f"cursor={cursor[:40]!r} is not a position in this list. Start without it.")
    return int(cursor)
