# SPDX-License-Identifier: Apache-2.0
"""Who is told of what is written in discussions: mentions, those who take part, those who watch.

A notification is kept for those who may read the repository when it happens, and shown only while
they still may. ``@user`` tells a user, ``@organisation`` its members, ``@organisation/team`` the
team's members; a name inside code is not a mention. Who mutes a discussion or a repository hears
only of mentions of their own name from a discussion, and nothing at all from a muted repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from plait.errors import BadInput, Forbidden, Unauthorized
from plait.hub.database import (
    Account,
    Discussion,
    DiscussionEvent,
    DiscussionSubscription,
    Membership,
    Notification,
    Repository,
    RepositorySubscription,
    Team,
    TeamMember,
    now,
)
from plait.hub.events import Event
from plait.hub.people.actors import load_actor
from plait.hub.permissions import Actor, can
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Wish = Literal["default", "watch", "mute"]
TOLD = (
    "discussion.create",
    "discussion.comment",
    "discussion.status",
    "discussion.edit",
    "pull.merge",
    "review.submit",
)
PAGE = 30
MAX_PAGE = 100
MAX_MENTIONS = 20
"""Names of one text that are told; further ones are just text."""
MAX_TOLD = 500
"""Users told of one event."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_MENTION = re.compile(
    r"(?<![\w@/.])@([A-Za-z0-9][A-Za-z0-9._-]{0,95})(?:/([A-Za-z0-9][A-Za-z0-9._-]{0,95}))?"
)


def mentions(text: str) -> list[tuple[str, str]]:
    """Return the names that a Markdown text mentions: account and team (empty if none)."""
    found = dict.fromkeys(
        (match[1].rstrip(".-_"), (match[2] or "").rstrip(".-_"))
        for match in _MENTION.finditer(_CODE.sub(" ", text))
    )
    return list(found)[:MAX_MENTIONS]


@dataclass(frozen=True)
class Notice:
    """A notification with what it is about."""

    id: int
    reason: str
    action: str
    actor: Account | None
    repository: Repository
    discussion: Discussion
    event_id: str
    at: datetime
    read: bool


@dataclass(frozen=True)
class NoticePage:
    """A page of notifications, newest first; ``cursor`` asks for older ones."""

    items: list[Notice]
    cursor: str | None


