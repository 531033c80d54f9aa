# SPDX-License-Identifier: Apache-2.0
"""Leaderboards of data sets: rows, every item's score, submissions."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from plait.api.collections import Title
from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Namespace, Number
from plait.collaboration import leaderboards
from plait.collaboration.leaderboards import Filters, measuring
from plait.collaboration.leaderboards.tables import moment, table_text
from plait.collaboration.requests import describe_job
from plait.errors import BadInput

router = APIRouter(tags=["leaderboards"])

BASE = "/api/plait/{kind:type}/{namespace}/{name}/leaderboard"
_Size = Annotated[int | None, Query(ge=0, le=2**62)]


class _Submission(BaseModel):
    model: str | None = Field(None, max_length=200)
    revision: str = Field("main", max_length=200)
    pull: int | None = Field(None, ge=1, le=2**31 - 1)


class _Comparison(BaseModel):
    models: list[str] = Field(max_length=20)
    dataset: str = Field(max_length=300)
    split: str = Field("test", max_length=96)
    task: str = Field("", max_length=96)


@router.get(BASE, response_model=None)
def show(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    task: str | None = None,
    license: str = "",
    data: str = "",
    smallest: _Size = None,
    largest: _Size = None,
    since: str = "",
    sort: str = "rank",
    descending: bool = False,
    format: str = "json",
) -> Response | dict[str, Any]:
    """Show a data set's leaderboard, as JSON or (``format=csv``) as a table."""
    filters = Filters(license, data, smallest, largest, moment(since))
    names = [spec.name for spec in leaderboards.declared(hub, repo)] if task is None else [task]
    found = [
        leaderboards.board(hub, actor, repo, name, filters, sort=sort, descending=descending)
        for name in names
    ]
    if format == "csv":
        return _download(table_text(found), "text/csv; charset=utf-8", "leaderboard.csv")
    return {"tasks": [one.to_json() for one in found]}


@router.get("/api/plait/compare")
def compare(
    hub: HubOf,
    actor: Caller,
    model: Annotated[
        list[str], Query(description="namespace/name, perhaps with @REVISION; two or more.")
    ],
) -> dict[str, Any]:
    """Put models side by side on every leaderboard that measured them on the same items."""
    models = leaderboards.parse_models(model[:20])
    found = leaderboards.compare(hub, actor, models)
    if not found:
        raise leaderboards.nothing(models)
    return {"tasks": [leaderboards.compared_to_json(one) for one in found]}


@router.post("/api/plait/compare")
def measure(hub: HubOf, user: User, body: _Comparison) -> dict[str, Any]:
    """Queue the job that measures models or revisions on the same items of a data set."""
    job = measuring.request(hub, user, body.models, body.dataset, body.split, body.task)
    return {"job": describe_job(job)}


@router.get("/api/plait/compare/{number}")
def measured(hub: HubOf, actor: Caller, number: Number) -> dict[str, Any]:
    """Show what the job of a comparison found, and every item on which the models differ."""
    job = measuring.find(hub, actor, number)
    found = measuring.measured(hub, actor, job)
    return {
        "job": describe_job(job),
        "tasks": [leaderboards.compared_to_json(one) for one in found],
    }


@router.get("/api/plait/collections/{namespace}/{title}/leaderboard")
def of_collection(
    hub: HubOf,
    actor: Caller,
    namespace: Namespace,
    title: Title,
    license: str = "",
    data: str = "",
    smallest: _Size = None,
    largest: _Size = None,
    since: str = "",
) -> dict[str, Any]:
    """Show models over the tasks of all data sets of a collection."""
    filters = Filters(license, data, smallest, largest, moment(since))
    name = f"{namespace}/{title}"
    return leaderboards.collection_board(hub, actor, name, filters).to_json()


@router.post(BASE)
def submit(hub: HubOf, user: User, repo: Readable, body: _Submission) -> dict[str, Any]:
    """Have a model scored: one by its name, or those that a pull request names."""
    if body.pull is not None:
        discussion = hub.discussions.get(repo, body.pull)
        return {"job": describe_job(leaderboards.submit_pull(hub, user, repo, discussion))}
    if body.model is None:
        raise BadInput("Name a model ('model') or a pull request ('pull').")
    job = leaderboards.submit(hub, user, repo, body.model, body.revision)
    return {"job": describe_job(job)}


@router.delete(BASE + "/{number}")
def remove(hub: HubOf, user: User, repo: Readable, number: Number) -> dict[str, Any]:
    """Take a row away: for who may write to the data set or to the model."""
    leaderboards.remove(hub, user, repo, number)
    return {"removed": number}


@router.get(BASE + "/{number}/items")
def items(hub: HubOf, actor: Caller, repo: Readable, number: Number) -> Response:
    """Send every item's outcome as JSON Lines, to those who may read the data set's files."""
    _, row = leaderboards.entry_of(hub, actor, repo, number)
    rows = leaderboards.items_of(hub, actor, repo, row)
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
    name = f"{row.model.name}-{row.entry.task}-{number}.jsonl"
    return _download(text, "application/x-ndjson", name)


def _download(text: str, kind: str, name: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(text, media_type=kind, headers=headers)
