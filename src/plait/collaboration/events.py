# SPDX-License-Identifier: Apache-2.0
"""What the hub itself says in a discussion: text for any client, and values for the pages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from plait.hub import Hub
from plait.hub.database import Discussion, DiscussionEvent
from plait.hub.permissions import SYSTEM


def say(
    hub: Hub, discussion: Discussion, text: str, values: dict[str, Any] | None = None
) -> DiscussionEvent:
    """Post a comment of the hub; ``values`` go beside the text as ``data.plait``."""
    return hub.discussions.add_comment(SYSTEM, discussion, text, data=values)


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


def hub_values(hub: Hub, discussion_id: int) -> list[dict[str, Any]]:
    """Return the structured parts of the hub's own comments, newest first.

    Only the hub's: what people post cannot pass for a report.
    """
    with hub.session() as session:
        rows = session.scalars(
            select(DiscussionEvent.data)
            .where(
                DiscussionEvent.discussion_id == discussion_id,
                DiscussionEvent.author_id.is_(None),
                DiscussionEvent.type == "comment",
            )
            .order_by(DiscussionEvent.position.desc())
        ).all()
    return [data["plait"] for data in rows if isinstance(data.get("plait"), dict)]
