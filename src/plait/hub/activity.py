# SPDX-License-Identifier: Apache-2.0
"""What happened lately in repositories, as feeds tell it.

Every entry belongs to a repository and is shown to those alone who may read that at the moment they
look: who loses access loses the old entries with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from plait.errors import BadInput
from plait.hub.database import Account, Activity, Follow, Repository
from plait.hub.events import Event
from plait.hub.permissions import Actor
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

PAGE = 30
MAX_PAGE = 100
KEPT: dict[str, tuple[str, ...]] = {
    "repo.create": (),
    "repo.duplicate": (),
    "repo.move": (),
    "ref.update": ("ref",),
    "discussion.create": (),
    "discussion.comment": ("event",),
    "discussion.status": ("status",),
    "pull.merge": ("commit",),
    "review.submit": (),
    "like.add": (),
    "leaderboard.score": ("model", "task"),
}
"""The events that feeds tell, and which of their details are kept."""


@dataclass(frozen=True)
class Happened:
    """One line of a feed."""

    id: int
    action: str
    actor: Account | None
    """None: the hub itself."""
    repository: Repository
    number: int | None
    details: dict[str, Any]
    at: Any


@dataclass(frozen=True)
class Feed:
    """A page of a feed, newest first; ``cursor`` asks for what is older."""

    items: list[Happened]
    cursor: str | None


class Activities:
    """The feeds of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.events.listeners.append(self._note)

    def _note(self, session: Session, event: Event) -> None:
        """Keep an event in the transaction that made it."""
        if event.repo is None or event.action not in KEPT:
            return
        details = {k: v for k, v in event.details.items() if k in KEPT[event.action]}
        if event.action == "ref.update":
            refs = [one for one in event.details.get("updated", ()) if _is_branch(one)]
            if not refs:
                return  # what moves refs/pr/N is told as what happens in the pull request
            details = {
                "ref": str(refs[0]["ref"]).removeprefix("refs/heads/")[:200],
                "commit": refs[0].get("new"),
            }
        number = event.details.get("number")
        session.add(
            Activity(
                action=event.action,
                actor_id=event.actor.user_id,
                repository_id=event.repo.id,
                number=number if isinstance(number, int) else None,
                details=details,
            )
        )

    def of_repository(self, actor: Actor, repo: Repository, **page: Any) -> Feed:
        """Return what happened in a repository.

        Raises:
            RepositoryNotFound: the actor may not read it.
            BadInput: the cursor is not one.
        """
        self._hub.repositories.require(actor, repo, "repo.read")
        return self._feed(actor, Activity.repository_id == repo.id, **page)

    def of_account(self, actor: Actor, account: Account, **page: Any) -> Feed:
        """Return what happened in an organisation's repositories, or what a user did.

        Raises:
            BadInput: the cursor is not one.
        """
        if account.kind == "organization":
            return self._feed(actor, Repository.namespace_id == account.id, **page)
        return self._feed(
            actor,
            or_(Activity.actor_id == account.id, Repository.namespace_id == account.id),
            **page,
        )

    def followed(self, actor: Actor, **page: Any) -> Feed:
        """Return what those did, and what happened at those, whom the actor follows.

        Raises:
            BadInput: the cursor is not one.
        """
        if actor.user_id is None:
            return Feed([], None)
        follows = select(Follow.account_id).where(Follow.user_id == actor.user_id)
        return self._feed(
            actor,
            or_(Activity.actor_id.in_(follows), Repository.namespace_id.in_(follows)),
            **page,
        )

    def _feed(
        self,
        actor: Actor,
        condition: ColumnElement[bool],
        *,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> Feed:
        limit = max(1, min(limit, MAX_PAGE))
        query = (
            select(Activity, Repository, Account)
            .join(Repository, Repository.id == Activity.repository_id)
            .outerjoin(Account, Account.id == Activity.actor_id)
            .where(condition, readable(actor))
            .order_by(Activity.id.desc())
            .limit(limit + 1)
        )
        if cursor:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
                raise BadInput("The cursor is not one that the hub gave. Start without it.")
            query = query.where(Activity.id < int(cursor))
        with self._hub.session() as session:
            rows = session.execute(query).all()
        items = [
            Happened(a.id, a.action, who, repo, a.number, dict(a.details), a.created_at)
            for a, repo, who in rows[:limit]
        ]
        return Feed(items, str(items[-1].id) if len(rows) > limit else None)


def _is_branch(update: Any) -> bool:
    return (
        isinstance(update, dict)
        and str(update.get("ref", "")).startswith("refs/heads/")
        and bool(update.get("new"))
    )
