# SPDX-License-Identifier: Apache-2.0
"""Describing and listing repositories."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from plait.api.context import Caller, HubOf, Readable
from plait.api.routing import Revision, Type
from plait.api.wire import date, object_id, page, sibling
from plait.cards import card_tags, read_head
from plait.errors import BadInput, EntryNotFound
from plait.hub import Hub
from plait.hub.database import Repository
from plait.hub.facts import MAX_CARD
from plait.hub.listing import Sort

router = APIRouter(tags=["repositories"])

PAGE = 100
_MAX_CONFIG = 2**20
_SORTS: dict[str, Sort] = {"createdAt": "created", "created_at": "created"}

Expand = Annotated[list[str] | None, Query(description="Only these properties.")]


@router.get("/api/{kind:type}")
def list_repositories(
    request: Request,
    hub: HubOf,
    actor: Caller,
    kind: Type,
    search: str | None = None,
    author: str | None = None,
    filter: Annotated[list[str] | None, Query()] = None,
    pipeline_tag: str | None = None,
    sort: str | None = None,
    limit: Annotated[int, Query(ge=1)] = PAGE,
    full: bool = False,
    cardData: bool = False,  # noqa: N803
    expand: Expand = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List the repositories that the caller may read, newest first."""
    tags = [*(filter or []), *([pipeline_tag] if pipeline_tag else [])]
    found = hub.repositories.list(
        actor,
        kind,
        namespace=author,
        search=search,
        tags=[tag for value in tags for tag in value.split(",") if tag],
        sort=_SORTS.get(sort or "", "updated"),
        limit=min(limit, 1000),
        cursor=cursor,
    )
    rows = []
    for repo in found.items:
        row = _summary(repo)
        if cardData or full or "cardData" in (expand or []):
            row["cardData"] = repo.card
        if full or "siblings" in (expand or []):
            row["siblings"] = _siblings(hub, repo, repo.head, blobs=False)
        rows.append(_chosen(row, expand))
    return page(request, hub.settings, rows, found.cursor)


@router.get("/api/{kind:type}/{namespace}/{name}")
def describe(
    hub: HubOf, repo: Readable, blobs: bool = False, expand: Expand = None
) -> JSONResponse:
    """Describe a repository at main."""
    return JSONResponse(_description(hub, repo, "main", blobs, expand))


@router.get("/api/{kind:type}/{namespace}/{name}/revision/{revision}")
def describe_revision(
    hub: HubOf, repo: Readable, revision: Revision, blobs: bool = False, expand: Expand = None
) -> JSONResponse:
    """Describe a repository at a revision."""
    return JSONResponse(_description(hub, repo, revision, blobs, expand))


def _description(
    hub: Hub, repo: Repository, revision: str, blobs: bool, expand: list[str] | None
) -> dict[str, Any]:
    oid = hub.git.resolve(repo, revision)
    card = repo.card if oid == repo.head else _card(hub, repo, oid)
    row = _summary(repo, oid, card)
    if oid != repo.head:
        row["lastModified"] = date(hub.git.commit_info(repo, oid).date)
    row |= {"cardData": card, "siblings": _siblings(hub, repo, oid, blobs=blobs)}
    if repo.type == "model":
        row["spaces"] = []
        if config := _config(hub, repo, oid):
            row["config"] = config
        if isinstance(index := card.get("model-index"), list):
            row["model-index"] = index
    return _chosen(row, expand)


def _summary(
    repo: Repository, oid: str | None = None, card: dict[str, Any] | None = None
) -> dict[str, Any]:
    card = repo.card if card is None else card
    row: dict[str, Any] = {
        "_id": object_id(repo),
        "id": repo.full_name,
        "author": repo.namespace.name,
        "sha": oid or repo.head,
        "lastModified": date(repo.updated_at),
        "createdAt": date(repo.created_at),
        "private": repo.private,
        "gated": repo.gated or False,
        "disabled": repo.disabled,
        "tags": card_tags(card),
    }
    if repo.type == "model":
        row["modelId"] = repo.full_name
    for key in ("pipeline_tag", "library_name", "sdk"):
        if isinstance(card.get(key), str):
            row[key] = card[key]
    return row


def _siblings(hub: Hub, repo: Repository, oid: str | None, *, blobs: bool) -> list[dict[str, Any]]:
    if oid is None:
        return []
    entries = hub.git.tree(repo, oid, recursive=True)
    return [sibling(entry, blobs=blobs) for entry in entries if entry.type == "file"]


def _card(hub: Hub, repo: Repository, oid: str) -> dict[str, Any]:
    text = _small_file(hub, repo, oid, "README.md", MAX_CARD)
    try:
        return read_head(text.decode("utf-8", "replace")) if text else {}
    except BadInput:
        return {}


def _config(hub: Hub, repo: Repository, oid: str) -> dict[str, Any]:
    """What ``config.json`` says of the architecture, which is what clients ask the hub for."""
    text = _small_file(hub, repo, oid, "config.json", _MAX_CONFIG)
    try:
        config = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    return {key: config[key] for key in ("architectures", "model_type") if key in config}


def _small_file(hub: Hub, repo: Repository, oid: str, path: str, limit: int) -> bytes | None:
    try:
        entry = hub.git.entry(repo, oid, path)
        if entry.type != "file" or entry.lfs or entry.size > limit:
            return None
        return hub.git.read(repo, oid, path)
    except EntryNotFound:
        return None


def _chosen(row: dict[str, Any], expand: list[str] | None) -> dict[str, Any]:
    if not expand:
        return row
    return {key: value for key, value in row.items() if key in ("_id", "id", *expand)}
