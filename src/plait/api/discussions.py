# SPDX-License-Identifier: Apache-2.0
"""Discussions and pull requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from plait.api.comments import render_comment
from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Number
from plait.api.wire import date
from plait.collaboration.requests import request_merge
from plait.errors import Forbidden
from plait.hub import Actor, Hub
from plait.hub.database import Discussion, DiscussionEvent, Repository
from plait.hub.repositories.discussions import HUB_NAME, pull_ref

router = APIRouter(tags=["discussions"])

PAGE = 50
BASE = "/api/{kind:type}/{namespace}/{name}/discussions"


class _New(BaseModel):
    title: str
    description: str | None = None
    pullRequest: bool = False  # noqa: N815


class _Comment(BaseModel):
    comment: str


class _Title(BaseModel):
    title: str


class _Status(BaseModel):
    status: Literal["open", "closed", "draft"]
    comment: str | None = None


class _Merge(BaseModel):
    comment: str | None = None


class _Edit(BaseModel):
    content: str


def _discussion(hub: HubOf, repo: Readable, number: Number) -> Discussion:
    return hub.discussions.get(repo, number)


Found = Annotated[Discussion, Depends(_discussion)]


@router.get(BASE)
def list_discussions(
    hub: HubOf,
    repo: Readable,
    p: Annotated[int, Query(ge=0, le=10**6)] = 0,
    type: Literal["all", "discussion", "pull_request"] = "all",
    status: Literal["all", "open", "closed"] = "all",
    author: str | None = None,
) -> dict[str, Any]:
    """List discussions and pull requests, newest first."""
    chosen = None if type == "all" else type == "pull_request"
    found = hub.discussions.list(
        repo, pull_request=chosen, status=status, author=author, limit=PAGE, skip=p * PAGE
    )
    return {
        "discussions": [_summary(repo, discussion) for discussion in found],
        "count": hub.discussions.count(repo, status=status, pull_request=chosen, author=author),
        "start": p * PAGE,
        "numClosedDiscussions": hub.discussions.count(
            repo, status="closed", pull_request=chosen, author=author
        ),
    }


@router.post(BASE)
def create_discussion(hub: HubOf, user: User, repo: Readable, body: _New) -> dict[str, Any]:
    """Start a discussion, or a pull request without commits yet."""
    discussion = hub.discussions.create(
        user, repo, body.title, body.description or "", body.pullRequest
    )
    return _summary(repo, discussion)


@router.get(BASE + "/{number}")
def describe_discussion(
    hub: HubOf, actor: Caller, repo: Readable, discussion: Found, diff: bool = False
) -> dict[str, Any]:
    """Show a discussion with its events; with ``diff`` also what the pull request changes."""
    found = _summary(repo, discussion)
    found["events"] = [event_json(event) for event in hub.discussions.events(discussion)]
    if discussion.is_pull_request:
        # Clients always ask for the difference: whoever may not have the files gets the rest.
        found |= _changes(hub, repo, discussion, diff and _may_read_files(hub, actor, repo))
    return found


@router.post(BASE + "/{number}/comment")
def comment(hub: HubOf, user: User, discussion: Found, body: _Comment) -> dict[str, Any]:
    """Add a comment."""
    return {"newMessage": event_json(hub.discussions.add_comment(user, discussion, body.comment))}


@router.post(BASE + "/{number}/title")
def rename(hub: HubOf, user: User, discussion: Found, body: _Title) -> dict[str, Any]:
    """Change the title."""
    return {"newTitle": event_json(hub.discussions.rename(user, discussion, body.title))}


@router.post(BASE + "/{number}/status")
def change_status(hub: HubOf, user: User, discussion: Found, body: _Status) -> dict[str, Any]:
    """Open or close."""
    event = hub.discussions.set_status(user, discussion, body.status, body.comment)
    return {"newStatus": event_json(event)}


@router.post(BASE + "/{number}/merge")
def merge(
    hub: HubOf, user: User, repo: Readable, discussion: Found, body: _Merge | None = None
) -> dict[str, Any]:
    """Merge a pull request: at once if no weights changed, otherwise by a job that judges first."""
    hub.repositories.require(user, repo, "repo.merge", discussion)
    if discussion.is_pull_request and discussion.status == "draft":
        # The stock client leaves what it proposes a draft: whoever may merge it and asks for
        # that says that it is ready.
        hub.discussions.set_status(user, discussion, "open")
    outcome = request_merge(hub, user, repo, discussion, (body and body.comment) or "")
    return {
        "job": outcome.job.id if outcome.job is not None else None,
        "commitOid": outcome.landed,
    }


@router.post(BASE + "/{number}/comment/{event_id}/edit")
def edit(hub: HubOf, user: User, discussion: Found, event_id: str, body: _Edit) -> dict[str, Any]:
    """Change one's own comment."""
    event = hub.discussions.edit(user, discussion, event_id, body.content)
    return {"updatedComment": event_json(event)}


@router.post(BASE + "/{number}/comment/{event_id}/hide")
def hide(hub: HubOf, user: User, discussion: Found, event_id: str) -> dict[str, Any]:
    """Hide a comment for good."""
    return {"updatedComment": event_json(hub.discussions.hide(user, discussion, event_id))}


def _summary(repo: Repository, discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.number,
        "title": discussion.title,
        "author": {"name": discussion.author.name if discussion.author else HUB_NAME},
        "createdAt": date(discussion.created_at),
        "status": discussion.status,
        "repo": {"name": repo.full_name, "type": repo.type},
        "isPullRequest": discussion.is_pull_request,
        "repoOwner": {"name": repo.namespace.name},
    }


def event_json(event: DiscussionEvent) -> dict[str, Any]:
    """An event as clients read it; what the hub itself attached stays under ``plait``."""
    author = event.author.name if event.author else HUB_NAME
    data = dict(event.data)
    if event.type == "comment":
        latest = {
            "raw": data.get("raw", ""),
            "html": render_comment(data.get("raw", "")),
            "updatedAt": data.get("updatedAt"),
            "author": {"name": author},
        }
        data = {
            "edited": bool(data.get("edited")),
            "hidden": bool(data.get("hidden")),
            "latest": latest,
            "history": data.get("history", []),
            **({"plait": data["plait"]} if event.author is None and "plait" in data else {}),
        }
    return {
        "id": event.id,
        "type": event.type,
        "author": {"name": author},
        "createdAt": date(event.created_at),
        "data": data,
    }


def _may_read_files(hub: Hub, actor: Actor, repo: Repository) -> bool:
    try:
        hub.repositories.require(actor, repo, "repo.files")
    except Forbidden:
        return False
    return True


def _changes(hub: Hub, repo: Repository, discussion: Discussion, diff: bool) -> dict[str, Any]:
    git = hub.git
    head = git.head(repo, pull_ref(discussion.number))
    base = git.head(repo, discussion.base_ref)
    found: dict[str, Any] = {"changes": {"base": discussion.base_ref}, "filesWithConflicts": []}
    if discussion.merge_commit is not None:
        found["changes"]["mergeCommitId"] = discussion.merge_commit
        parents = git.commit_info(repo, discussion.merge_commit).parents
        base = parents[0] if parents else base
    if head is None or base is None:
        return found
    if discussion.status in ("open", "draft"):
        found["filesWithConflicts"] = git.merge_trees(repo, base, head)[1]
    if diff:
        start = git.merge_base(repo, base, head)
        found["diff"] = git.diff(repo, start, head) if start is not None else ""
    return found
