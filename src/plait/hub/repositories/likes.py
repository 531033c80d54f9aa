# SPDX-License-Identifier: Apache-2.0
"""Who likes which repository."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import BadInput, Forbidden, Unauthorized
from plait.hub.database import Account, Like, Repository
from plait.hub.permissions import Actor, can
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

PAGE = 500


@dataclass(frozen=True)
class LikedPage:
    """Repositories that somebody likes and since when; ``cursor`` asks for the next."""

    items: list[tuple[Repository, datetime]]
    cursor: str | None


@dataclass(frozen=True)
class LikerPage:
    """Users who like a repository; ``cursor`` asks for the next."""

    items: list[Account]
    cursor: str | None


class Likes:
    """The likes of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def add(self, actor: Actor, repo: Repository) -> int:
        """Like a repository, once; return how many do.

        Raises:
            RepositoryNotFound, Unauthorized, Forbidden: the actor may not.
        """
        user_id = self._user(actor, repo)
        try:
            with self._hub.session(write=True) as session:
                if session.get(Like, (user_id, repo.id)) is None:
                    session.add(Like(user_id=user_id, repository_id=repo.id))
                    session.flush()
                    self._hub.events.record(session, actor, "like.add", repo=repo)
                return self._recount(session, repo)
        except IntegrityError:
            # Liked at this moment by another request of the same user.
            return self.count(repo)

    def remove(self, actor: Actor, repo: Repository) -> int:
        """Like a repository no more; return how many do. Harmless if the actor did not."""
        user_id = self._user(actor, repo)
        with self._hub.session(write=True) as session:
            found = session.get(Like, (user_id, repo.id))
            if found is not None:
                session.delete(found)
                session.flush()
                self._hub.events.record(session, actor, "like.remove", repo=repo)
            return self._recount(session, repo)

    def likes(self, actor: Actor, repo: Repository) -> bool:
        """Tell whether the actor likes the repository."""
        if actor.user_id is None:
            return False
        with self._hub.session() as session:
            return session.get(Like, (actor.user_id, repo.id)) is not None

    def count(self, repo: Repository) -> int:
        """Count those who like a repository."""
        with self._hub.session() as session:
            query = select(func.count()).where(Like.repository_id == repo.id)
            return session.scalar(query) or 0

    def likers(
        self, actor: Actor, repo: Repository, *, limit: int = PAGE, cursor: str | None = None
    ) -> LikerPage:
        """List the users who like a repository, by account.

        Raises:
            RepositoryNotFound: the actor may not read it.
            BadInput: the cursor is not one.
        """
        self._hub.repositories.require(actor, repo, "repo.read")
        after = _number(cursor) if cursor is not None else 0
        query = (
            select(Account)
            .join(Like, Like.user_id == Account.id)
            .where(Like.repository_id == repo.id, Account.id > after)
            .order_by(Account.id)
            .limit(limit + 1)
        )
        with self._hub.session() as session:
            found = list(session.scalars(query))
        more = len(found) > limit
        return LikerPage(found[:limit], str(found[limit - 1].id) if more else None)

    def liked_by(
        self, actor: Actor, user: Account, *, limit: int = PAGE, cursor: str | None = None
    ) -> LikedPage:
        """List what a user likes, as far as the actor may read it; newest first.

        Raises:
            BadInput: the cursor is not one.
        """
        query = (
            select(Repository, Like.created_at)
            .join(Like, Like.repository_id == Repository.id)
            .where(Like.user_id == user.id, readable(actor))
            .order_by(Like.created_at.desc(), Repository.id.desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            text, _, number = cursor.partition("_")
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                moment = None
            if moment is None or moment.tzinfo is None:
                raise BadInput("The cursor is not one that the hub gave. Start without it.")
            query = query.where(
                or_(
                    Like.created_at < moment,
                    and_(Like.created_at == moment, Repository.id < _number(number)),
                )
            )
        with self._hub.session() as session:
            found = [(repo, moment) for repo, moment in session.execute(query)]
        if len(found) <= limit:
            return LikedPage(found, None)
        repo, moment = found[limit - 1]
        return LikedPage(found[:limit], f"{moment.isoformat()}_{repo.id}")

    def _user(self, actor: Actor, repo: Repository) -> int:
        self._hub.repositories.require(actor, repo, "repo.read")
        if actor.user_id is None:
            raise Unauthorized("Log in to say what you like.")
        if not can(actor, "account.self"):
            raise Forbidden("This token may not speak for its user. Use one of scope 'write'.")
        return actor.user_id

    def _recount(self, session: Session, repo: Repository) -> int:
        counted = select(func.count()).where(Like.repository_id == repo.id).scalar_subquery()
        session.execute(update(Repository).where(Repository.id == repo.id).values(likes=counted))
        self._hub.popularity.liked(session, repo)
        return session.scalar(select(Repository.likes).where(Repository.id == repo.id)) or 0


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadInput("The cursor is not one that the hub gave. Start without it.")
    return int(text)
