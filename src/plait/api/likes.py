# SPDX-License-Identifier: Apache-2.0
"""Likes: giving and taking back, who likes a repository, what a user likes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.wire import date, page
from plait.errors import NotFound

router = APIRouter(tags=["likes"])

BASE = "/api/{kind:type}/{namespace}/{name}"


@router.post(f"{BASE}/like")
def like(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """Like a repository."""
    return {"liked": True, "likes": hub.likes.add(user, repo)}


@router.delete(f"{BASE}/like")
def unlike(hub: HubOf, user: User, repo: Readable) -> dict[str, Any]:
    """Like a repository no more."""
    return {"liked": False, "likes": hub.likes.remove(user, repo)}


@router.get(f"{BASE}/likers")
def list_likers(
    request: Request, hub: HubOf, actor: Caller, repo: Readable, cursor: str | None = None
) -> JSONResponse:
    """List who likes a repository."""
    found = hub.likes.likers(actor, repo, cursor=cursor)
    rows = [
        {
            "_id": f"{user.id:024x}",
            "user": user.name,
            "fullname": user.fullname or user.name,
            "avatarUrl": f"{hub.settings.url}/avatars/{user.name}.svg",
            "type": "user",
            "isPro": False,
        }
        for user in found.items
    ]
    return page(request, hub.settings, rows, found.cursor)


@router.get("/api/users/{user_name}/likes")
def list_likes(
    request: Request, hub: HubOf, actor: Caller, user_name: str, cursor: str | None = None
) -> JSONResponse:
    """List what a user likes, as far as the caller may see it."""
    user = hub.accounts.find(user_name)
    if user is None or user.kind != "user":
        raise NotFound(f"There is no user {user_name[:100]!a}.")
    found = hub.likes.liked_by(actor, user, cursor=cursor)
    rows = [
        {"createdAt": date(since), "repo": {"name": repo.full_name, "type": repo.type}}
        for repo, since in found.items
    ]
    return page(request, hub.settings, rows, found.cursor)