class Notifications:
    """The notifications of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.events.listeners.append(self._hear)

    # -- reading --------------------------------------------------------------------------------

    def unread(self, actor: Actor) -> int:
        """Count what the actor has not read and may read."""
        if not _own(actor):
            return 0
        query = (
            select(func.count())
            .select_from(Notification)
            .join(Repository, Repository.id == Notification.repository_id)
            .where(
                Notification.user_id == actor.user_id,
                Notification.read_at.is_(None),
                readable(actor),
            )
        )
        with self._hub.session() as session:
            return session.scalar(query) or 0

    def list(
        self,
        actor: Actor,
        *,
        unread: bool = False,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> NoticePage:
        """List the actor's notifications, as far as the actor may still read what they are about.

        Raises:
            Unauthorized, Forbidden: the actor is nobody, or the token does not speak for the user.
            BadInput: the cursor is not one.
        """
        _require_own(actor)
        query = (
            select(Notification, Repository, Discussion, Account)
            .join(Repository, Repository.id == Notification.repository_id)
            .join(Discussion, Discussion.id == Notification.discussion_id)
            .outerjoin(Account, Account.id == Notification.actor_id)
            .where(Notification.user_id == actor.user_id, readable(actor))
        )
        if unread:
            query = query.where(Notification.read_at.is_(None))
        if cursor:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
                raise BadInput("The cursor is not one that the hub gave. Start without it.")
            query = query.where(Notification.id < int(cursor))
        limit = max(1, min(limit, MAX_PAGE))
        with self._hub.session() as session:
            rows = session.execute(query.order_by(Notification.id.desc()).limit(limit + 1)).all()
        items = [
            Notice(n.id, n.reason, n.action, who, repo, discussion, n.event_id, n.created_at,
                   n.read_at is not None)
            for n, repo, discussion, who in rows[:limit]
        ]  # fmt: skip
        return NoticePage(items, str(items[-1].id) if len(rows) > limit else None)

    def mark_read(
        self,
        actor: Actor,
        ids: Sequence[int] | None = None,
        *,
        discussion: Discussion | None = None,
    ) -> int:
        """Mark the actor's own notifications read: these, or a discussion's, or all; count them.

        Raises:
            Unauthorized, Forbidden: the actor is nobody, or the token does not speak for the user.
        """
        _require_own(actor)
        change = update(Notification).where(
            Notification.user_id == actor.user_id, Notification.read_at.is_(None)
        )
        if ids is not None:
            change = change.where(Notification.id.in_(list(ids)[:1000]))
        if discussion is not None:
            change = change.where(Notification.discussion_id == discussion.id)
        with self._hub.session(write=True) as session:
            result: Any = session.execute(change.values(read_at=now()))
            return int(result.rowcount)

    # -- wishes ---------------------------------------------------------------------------------

    def wish(self, actor: Actor, repo: Repository, discussion: Discussion | None = None) -> Wish:
        """Return what the actor wishes to hear of a repository or one discussion of it."""
        if actor.user_id is None:
            return "default"
        with self._hub.session() as session:
            found = _subscription(session, actor.user_id, repo, discussion)
        return "default" if found is None else "mute" if found.muted else "watch"

    def set_wish(
        self, actor: Actor, repo: Repository, wish: str, discussion: Discussion | None = None
    ) -> None:
        """Say what the actor wishes to hear of a repository or one discussion of it.

        Raises:
            RepositoryNotFound: the actor may not read it.
            Unauthorized, Forbidden: the actor is nobody, or the token does not speak for the user.
            BadInput: there is no such wish.
        """
        self._hub.repositories.require(actor, repo, "repo.read")
        _require_own(actor)
        assert actor.user_id is not None
        if wish not in ("default", "watch", "mute"):
            raise BadInput(f"There is no wish {wish[:20]!a}. Use 'watch', 'mute' or 'default'.")
        with self._hub.session(write=True) as session:
            found = _subscription(session, actor.user_id, repo, discussion)
            if wish == "default":
                if found is not None:
                    session.delete(found)
                return
            if found is None:
                found = (
                    RepositorySubscription(user_id=actor.user_id, repository_id=repo.id)
                    if discussion is None
                    else DiscussionSubscription(user_id=actor.user_id, discussion_id=discussion.id)
                )
                session.add(found)
            found.muted = wish == "mute"

    # -- hearing --------------------------------------------------------------------------------

    def _hear(self, session: Session, event: Event) -> None:
        """Keep notifications in the transaction of what they tell."""
        number = event.details.get("number")
        if event.repo is None or event.action not in TOLD or not isinstance(number, int):
            return
        discussion = session.scalar(
            select(Discussion).where(
                Discussion.repository_id == event.repo.id, Discussion.number == number
            )
        )
        if discussion is None:
            return
        comment = _comment(session, discussion, event)
        named = _named(session, str(comment.data.get("raw", ""))) if comment is not None else set()
        if event.action == "discussion.edit":
            # Only who was added is told, and of the mention alone.
            assert comment is not None or not named
            before = comment.data.get("history") or [] if comment is not None else []
            named -= _named(session, str(before[-1].get("raw", ""))) if before else set()
            reasons = dict.fromkeys(named, "mention")
        else:
            reasons = _reasons(session, event.repo, discussion, named)
        reasons.pop(event.actor.user_id or 0, None)
        told = _readers(session, event.repo, reasons)
        for user in told:
            session.add(
                Notification(
                    user_id=user.id,
                    repository_id=event.repo.id,
                    discussion_id=discussion.id,
                    event_id=comment.id if comment is not None else "",
                    reason=reasons[user.id],
                    action=event.action,
                    actor_id=event.actor.user_id,
                )
            )
        mentioned = sorted(user.id for user in told if reasons[user.id] == "mention")
        if mentioned and comment is not None:
            self._hub.events.record(
                session,
                event.actor,
                "discussion.mention",
                repo=event.repo,
                number=number,
                event=comment.id,
                users=mentioned,
            )


def _reasons(
    session: Session, repo: Repository, discussion: Discussion, named: Iterable[int]
) -> dict[int, str]:
    """Return who is to be told and why; the strongest reason of each."""
    wishes = {
        row.user_id: row.muted
        for row in session.scalars(
            select(RepositorySubscription).where(RepositorySubscription.repository_id == repo.id)
        )
    }
    here = {
        row.user_id: row.muted
        for row in session.scalars(
            select(DiscussionSubscription).where(
                DiscussionSubscription.discussion_id == discussion.id
            )
        )
    }
    part = {
        author
        for author in session.scalars(
            select(DiscussionEvent.author_id)
            .where(DiscussionEvent.discussion_id == discussion.id)
            .distinct()
        )
        if author is not None
    } | ({discussion.author_id} if discussion.author_id is not None else set())
    found = {user: "watch" for user, muted in wishes.items() if not muted}
    found |= dict.fromkeys(part, "reply")
    found |= {user: "watch" for user, muted in here.items() if not muted}
    for user, muted in here.items():
        if muted:
            found.pop(user, None)
    found |= dict.fromkeys(named, "mention")
    for user, muted in wishes.items():
        if muted and here.get(user, True):
            found.pop(user, None)
    return found


def _readers(session: Session, repo: Repository, reasons: dict[int, str]) -> list[Account]:
    """Return those accounts of users that may read the repository now."""
    users = session.scalars(
        select(Account)
        .where(Account.id.in_(list(reasons)), Account.kind == "user")
        .order_by(Account.id)
        .limit(MAX_TOLD)
    )
    return [user for user in users if can(load_actor(session, user, "write"), "repo.read", repo)]


def _named(session: Session, text: str) -> set[int]:
    """Return the users that a text mentions, by id."""
    found: set[int] = set()
    for name, team in mentions(text):
        account = session.scalar(select(Account).where(Account.name_key == name.lower()))
        if account is None:
            continue
        if account.kind == "user":
            found |= {account.id} if not team else set()
            continue
        members = select(Membership.user_id).where(Membership.organization_id == account.id)
        if team:
            members = (
                select(TeamMember.user_id)
                .join(Team, Team.id == TeamMember.team_id)
                .where(Team.organization_id == account.id, Team.name_key == team.lower())
            )
        found |= set(session.scalars(members.limit(MAX_TOLD)))
    return found


def _comment(session: Session, discussion: Discussion, event: Event) -> DiscussionEvent | None:
    query = select(DiscussionEvent).where(
        DiscussionEvent.discussion_id == discussion.id, DiscussionEvent.type == "comment"
    )
    if isinstance(number := event.details.get("event"), str):
        query = query.where(DiscussionEvent.id == number)
    elif event.action == "discussion.create":
        query = query.order_by(DiscussionEvent.position).limit(1)
    else:
        return None
    return session.scalar(query)


def _subscription(
    session: Session, user_id: int, repo: Repository, discussion: Discussion | None
) -> RepositorySubscription | DiscussionSubscription | None:
    if discussion is None:
        return session.get(RepositorySubscription, (user_id, repo.id))
    return session.get(DiscussionSubscription, (user_id, discussion.id))


def forget(session: Session, discussion_id: int, event_id: str) -> None:
    """Remove the notifications of a comment that was hidden."""
    session.execute(
        delete(Notification).where(
            Notification.discussion_id == discussion_id, Notification.event_id == event_id
        )
    )


def _own(actor: Actor) -> bool:
    """Notifications are the user's alone: a token for some places does not show them."""
    return actor.user_id is not None and actor.scope in ("read", "contributor", "write")


def _require_own(actor: Actor) -> None:
    if actor.user_id is None or actor.disabled:
        raise Unauthorized("Log in to see what you are told of.")
    if not _own(actor):
        raise Forbidden("This token may not speak for its user. Use one of scope 'write'.")
