# SPDX-License-Identifier: Apache-2.0
"""What the hub itself says in a discussion: text for any client, and values for the pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select

from plait.hub import Hub
from plait.hub.database import Discussion, DiscussionEvent, now
from plait.hub.permissions import SYSTEM


def say(
    hub: Hub, discussion: Discussion, text: str, values: dict[str, Any] | None = None
) -> DiscussionEvent:
    """Post a comment of the hub; ``values`` go beside the text as ``data.plait``."""
    return hub.discussions.add_comment(SYSTEM, discussion, text, data=values)


_PROGRESS = "\n\nProgress: "


def show_progress(hub: Hub, discussion_id: int, job_id: int, line: str) -> None:
    """Put how far a merge is into the comment that announced it; an empty line takes it out.

    One comment that moves on, rather than one a stage: any client that reads the discussion sees
    the present state, and the conversation stays readable.
    """
    with hub.session(write=True) as session:
        for event in session.scalars(_comments(discussion_id)):
            values = event.data.get("plait")
            if (
                isinstance(values, dict)
                and values.get("kind") == "requested"
                and values.get("job") == job_id
            ):
                text = str(event.data.get("raw", "")).partition(_PROGRESS)[0]
                if line:
                    text += _PROGRESS + line
                event.data = {**event.data, "raw": text, "updatedAt": now().isoformat()}
                return


def said(hub: Hub, discussion_id: int, kind: str, job_id: int) -> bool:
    """Tell whether the hub has posted this kind of comment about this job already."""
    return any(
        values.get("kind") == kind and values.get("job") == job_id
        for values in hub_values(hub, discussion_id)
    )


def latest_report(hub: Hub, discussion_id: int) -> dict[str, Any] | None:
    """Return the newest merge report posted in a discussion, or None."""
    for values in hub_values(hub, discussion_id):
        if values.get("kind") == "verdict":
            return values
    return None


def latest_verdicts(hub: Hub, discussions: Sequence[int]) -> dict[int, str]:
    """Return the verdict of the newest merge report of each of these discussions that has one."""
    found: dict[int, str] = {}
    query = (
        select(DiscussionEvent.discussion_id, DiscussionEvent.data)
        .where(
            DiscussionEvent.discussion_id.in_(list(discussions)[:500]),
            DiscussionEvent.author_id.is_(None),
            DiscussionEvent.type == "comment",
        )
        .order_by(DiscussionEvent.position)
    )
    with hub.session() as session:
        for number, data in session.execute(query):
            values = data.get("plait")
            if isinstance(values, dict) and values.get("kind") == "verdict":
                found[number] = str(values.get("verdict", ""))
    return found


def hub_values(hub: Hub, discussion_id: int) -> list[dict[str, Any]]:
    """Return the structured parts of the hub's own comments, newest first.

    Only the hub's: what people post cannot pass for a report.
    """
    with hub.session() as session:
        rows = [event.data for event in session.scalars(_comments(discussion_id))]
    return [data["plait"] for data in rows if isinstance(data.get("plait"), dict)]


def _comments(discussion_id: int) -> Select[DiscussionEvent]:
    """Select the hub's own comments, newest first."""
    return (
        select(DiscussionEvent)
        .where(
            DiscussionEvent.discussion_id == discussion_id,
            DiscussionEvent.author_id.is_(None),
            DiscussionEvent.type == "comment",
        )
        .order_by(DiscussionEvent.position.desc())
    )
