# SPDX-License-Identifier: Apache-2.0
"""Notifications, subscriptions, labels, locks and feeds."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Namespace, Number
from plait.api.wire import date
from plait.errors import NotFound
from plait.hub.activity import Feed
from plait.hub.database import Label

router = APIRouter(tags=["community"])

REPO = "/api/plait/{kind:type}/{namespace}/{name}"
_Cursor = Annotated[str | None, Query(max_length=30)]


class _Read(BaseModel):
    ids: list[int] | None = Field(None, max_length=1000)


class _Wish(BaseModel):
    wish: str = Field(max_length=20)


class _Label(BaseModel):
    name: str = Field(max_length=200)
    colour: str = "grey"
    description: str = Field("", max_length=400)


class _Names(BaseModel):
    labels: list[str] = Field(max_length=100)


class _Lock(BaseModel):
    locked: bool


@router.get("/api/plait/notifications")
def list_notifications(
    hub: HubOf, user: User, unread: bool = False, cursor: _Cursor = None
) -> dict[str, Any]:
    """List what the caller is told of and may read, newest first."""
    page = hub.notifications.list(user, unread=unread, cursor=cursor)
    return {
        "unread": hub.notifications.unread(user),
        "cursor": page.cursor,
        "notifications": [
            {
                "id": one.id,
                "reason": one.reason,
                "action": one.action,
                "actor": one.actor.name if one.actor else None,
                "repository": {"type": one.repository.type, "name": one.repository.full_name},
                "discussion": {"number": one.discussion.number, "title": one.discussion.title},
                "event": one.event_id or None,
                "at": date(one.at),
                "read": one.read,
            }
            for one in page.items
        ],
    }


@router.post("/api/plait/notifications/read")
def read_notifications(hub: HubOf, user: User, body: _Read | None = None) -> dict[str, Any]:
    """Mark notifications read: those named, or all."""
    return {"read": hub.notifications.mark_read(user, body.ids if body else None)}


@router.post(REPO + "/subscription")
def subscribe(hub: HubOf, user: User, repo: Readable, body: _Wish) -> dict[str, Any]:
    """Watch or mute a repository, or neither."""
    hub.notifications.set_wish(user, repo, body.wish)
    return {"wish": hub.notifications.wish(user, repo)}


@router.post(REPO + "/discussions/{number}/subscription")
def subscribe_discussion(
    hub: HubOf, user: User, repo: Readable, number: Number, body: _Wish
) -> dict[str, Any]:
    """Watch or mute a discussion, or neither."""
    discussion = hub.discussions.get(repo, number)
    hub.notifications.set_wish(user, repo, body.wish, discussion)
    return {"wish": hub.notifications.wish(user, repo, discussion)}


@router.get(REPO + "/labels")
def list_labels(hub: HubOf, repo: Readable) -> dict[str, Any]:
    """List a repository's labels."""
    return {"labels": [_label(one) for one in hub.labels.list(repo)]}


@router.post(REPO + "/labels")
def put_label(hub: HubOf, user: User, repo: Readable, body: _Label) -> dict[str, Any]:
    """Define a label, or change the one of that name."""
    made = hub.labels.put(user, repo, body.name, colour=body.colour, description=body.description)
    return _label(made)


@router.delete(REPO + "/labels")
def remove_label(hub: HubOf, user: User, repo: Readable, label: str = "") -> dict[str, Any]:
    """Remove a label, also from the discussions that have it."""
    hub.labels.remove(user, repo, label)
    return {"removed": label}


@router.post(REPO + "/discussions/{number}/labels")
def assign_labels(
    hub: HubOf, user: User, repo: Readable, number: Number, body: _Names
) -> dict[str, Any]:
    """Let a discussion have exactly these labels."""
    found = hub.labels.assign(user, repo, hub.discussions.get(repo, number), body.labels)
    return {"labels": [_label(one) for one in found]}


@router.post(REPO + "/discussions/{number}/lock")
def lock(hub: HubOf, user: User, repo: Readable, number: Number, body: _Lock) -> dict[str, Any]:
    """Let only those who may write go on with a discussion, or all again."""
    discussion = hub.discussions.get(repo, number)
    hub.discussions.set_locked(user, discussion, body.locked)
    return {"locked": discussion.locked}


@router.post(REPO + "/discussions/{number}/comments/{event}/hide")
def hide_comment(
    hub: HubOf, user: User, repo: Readable, number: Number, event: str
) -> dict[str, Any]:
    """Hide a comment for good: its author, or who may write to the repository."""
    hub.discussions.hide(user, hub.discussions.get(repo, number), event[:40])
    return {"hidden": event[:40]}


@router.post(REPO + "/like")
def like(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """Like a repository."""
    return {"liked": True, "likes": hub.likes.add(user, repo)}


@router.delete(REPO + "/like")
def unlike(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """Like a repository no more."""
    return {"liked": False, "likes": hub.likes.remove(user, repo)}


@router.get(REPO + "/activity")
def repository_activity(
    hub: HubOf, actor: Caller, repo: Readable, cursor: _Cursor = None
) -> dict[str, Any]:
    """Tell what happened in a repository."""
    return _feed(hub.activity.of_repository(actor, repo, cursor=cursor))


@router.post("/api/plait/accounts/{namespace}/follow")
def follow(hub: HubOf, user: User, namespace: Namespace) -> dict[str, Any]:
    """Follow a user or an organisation: what they do stands in the caller's activity."""
    hub.social.follow(user, namespace)
    return {"follows": True}


@router.delete("/api/plait/accounts/{namespace}/follow")
def unfollow(hub: HubOf, user: User, namespace: Namespace) -> dict[str, Any]:
    """Follow an account no more."""
    hub.social.unfollow(user, namespace)
    return {"follows": False}


@router.get("/api/plait/activity")
def followed_activity(hub: HubOf, user: User, cursor: _Cursor = None) -> dict[str, Any]:
    """Tell what those did whom the caller follows."""
    return _feed(hub.activity.followed(user, cursor=cursor))


@router.get("/api/plait/activity/{namespace}")
def account_activity(
    hub: HubOf, actor: Caller, namespace: Namespace, cursor: _Cursor = None
) -> dict[str, Any]:
    """Tell what a user did, or what happened at an organisation, as far as the caller may know."""
    account = hub.accounts.find(namespace)
    if account is None:
        raise NotFound(f"There is no user or organisation {namespace[:100]!a}.")
    return _feed(hub.activity.of_account(actor, account, cursor=cursor))


def _label(label: Label) -> dict[str, Any]:
    return {"name": label.name, "colour": label.colour, "description": label.description}


def _feed(feed: Feed) -> dict[str, Any]:
    return {
        "cursor": feed.cursor,
        "activity": [
            {
                "action": one.action,
                "actor": one.actor.name if one.actor else None,
                "repository": {"type": one.repository.type, "name": one.repository.full_name},
                "number": one.number,
                "details": one.details,
                "at": date(one.at),
            }
            for one in feed.items
        ],
    }
