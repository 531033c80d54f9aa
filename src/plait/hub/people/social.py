# SPDX-License-Identifier: Apache-2.0
"""What is told of users and organisations: overviews, members, and who follows whom.

Every number counts only what the caller may read, and nobody's e-mail address is told.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from plait.errors import BadInput, Forbidden, NotFound, Unauthorized
from plait.hub.database import Account, Discussion, Follow, Like, Membership, Repository
from plait.hub.permissions import Actor, can
from plait.hub.repositories.cursors import read_cursor, write_cursor
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Kind = Literal["user", "organization"]
MAX_PAGE = 500


@dataclass(frozen=True)
class Overview:
    """A user or organisation as one caller sees it."""

    account: Account
    repositories: dict[str, int]
    """How many the caller may read, by type."""
    followers: int
    is_following: bool
    """Whether the caller follows the account."""
    following: int = 0
    likes: int = 0
    discussions: int = 0
    members: int | None = None
    """Of an organisation, for those who may know its members."""
    organizations: list[Account] = field(default_factory=list)
    """Of a user, those whose members the caller may know."""


@dataclass(frozen=True)
class AccountPage:
    """One page of accounts; ``cursor`` asks for the next, None at the end."""

    items: list[Account]
    cursor: str | None


class Social:
    """Who is who on one hub, and who follows whom."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def overview(self, actor: Actor, name: str, kind: Kind | None = None) -> Overview:
        """Describe an account, in a number of queries that does not grow with it.

        Raises:
            NotFound: there is none of that name (and kind).
        """
        account = self._account(name, kind)
        with self._hub.session() as session:
            counted = session.execute(
                select(Repository.type, func.count())
                .where(Repository.namespace_id == account.id, readable(actor))
                .group_by(Repository.type)
            )
            repositories = {row[0]: row[1] for row in counted}
            followers = _count(session, select(Follow).where(Follow.account_id == account.id))
            is_following = (
                actor.user_id is not None
                and session.get(Follow, (actor.user_id, account.id)) is not None
            )
            if account.kind == "organization":
                members = None
                if can(actor, "namespace.read", account):
                    joined = select(Membership).where(Membership.organization_id == account.id)
                    members = _count(session, joined)
                return Overview(account, repositories, followers, is_following, members=members)
            seen = select(Repository.id).where(readable(actor))
            return Overview(
                account,
                repositories,
                followers,
                is_following,
                following=_count(session, select(Follow).where(Follow.user_id == account.id)),
                likes=_count(
                    session,
                    select(Like).where(Like.user_id == account.id, Like.repository_id.in_(seen)),
                ),
                discussions=_count(
                    session,
                    select(Discussion).where(
                        Discussion.author_id == account.id, Discussion.repository_id.in_(seen)
                    ),
                ),
                organizations=[
                    organization
                    for organization in session.scalars(
                        select(Account)
                        .join(Membership, Membership.organization_id == Account.id)
                        .where(Membership.user_id == account.id)
                        .order_by(Account.name_key)
                    )
                    if can(actor, "namespace.read", organization)
                ],
            )

    def followers(
        self,
        actor: Actor,
        name: str,
        kind: Kind | None = None,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> AccountPage:
        """List the users who follow an account, the newest first.

        Raises:
            NotFound: there is none of that name (and kind).
            BadInput: the cursor is not one.
        """
        account = self._account(name, kind)
        return self._follows(Follow.account_id == account.id, Follow.user_id, limit, cursor)

    def following(
        self, actor: Actor, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> AccountPage:
        """List the users and organisations that a user follows, the newest first.

        Raises:
            NotFound: there is no such user.
            BadInput: the cursor is not one.
        """
        account = self._account(name, "user")
        return self._follows(Follow.user_id == account.id, Follow.account_id, limit, cursor)

    def members(
        self, actor: Actor, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> AccountPage:
        """List an organisation's members by name, for those who may know them: its members.

        Raises:
            NotFound: there is no such organisation.
            BadInput: the cursor is not one.
        """
        account = self._account(name, "organization")
        if not can(actor, "namespace.read", account):
            return AccountPage([], None)
        query = (
            select(Account)
            .join(Membership, Membership.user_id == Account.id)
            .where(Membership.organization_id == account.id)
        )
        if cursor is not None:
            query = query.where(Account.name_key > read_cursor(cursor, str)[0])
        limit = max(1, min(limit, MAX_PAGE))
        with self._hub.session() as session:
            found = list(session.scalars(query.order_by(Account.name_key).limit(limit + 1)))
        more, found = len(found) > limit, found[:limit]
        return AccountPage(found, write_cursor([found[-1].name_key]) if more else None)

    def follow(self, actor: Actor, name: str, kind: Kind | None = None) -> None:
        """Let the actor follow an account.

        Raises:
            NotFound: there is none of that name (and kind).
            Unauthorized, Forbidden: the actor may not.
            BadInput: it is the actor.
        """
        user_id = _own(actor)
        account = self._account(name, kind)
        if account.id == user_id:
            raise BadInput("You cannot follow yourself.")
        # Two requests at once: the other one has done it.
        with suppress(IntegrityError), self._hub.session(write=True) as session:
            if session.get(Follow, (user_id, account.id)) is None:
                session.add(Follow(user_id=user_id, account_id=account.id))
                session.flush()
                self._hub.events.record(session, actor, "follow.add", account=account)

    def unfollow(self, actor: Actor, name: str, kind: Kind | None = None) -> None:
        """Let the actor not follow an account any more.

        Raises:
            NotFound: there is none of that name (and kind).
            Unauthorized, Forbidden: the actor may not.
        """
        user_id = _own(actor)
        account = self._account(name, kind)
        with self._hub.session(write=True) as session:
            found = session.get(Follow, (user_id, account.id))
            if found is not None:
                session.delete(found)
                self._hub.events.record(session, actor, "follow.remove", account=account)

    def _account(self, name: str, kind: Kind | None) -> Account:
        account = self._hub.accounts.find(name)
        if account is None or (kind is not None and account.kind != kind):
            what = {"user": "user", "organization": "organisation"}.get(
                kind or "", "user or organisation"
            )
            raise NotFound(f"There is no {what} named {name[:96]!a}.")
        return account

    def _follows(self, condition: Any, other: Any, limit: int, cursor: str | None) -> AccountPage:
        account = aliased(Account)
        query = (
            select(account, Follow.created_at).join(Follow, other == account.id).where(condition)
        )
        if cursor is not None:
            moment, number = read_cursor(cursor, datetime, int)
            query = query.where(
                or_(
                    Follow.created_at < moment,
                    and_(Follow.created_at == moment, account.id < number),
                )
            )
        limit = max(1, min(limit, MAX_PAGE))
        query = query.order_by(Follow.created_at.desc(), account.id.desc()).limit(limit + 1)
        with self._hub.session() as session:
            rows = session.execute(query).all()
        found: list[Account] = [row[0] for row in rows[:limit]]
        if len(rows) <= limit:
            return AccountPage(found, None)
        return AccountPage(found, write_cursor([rows[limit - 1][1], found[-1].id]))


def _count(session: Session, query: Any) -> int:
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _own(actor: Actor) -> int:
    if actor.user_id is None:
        raise Unauthorized("Only users follow. Use a token.")
    if not can(actor, "account.self"):
        raise Forbidden("This token may only read; use one of scope 'write'.")
    return actor.user_id
