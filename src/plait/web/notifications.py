# SPDX-License-Identifier: Apache-2.0
"""Notifications, feeds of what happened, and labels, locks and wishes of discussions."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.errors import NotFound
from plait.hub.activity import Feed
from plait.web.here import At
from plait.web.session import Form
from plait.web.visit import Visit, Visitor, repository_url


def add(router: APIRouter) -> None:
    """Add the routes that concern the visitor."""
    router.add_api_route("/notifications", show)
    router.add_api_route("/notifications/read", read, methods=["POST"])
    router.add_api_route("/activity", followed)
    router.add_api_route("/activity/{ns}", of_account)


def add_repository(router: APIRouter, prefix: str) -> None:
    """Add the routes of a repository."""
    router.add_api_route(prefix + "/activity", of_repository)
    router.add_api_route(prefix + "/labels", put_label, methods=["POST"])
    thread = prefix + "/discussions/{number}"
    router.add_api_route(thread + "/labels", assign, methods=["POST"])
    router.add_api_route(thread + "/lock", lock, methods=["POST"])
    router.add_api_route(thread + "/subscription", subscribe, methods=["POST"])


def show(visit: Visitor, cursor: str = "", unread: str = "") -> Response:
    """List notifications."""
    visit.signed_in()
    page = visit.hub.notifications.list(
        visit.actor, unread=unread == "yes", cursor=cursor[:30] or None
    )
    return visit.render(
        "notifications.html",
        items=[
            (one, f"{repository_url(one.repository.type, one.repository.full_name)}/discussions/"
             f"{one.discussion.number}" + (f"#event-{one.event_id}" if one.event_id else ""))
            for one in page.items
        ],
        unread=unread == "yes",
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=page.cursor) if page.cursor else None,
    )  # fmt: skip


def read(visit: Visitor, form: Form) -> Response:
    """Mark one notification read, or all."""
    visit.signed_in()
    chosen = form.get("id", "")
    ids = [int(chosen)] if chosen.isascii() and chosen.isdigit() and len(chosen) < 19 else None
    if chosen and ids is None:
        raise NotFound("There is no such notification.")
    visit.hub.notifications.mark_read(visit.actor, ids)
    return visit.go("/notifications")


def followed(visit: Visitor, cursor: str = "") -> Response:
    """Tell what those did whom the visitor follows."""
    visit.signed_in()
    return _feed(
        visit, visit.hub.activity.followed(visit.actor, cursor=cursor[:30] or None), cursor
    )


def of_account(visit: Visitor, ns: str, cursor: str = "") -> Response:
    """Tell what a user did, or what happened at an organisation."""
    account = visit.hub.accounts.find(ns)
    if account is None:
        raise NotFound(f"There is no user or organisation {ns[:100]!a}.")
    feed = visit.hub.activity.of_account(visit.actor, account, cursor=cursor[:30] or None)
    return _feed(visit, feed, cursor, account.name)


def of_repository(at: At, cursor: str = "") -> Response:
    """Tell what happened in a repository."""
    feed = at.visit.hub.activity.of_repository(
        at.visit.actor, at.record, cursor=cursor[:30] or None
    )
    return _feed(at.visit, feed, cursor, at.record.full_name)


def _feed(visit: Visit, feed: Feed, cursor: str, name: str = "") -> Response:
    return visit.render(
        "activity.html",
        name=name,
        items=[
            (one, repository_url(one.repository.type, one.repository.full_name))
            for one in feed.items
        ],
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=feed.cursor) if feed.cursor else None,
    )


def put_label(at: At, form: Form) -> Response:
    """Define a label, or remove it."""
    at.visit.signed_in()
    labels, actor = at.visit.hub.labels, at.visit.actor
    if form.get("remove"):
        labels.remove(actor, at.record, form["remove"])
    else:
        labels.put(actor, at.record, form.get("label", ""), colour=form.get("colour", "grey"))
    return at.visit.go(f"{at.view.url}/discussions")


def assign(at: At, number: int, form: Form) -> Response:
    """Let a discussion have exactly the labels written, with commas between."""
    at.visit.signed_in()
    hub = at.visit.hub
    discussion = hub.discussions.get(at.record, min(max(number, 0), 2**31 - 1))
    names = [name.strip() for name in form.get("labels", "").split(",") if name.strip()]
    hub.labels.assign(at.visit.actor, at.record, discussion, names[:100])
    return at.visit.go(f"{at.view.url}/discussions/{number}")


def lock(at: At, number: int, form: Form) -> Response:
    """Lock a discussion, or open it again."""
    at.visit.signed_in()
    hub = at.visit.hub
    discussion = hub.discussions.get(at.record, min(max(number, 0), 2**31 - 1))
    hub.discussions.set_locked(at.visit.actor, discussion, form.get("lock") == "yes")
    return at.visit.go(f"{at.view.url}/discussions/{number}")


def subscribe(at: At, number: int, form: Form) -> Response:
    """Watch or mute a discussion, or neither."""
    at.visit.signed_in()
    hub = at.visit.hub
    discussion = hub.discussions.get(at.record, min(max(number, 0), 2**31 - 1))
    hub.notifications.set_wish(at.visit.actor, at.record, form.get("wish", ""), discussion)
    return at.visit.go(f"{at.view.url}/discussions/{number}")
