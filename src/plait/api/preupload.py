# SPDX-License-Identifier: Apache-2.0
"""Before an upload: which files go into git, which beside it, and which not at all."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from plait import cards
from plait.api.context import HubOf, Readable, User
from plait.api.gitpatterns import is_ignored, is_large
from plait.api.routing import Revision
from plait.errors import BadInput, EntryNotFound, PlaitError
from plait.hub import Hub, TreeEntry
from plait.hub.database import Repository

router = APIRouter(tags=["uploads"])

MAX_FILES = 1000
_MAX_RULES = 256 * 1024


class _File(BaseModel):
    path: str
    sample: str = ""
    size: Annotated[int, Field(ge=0)] = 0


class _Preupload(BaseModel):
    files: Annotated[list[_File], Field(max_length=MAX_FILES)]
    gitIgnore: Annotated[str, Field(max_length=_MAX_RULES)] | None = None  # noqa: N815


class _Card(BaseModel):
    content: str
    repoType: str | None = None  # noqa: N815


@router.post("/api/{kind:type}/{namespace}/{name}/preupload/{revision}")
def preupload(
    hub: HubOf,
    user: User,
    repo: Readable,
    revision: Revision,
    body: _Preupload,
    create_pr: bool = False,
) -> dict[str, Any]:
    """Say for each file how to upload it, and what is there now."""
    hub.commits.may_commit(user, repo, revision, create_pr)
    oid = hub.git.resolve(repo, revision)
    there = {
        entry.path: entry for entry in hub.git.entries(repo, oid, [f.path for f in body.files])
    }
    attributes = _rules(hub, repo, oid, ".gitattributes")
    ignore = body.gitIgnore
    if ignore is None:
        ignore = _rules(hub, repo, oid, ".gitignore")
    limit = hub.settings.max_regular_file
    return {
        "files": [
            {
                "path": file.path,
                "uploadMode": "lfs" if _is_large(file, attributes, limit) else "regular",
                "shouldIgnore": is_ignored(file.path, ignore),
                "oid": _oid(there.get(file.path)),
            }
            for file in body.files
        ]
    }


@router.post("/api/validate-yaml")
def validate_card(body: _Card) -> JSONResponse:
    """Check the YAML at the head of a card before it is committed."""
    kind = body.repoType if body.repoType in ("dataset", "space") else "model"
    report = cards.validate_card(body.content, kind)
    found: dict[str, Any] = {
        "errors": [{"message": message} for message in report.errors],
        "warnings": [{"message": message} for message in report.warnings],
    }
    if report.errors:
        return JSONResponse({**found, "error": report.errors[0]}, 400)
    return JSONResponse(found)


def _is_large(file: _File, attributes: str, limit: int) -> bool:
    if file.size > limit or is_large(file.path, attributes):
        return True
    return file.size > 0 and _is_binary(file.sample)


def _is_binary(sample: str) -> bool:
    try:
        start = base64.b64decode(sample, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("A file's sample should be base64.") from None
    if b"\0" in start:
        return True
    try:
        start.decode()
    except UnicodeDecodeError as error:
        # The sample may end inside a character.
        return error.end < len(start) or error.reason != "unexpected end of data"
    return False


def _oid(entry: TreeEntry | None) -> str | None:
    return entry.etag if entry is not None and entry.type == "file" else None


def _rules(hub: Hub, repo: Repository, oid: str, path: str) -> str:
    try:
        entry = hub.git.entry(repo, oid, path)
        if entry.type != "file" or entry.lfs or entry.size > _MAX_RULES:
            return ""
        return hub.git.read(repo, oid, path).decode("utf-8", "replace")
    except (EntryNotFound, PlaitError):
        return ""
