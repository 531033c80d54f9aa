# SPDX-License-Identifier: Apache-2.0
"""Lists of discussions and pull requests; starting, commenting, closing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response

from plait.collaboration import events as merge_events
from plait.hub import Discussion, can
from plait.hub.database import Label
from plait.web.here import At, Here
from plait.web.pulls import pull_page
from plait.web.report import VERDICTS
from plait.web.session import Form
from plait.web.thread import permissions, thread_view

PAGE = 25


@dataclass(frozen=True)
class ListedThread:
    """A line of the list."""

    number: int
    title: str
    status: str
    pull_request: bool
    author: str | None
    created_at: datetime
    verdict: str
    labels: Sequence[Label] = ()


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/discussions", listing)
    router.add_api_route(prefix + "/discussions/new", new)
    router.add_api_route(prefix + "/discussions/new", create, methods=["POST"])
    router.add_api_route(prefix + "/discussions/{number}", show)
    router.add_api_route(prefix + "/discussions/{number}/comment", comment, methods=["POST"])
    router.add_api_route(prefix + "/discussions/{number}/status", set_status, methods=["POST"])
    router.add_api_route(prefix + "/discussions/{number}/title", rename, methods=["POST"])
    comments = prefix + "/discussions/{number}/comments/{event}"
    router.add_api_route(comments + "/edit", edit_comment, methods=["POST"])
    router.add_api_route(comments + "/hide", hide_comment, methods=["POST"])


def listing(
    at: At, status: str = "open", type: str = "", author: str = "", label: str = "", page: int = 1
) -> Response:
    """List discussions and pull requests."""
    status = status if status in ("open", "closed", "all") else "open"
    pulls = {"pull_request": True, "discussion": False}.get(type)
    hub, page = at.visit.hub, min(max(page, 1), 100_000)
    author = author.strip()[:96]
    by = author or None
    wanted = label.strip()[:40] or None
    found = hub.discussions.list(
        at.record,
        pull_request=pulls,
        status=status,
        author=by,
        label=wanted,
        limit=PAGE,
        skip=(page - 1) * PAGE,
    )
    counts = {
        key: hub.discussions.count(
            at.record, pull_request=pulls, status=key, author=by, label=wanted
        )
        for key in ("open", "closed")
    }
    verdicts = merge_events.latest_verdicts(
        hub, [discussion.id for discussion in found if discussion.is_pull_request]
    )
    labels = hub.labels.of(found)
    counts["all"] = counts["open"] + counts["closed"]
    return at.visit.render(
        "discussions.html",
        repo=at.view,
        status=status,
        type=type if pulls is not None else "",
        author=author,
        label=label.strip()[:40],
        labels=[one.name for one in hub.labels.list(at.record)],
        counts=counts,
        items=[_listed(one, verdicts.get(one.id, ""), labels[one.id]) for one in found],
        may_discuss=can(at.visit.actor, "repo.discuss", at.record),
        page=page,
        pages=-(-counts[status] // PAGE),
        page_link=lambda number: at.visit.link(page=number),
    )


def _listed(discussion: Discussion, verdict: str, labels: Sequence[Label]) -> ListedThread:
    return ListedThread(
        discussion.number,
        discussion.title,
        discussion.status,
        discussion.is_pull_request,
        discussion.author.name if discussion.author else None,
        discussion.created_at,
        VERDICTS.get(verdict, ""),
        labels,
    )


def _find(at: Here, number: int) -> Discussion:
    return at.visit.hub.discussions.get(at.record, min(max(number, 0), 2**31))


def show(at: At, number: int) -> Response:
    """Show a discussion or a pull request."""
    discussion = _find(at, number)
    if discussion.is_pull_request:
        return pull_page(at, discussion)
    return at.visit.render(
        "discussion.html",
        repo=at.view,
        thread=thread_view(at, discussion),
        may=permissions(at, discussion),
    )


def new(at: At) -> Response:
    """Show the form for a new discussion."""
    at.visit.signed_in()
    at.visit.hub.repositories.require(at.visit.actor, at.record, "repo.discuss")
    return at.visit.render("new_discussion.html", repo=at.view)


def create(at: At, form: Form) -> Response:
    """Start a discussion."""
    at.visit.signed_in()
    made = at.visit.hub.discussions.create(
        at.visit.actor, at.record, form.get("title", ""), form.get("description", "")
    )
    return at.visit.go(f"{at.view.url}/discussions/{made.number}")


def comment(at: At, number: int, form: Form) -> Response:
    """Add a comment."""
    at.visit.signed_in()
    event = at.visit.hub.discussions.add_comment(
        at.visit.actor, _find(at, number), form.get("comment", "")
    )
    return at.visit.go(f"{at.view.url}/discussions/{number}#event-{event.id}")


def set_status(at: At, number: int, form: Form) -> Response:
    """Open or close."""
    at.visit.signed_in()
    at.visit.hub.discussions.set_status(
        at.visit.actor, _find(at, number), form.get("status", ""), form.get("comment")
    )
    return at.visit.go(f"{at.view.url}/discussions/{number}")


def rename(at: At, number: int, form: Form) -> Response:
    """Change the title."""
    at.visit.signed_in()
    at.visit.hub.discussions.rename(
        at.visit.actor, _find(at, number), form.get("title", "").strip()
    )
    return at.visit.go(f"{at.view.url}/discussions/{number}")


def edit_comment(at: At, number: int, event: str, form: Form) -> Response:
    """Change one's own comment."""
    at.visit.signed_in()
    at.visit.hub.discussions.edit(
        at.visit.actor, _find(at, number), event[:40], form.get("comment", "")
    )
    return at.visit.go(f"{at.view.url}/discussions/{number}#event-{event[:40]}")


def hide_comment(at: At, number: int, event: str, form: Form) -> Response:
    """Hide a comment for good."""
    at.visit.signed_in()
    at.visit.hub.discussions.hide(at.visit.actor, _find(at, number), event[:40])
    return at.visit.go(f"{at.view.url}/discussions/{number}#event-{event[:40]}")
