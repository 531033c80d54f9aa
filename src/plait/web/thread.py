# SPDX-License-Identifier: Apache-2.0
"""A discussion as its page shows it: what happened, and what the visitor may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from plait.hub import Discussion, DiscussionEvent, can
from plait.hub.database import Label
from plait.hub.permissions import resource_of
from plait.hub.repositories.labels import COLOURS
from plait.web import markdown
from plait.web.here import Here
from plait.web.report import VERDICTS


@dataclass(frozen=True)
class May:
    """What the visitor may do here."""

    discuss: bool
    close: bool
    merge: bool
    label: bool = False
    wish: str = "default"
    colours: tuple[str, ...] = COLOURS


@dataclass(frozen=True)
class ShownEvent:
    """One thing that happened."""

    id: str
    kind: str
    author: str | None
    created_at: datetime
    html: Markup | None = None
    edited: bool = False
    hidden: bool = False
    verdict: str = ""
    icon: str = ""
    text: str = ""
    code: str = ""
    href: str = ""
    raw: str | None = None
    """What was written, where the visitor may change it."""
    may_hide: bool = False


@dataclass(frozen=True)
class ThreadView:
    """A discussion or pull request and its events."""

    number: int
    title: str
    status: str
    pull_request: bool
    author: str | None
    target: str
    created_at: datetime
    events: Sequence[ShownEvent]
    locked: bool = False
    labels: Sequence[Label] = ()


def permissions(at: Here, discussion: Discussion) -> May:
    """Tell what the visitor may do in a discussion."""
    actor, resource = at.visit.actor, resource_of(at.record, discussion)
    return May(
        discuss=can(actor, "repo.discuss", resource)
        and (not discussion.locked or can(actor, "repo.write", resource)),
        label=can(actor, "repo.write", resource),
        wish=at.visit.hub.notifications.wish(actor, at.record, discussion),
        close=can(actor, "discussion.edit", resource),
        merge=discussion.is_pull_request and can(actor, "repo.merge", resource),
    )


def thread_view(at: Here, discussion: Discussion) -> ThreadView:
    """Reduce a discussion to what is shown of it."""
    events = [_event(at, event) for event in at.visit.hub.discussions.events(discussion)]
    return ThreadView(
        number=discussion.number,
        title=discussion.title,
        status=discussion.status,
        pull_request=discussion.is_pull_request,
        author=discussion.author.name if discussion.author else None,
        target=discussion.base_ref.removeprefix("refs/heads/"),
        created_at=discussion.created_at,
        events=[event for event in events if event is not None],
        locked=discussion.locked,
        labels=at.visit.hub.labels.of([discussion])[discussion.id],
    )


def _event(at: Here, event: DiscussionEvent) -> ShownEvent | None:
    t, data = at.visit.t, event.data
    author = event.author.name if event.author else None
    if event.type == "comment":
        raw = str(data.get("raw", ""))
        if not raw.strip() and not data.get("hidden"):
            return None
        html = markdown.render(raw, markdown.repository_links(at.view.url, "main"), top=3)
        attached = data.get("plait")
        # Only what the hub itself attached counts; nobody can post a verdict.
        own = attached if event.author_id is None and isinstance(attached, dict) else {}
        verdict = own.get("verdict")
        actor = at.visit.actor
        discusses = can(actor, "repo.discuss", at.record)
        mine = discusses and actor.signed_in and event.author_id == actor.user_id
        writes = at.view.may_write
        return ShownEvent(
            event.id,
            "comment",
            author,
            event.created_at,
            html=Markup(html),  # noqa: S704 - sanitised
            edited=bool(data.get("edited")),
            hidden=bool(data.get("hidden")),
            raw=raw if mine and not data.get("hidden") else None,
            may_hide=(mine or (writes and not own)) and not data.get("hidden"),
            verdict=VERDICTS.get(str(verdict), "") if verdict else "",
        )
    icon, text, code, href = "discussion", "", "", ""
    if event.type == "status-change":
        status = str(data.get("status", ""))
        icon = status if status in ("closed", "merged", "draft") else "open"
        text = t(f"event.{'opened' if icon == 'open' else icon}")
        oid = str(data.get("oid") or "")
        if oid:
            code, href = oid[:10], f"{at.view.url}/commit/{oid}"
    elif event.type == "commit":
        oid = str(data.get("oid", ""))
        icon, text = "file", t("event.commit", subject=data.get("subject", ""))
        code, href = oid[:10], f"{at.view.url}/commit/{oid}"
    elif event.type == "title-change":
        text, code = t("event.title"), str(data.get("to", ""))
    elif event.type in ("locked", "unlocked"):
        text = t(f"event.{event.type}")
    else:
        text = t("event.other", type=event.type)
    return ShownEvent(
        event.id,
        "happened",
        author,
        event.created_at,
        icon=icon,
        text=text,
        code=code,
        href=href,
    )
