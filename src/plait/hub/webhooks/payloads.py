# SPDX-License-Identifier: Apache-2.0
"""What a webhook says, in version 3 of the Hub's format."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from plait.hub.database import Discussion, DiscussionEvent, Repository
from plait.hub.events import Event
from plait.settings import Settings

VERSION = 3
_PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_SCOPES = {
    "repo.create": ("create", "repo"),
    "repo.duplicate": ("create", "repo"),
    "repo.delete": ("delete", "repo"),
    "repo.move": ("move", "repo"),
    "repo.settings": ("update", "repo.config"),
    "ref.update": ("update", "repo.content"),
    "discussion.create": ("create", "discussion"),
    "discussion.status": ("update", "discussion"),
    "discussion.title": ("update", "discussion"),
    "pull.merge": ("update", "discussion"),
    "review.submit": ("update", "discussion"),
    "discussion.comment": ("create", "discussion.comment"),
    "discussion.mention": ("create", "discussion.mention"),
    "discussion.edit": ("update", "discussion.comment"),
    "discussion.hide": ("update", "discussion.comment"),
}


def domain_of(action: str) -> str | None:
    """Return the domain that an event's action belongs to: ``repo``, ``discussion`` or none."""
    scope = _SCOPES.get(action)
    return scope[1].partition(".")[0] if scope else None


def describe(session: Session, settings: Settings, event: Event) -> dict[str, Any] | None:
    """Write the message about an event, without the part that names the webhook.

    None: it is about nothing that webhooks tell.
    """
    repo = event.repo
    if repo is None or event.action not in _SCOPES:
        return None
    action, scope = _SCOPES[event.action]
    message: dict[str, Any] = {
        "event": {"action": action, "scope": scope},
        "repo": _repository(settings, repo),
    }
    match event.action:
        case "repo.move":
            message["repo"] |= {"name": str(event.details.get("from_name", repo.full_name))}
            message["movedTo"] = {
                "name": repo.full_name,
                "owner": {"id": object_id(repo.namespace_id)},
            }
        case "repo.settings":
            message["updatedConfig"] = dict(event.details)
        case "ref.update":
            _refs(message, event)
    if scope.startswith("discussion") and not _discussion(session, settings, message, event):
        return None
    return message


def object_id(number: int) -> str:
    """A stable 24-digit id, as the Hub's records have."""
    return f"{number:024x}"


def _repository(settings: Settings, repo: Repository) -> dict[str, Any]:
    path = f"{_PREFIXES[repo.type]}{repo.full_name}"
    return {
        "type": repo.type,
        "name": repo.full_name,
        "id": object_id(repo.id),
        "private": bool(repo.private),
        "url": {
            "web": f"{settings.url}/{path}",
            "api": f"{settings.url}/api/{repo.type}s/{repo.full_name}",
        },
        "headSha": repo.head,
        "owner": {"id": object_id(repo.namespace_id)},
    }


def _refs(message: dict[str, Any], event: Event) -> None:
    updated = [
        {"ref": ref["ref"], "oldSha": ref.get("old"), "newSha": ref.get("new")}
        for ref in event.details.get("updated", ())
    ]
    message["updatedRefs"] = updated
    for ref in updated:
        if ref["ref"] == "refs/heads/main":
            message["repo"]["headSha"] = ref["newSha"]


def _discussion(
    session: Session, settings: Settings, message: dict[str, Any], event: Event
) -> bool:
    repo = event.repo
    assert repo is not None
    found = session.scalar(
        select(Discussion).where(
            Discussion.repository_id == repo.id,
            Discussion.number == event.details.get("number"),
        )
    )
    if found is None:
        return False
    path = f"discussions/{found.number}"
    urls = message["repo"]["url"]
    message["discussion"] = {
        "id": object_id(found.id),
        "num": found.number,
        "title": found.title,
        "author": {"id": object_id(found.author_id or 0)},
        "isPullRequest": found.is_pull_request,
        "status": found.status,
        "url": {"web": f"{urls['web']}/{path}", "api": f"{urls['api']}/{path}"},
    }
    if found.is_pull_request:
        changes: dict[str, Any] = {"base": found.base_ref}
        if found.merge_commit:
            changes["mergeCommitId"] = found.merge_commit
        message["discussion"]["changes"] = changes
    comment = _comment(session, found, event)
    if comment is not None:
        comment["url"] = {"web": f"{urls['web']}/{path}#{comment['id']}"}
        message["comment"] = comment
    return comment is not None or not message["event"]["scope"].endswith(".comment")


def _comment(session: Session, discussion: Discussion, event: Event) -> dict[str, Any] | None:
    """The comment that an event is about; a new discussion's first one says what it is about."""
    query = select(DiscussionEvent).where(
        DiscussionEvent.discussion_id == discussion.id, DiscussionEvent.type == "comment"
    )
    if event.action == "discussion.create":
        query = query.order_by(DiscussionEvent.position).limit(1)
    elif isinstance(number := event.details.get("event"), str):
        query = query.where(DiscussionEvent.id == number)
    else:
        return None
    found = session.scalar(query)
    if found is None:
        return None
    hidden = bool(found.data.get("hidden"))
    return {
        "id": found.id,
        "author": {"id": object_id(found.author_id or 0)},
        "hidden": hidden,
        **({} if hidden else {"content": str(found.data.get("raw", ""))}),
    }
