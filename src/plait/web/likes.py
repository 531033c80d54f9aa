# SPDX-License-Identifier: Apache-2.0
"""Liking a repository, and who does."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.web.here import At
from plait.web.session import Form

PAGE = 100


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/like", like, methods=["POST"])
    router.add_api_route(prefix + "/likers", likers)


def like(at: At, form: Form) -> Response:
    """Like, or like no more."""
    at.visit.signed_in()
    likes = at.visit.hub.likes
    (likes.add if form.get("like") == "yes" else likes.remove)(at.visit.actor, at.record)
    return at.visit.go(at.view.url)


def likers(at: At, cursor: str = "") -> Response:
    """List those who like it."""
    found = at.visit.hub.likes.likers(
        at.visit.actor, at.record, limit=PAGE, cursor=cursor[:40] or None
    )
    return at.visit.render(
        "likers.html",
        repo=at.view,
        people=found.items,
        first=at.visit.link(cursor=None) if cursor else None,
        more=at.visit.link(cursor=found.cursor) if found.cursor else None,
    )
