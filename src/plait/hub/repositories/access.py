# SPDX-License-Identifier: Apache-2.0
"""Gated repositories: who asked for the files, and who was let in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, NotFound, Unauthorized
from plait.hub.database import AccessRequest, Account, Repository, now
from plait.hub.names import check_text
from plait.hub.permissions import Actor, can, resource_of

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Status = Literal["pending", "accepted", "rejected"]
STATUSES: tuple[Status, ...] = ("pending", "accepted", "rejected")
MAX_FIELDS = 50
MAX_ANSWER = 2000
MAX_REASON = 400
PAGE = 100

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Field:
    """Something that a card asks of those who want access (``extra_gated_fields``)."""

    name: str
    kind: str
    """``text``, ``checkbox``, ``country``, ``date_picker``, ``ip_location`` or ``select``."""
    options: tuple[str, ...] = ()
    """What can be chosen, for ``select``."""


@dataclass(frozen=True)
class RequestPage:
    """Some access requests; ``cursor`` asks for the next, None at the end."""

    items: list[AccessRequest]
    cursor: str | None


class Access:
    """The access requests of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def ask(
        self, actor: Actor, repo: Repository, answers: Mapping[str, Any] | None = None
    ) -> AccessRequest:
        """Ask for the files of a gated repository; with ``auto`` it is granted at once.

        Asking again changes the answers of a request that nobody has decided on.

        Raises:
            RepositoryNotFound: the actor may not read the repository.
            Unauthorized, Forbidden: nobody is signed in, or the token may not speak for its user.
            BadInput: the repository is not gated, or an answer is missing.
            Conflict: the actor has access already, or was refused.
        """
        hub = self._hub
        hub.repositories.require(actor, repo, "repo.read")
        if actor.user_id is None:
            raise Unauthorized("Log in to ask for access.")
        if not can(actor, "account.self"):
            raise Forbidden("This token may not ask for access. Use one of scope 'write'.")
        if not repo.gated:
            raise BadInput(f"'{repo.full_name}' is not gated: its files are there for its readers.")
        if can(actor, "repo.files", resource_of(repo)):
            raise Conflict(f"You have access to '{repo.full_name}' already.")
        fields = check_answers(fields_of(repo), answers or {})
        try:
            with hub.session(write=True) as session:
                found = self._find(session, repo, actor.user_id, lock=True)
                if found is not None and found.status != "pending":
                    said = "have access to" if found.status == "accepted" else "were refused"
                    because = f": {found.reason}" if found.reason else ""
                    raise Conflict(f"You {said} '{repo.full_name}' already{because}.")
                if found is None:
                    found = AccessRequest(repository_id=repo.id, user_id=actor.user_id)
                    session.add(found)
                found.fields = fields
                if repo.gated == "auto":
                    found.status, found.decided_at = "accepted", now()
                session.flush()
                session.refresh(found, ["user"])
                hub.events.record(session, actor, "access.request", repo=repo, status=found.status)
                return found
        except IntegrityError:
            raise Conflict("You are asking for this access twice at once. Look again.") from None

    def state(self, actor: Actor, repo: Repository) -> AccessRequest | None:
        """Return the actor's own request, None if there is none."""
        self._hub.repositories.require(actor, repo, "repo.read")
        if actor.user_id is None:
            return None
        with self._hub.session() as session:
            return self._find(session, repo, actor.user_id)

    def withdraw(self, actor: Actor, repo: Repository) -> None:
        """Take back one's own request that nobody has decided on.

        Raises:
            NotFound: there is none.
        """
        self._hub.repositories.require(actor, repo, "repo.read")
        with self._hub.session(write=True) as session:
            found = (
                self._find(session, repo, actor.user_id, lock=True)
                if actor.user_id is not None and can(actor, "account.self")
                else None
            )
            if found is None or found.status != "pending":
                raise NotFound(f"You have no open request for '{repo.full_name}'.")
            session.delete(found)
            self._hub.events.record(session, actor, "access.withdraw", repo=repo)

    def list(
        self,
        actor: Actor,
        repo: Repository,
        status: Status,
        *,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> RequestPage:
        """List the requests of a status, newest first.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not administer the repository.
            BadInput: the repository is not gated, or the cursor is not one.
        """
        self._administer(actor, repo)
        query = select(AccessRequest).where(
            AccessRequest.repository_id == repo.id, AccessRequest.status == status
        )
        if cursor is not None:
            if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
                raise BadInput("The cursor is not one that the hub gave. Start without it.")
            query = query.where(AccessRequest.id < int(cursor))
        limit = max(1, min(limit, 1000))
        with self._hub.session() as session:
            found = list(session.scalars(query.order_by(AccessRequest.id.desc()).limit(limit + 1)))
        return RequestPage(found[:limit], str(found[limit - 1].id) if len(found) > limit else None)

    def count(self, actor: Actor, repo: Repository) -> dict[Status, int]:
        """Count the requests by status; raises as `list`."""
        self._administer(actor, repo)
        query = (
            select(AccessRequest.status, func.count())
            .where(AccessRequest.repository_id == repo.id)
            .group_by(AccessRequest.status)
        )
        with self._hub.session() as session:
            counted: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
        return {status: counted.get(status, 0) for status in STATUSES}

    def decide(
        self,
        actor: Actor,
        repo: Repository,
        status: Status,
        *,
        user: str | None = None,
        request_id: str | None = None,
        reason: str = "",
    ) -> AccessRequest:
        """Accept or reject a request, or make it pending again.

        Args:
            actor: who decides.
            repo: whose files.
            status: what becomes of the request.
            user: who asked; or else ``request_id``.
            request_id: the request's public id.
            reason: why it is rejected; its author may read it.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not administer the repository.
            BadInput: the repository is not gated, or not exactly one of user and request is named.
            NotFound: there is no such user or request, or its status is that already.
        """
        self._administer(actor, repo)
        if (user is None) == (request_id is None):
            raise BadInput("Name either the user or the request, not both.")
        if reason and status != "rejected":
            raise BadInput("A reason can be given only when a request is rejected.")
        check_text(reason, "The reason", MAX_REASON)
        query = select(AccessRequest).where(AccessRequest.repository_id == repo.id)
        if user is not None:
            query = query.where(AccessRequest.user_id == self._user(user).id)
        else:
            query = query.where(AccessRequest.public_id == request_id)
        with self._hub.session(write=True) as session:
            found = session.scalar(query.with_for_update(of=AccessRequest))
            if found is None:
                who = f"'{user}'" if user is not None else f"of the id {str(request_id)[:40]!a}"
                raise NotFound(f"There is no access request {who} for '{repo.full_name}'.")
            if found.status == status:
                raise NotFound(f"The access request of '{found.user.name}' is {status} already.")
            found.status, found.reason = status, reason
            found.decided_at = None if status == "pending" else now()
            found.decided_by = None if status == "pending" else actor.user_id
            self._hub.events.record(
                session, actor, "access.decide", repo=repo, status=status, user=found.user.name
            )
            return found

    def grant(self, actor: Actor, repo: Repository, user: str) -> AccessRequest:
        """Let somebody in who may not have asked.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not administer the repository.
            BadInput: the repository is not gated, or the user has access already.
            NotFound: there is no such user.
        """
        self._administer(actor, repo)
        account = self._user(user)
        try:
            with self._hub.session(write=True) as session:
                found = self._find(session, repo, account.id, lock=True)
                if found is not None and found.status == "accepted":
                    raise BadInput(f"'{account.name}' has access to '{repo.full_name}' already.")
                if found is None:
                    found = AccessRequest(repository_id=repo.id, user_id=account.id, granted=True)
                    session.add(found)
                found.status, found.reason = "accepted", ""
                found.decided_at, found.decided_by = now(), actor.user_id
                session.flush()
                session.refresh(found, ["user"])
                self._hub.events.record(
                    session, actor, "access.decide", repo=repo, status="accepted", user=account.name
                )
                return found
        except IntegrityError:
            raise BadInput(f"'{account.name}' asked at this moment. Look again.") from None

    def _administer(self, actor: Actor, repo: Repository) -> None:
        self._hub.repositories.require(actor, repo, "repo.admin")
        if not repo.gated:
            raise BadInput(f"'{repo.full_name}' is not gated. Turn that on in its settings first.")

    def _user(self, name: str) -> Account:
        account = self._hub.accounts.find(name)
        if account is None or account.kind != "user":
            raise NotFound(f"There is no user {name[:100]!a}.")
        return account

    def _find(
        self, session: Session, repo: Repository, user_id: int, *, lock: bool = False
    ) -> AccessRequest | None:
        query = select(AccessRequest).where(
            AccessRequest.repository_id == repo.id, AccessRequest.user_id == user_id
        )
        return session.scalar(query.with_for_update(of=AccessRequest) if lock else query)


def fields_of(repo: Repository) -> list[Field]:
    """List what a repository's card asks of those who want access; what it cannot mean is left out.

    Source of the form: the Hub's documentation of gated models, ``extra_gated_fields``.
    """
    asked = repo.card.get("extra_gated_fields")
    found = []
    for name, kind in list(asked.items())[:MAX_FIELDS] if isinstance(asked, dict) else []:
        if isinstance(kind, str):
            found.append(Field(name[:200], kind))
        elif isinstance(kind, dict) and kind.get("type") == "select":
            options = kind.get("options")
            values = [
                str(option.get("value", option.get("label", "")))
                if isinstance(option, dict)
                else str(option)
                for option in (options if isinstance(options, list) else [])[:500]
            ]
            found.append(Field(name[:200], "select", tuple(values)))
        elif isinstance(kind, dict) and isinstance(kind.get("type"), str):
            found.append(Field(name[:200], kind["type"]))
    return found


def check_answers(fields: list[Field], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers to the card's questions; anything else that was sent is dropped.

    Raises:
        BadInput: an answer is missing or cannot be one; the message names the question.
    """
    found: dict[str, Any] = {}
    for field in fields:
        value = answers.get(field.name)
        if field.kind == "checkbox":
            if value not in (True, "true", "on", "1", "yes"):
                raise BadInput(f"Agree to this to ask for access: {field.name!a}.")
            found[field.name] = True
            continue
        if field.kind == "ip_location" and value is None:
            continue  # The hub does not find out where people are.
        text = "" if value is None else str(value).strip()
        if not text:
            raise BadInput(f"Answer this to ask for access: {field.name!a}.")
        check_text(text, f"The answer to {field.name!a}", MAX_ANSWER)
        if field.kind == "select" and text not in field.options:
            raise BadInput(f"Choose one of the answers to {field.name!a}.")
        if field.kind == "date_picker" and not _DATE.fullmatch(text):
            raise BadInput(f"Give a date as YYYY-MM-DD for {field.name!a}.")
        found[field.name] = text
    return found
