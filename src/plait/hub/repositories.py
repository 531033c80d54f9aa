# SPDX-License-Identifier: Apache-2.0
"""Repositories: making, finding, listing, changing and removing them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, Select, and_, delete, or_, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.cards import card_tags, read_head
from plait.errors import (
    BadInput,
    Conflict,
    DisabledRepository,
    EntryNotFound,
    Forbidden,
    GatedRepository,
    RepositoryNotFound,
)
from plait.hub.database import (
    AccessRequest,
    Account,
    Discussion,
    Repository,
    RepositoryTag,
    now,
)
from plait.hub.git import Author
from plait.hub.names import check_repository_type, check_text, split_repository
from plait.hub.permissions import GATED, Action, Actor, can, resource_of
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Sort = Literal["updated", "created", "name"]
MAX_PAGE = 1000
README = "README.md"
MAX_CARD = 2**20


@dataclass(frozen=True)
class Page:
    """One page of a listing; ``cursor`` asks for the next, None at the end."""

    items: list[Repository]
    cursor: str | None


def missing(repo_type: str, full_name: str) -> RepositoryNotFound:
    """Return the error for a repository that does not exist or may not be read."""
    return RepositoryNotFound(
        f"There is no {repo_type} {full_name[:200]!a}. "
        "If it is private, use a token that may read it."
    )


class Repositories:
    """The repositories of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create(
        self, actor: Actor, repo_type: str, full_name: str, private: bool = False
    ) -> Repository:
        """Make a repository with one commit on main.

        Raises:
            BadInput: the type or name is not allowed.
            Forbidden: the actor may not create in that namespace.
            Conflict: it exists and the actor may read it, or its name is taken.
        """
        check_repository_type(repo_type)
        namespace_name, name = split_repository(full_name)
        hub = self._hub
        namespace = hub.accounts.find(namespace_name)
        if namespace is None or not can(actor, "namespace.create", namespace):
            raise Forbidden(
                f"You may not create repositories under '{namespace_name}'. Use a write token of "
                "a member who may, or another namespace."
            )
        try:
            # The row is written first because it gives the folder its id, but it is committed
            # last: until then nobody sees the repository, and a crash leaves only a folder
            # that the next creation of that id replaces.
            with hub.session(write=True) as session:
                repo = Repository(
                    type=repo_type,
                    namespace_id=namespace.id,
                    name=name,
                    name_key=name.lower(),
                    private=private,
                    created_by=actor.user_id,
                    card={},
                )
                session.add(repo)
                session.flush()
                repo.head = hub.git.create(repo, Author(actor.name or "plait"))
                session.refresh(repo, ["namespace"])
        except IntegrityError:
            raise Conflict(
                f"You already created this {repo_type} repo: {namespace.name}/{name}"
            ) from None
        return repo

    def get(
        self, actor: Actor, repo_type: str, full_name: str, action: Action = "repo.read"
    ) -> Repository:
        """Return a repository with which the actor may do ``action``.

        Raises:
            RepositoryNotFound: there is none, or the actor may not read it.
            Forbidden: the actor may read it but not do that.
        """
        repo = self.find(repo_type, full_name)
        if repo is None:
            raise missing(repo_type, full_name)
        self.require(actor, repo, action)
        return repo

    def find(self, repo_type: str, full_name: str) -> Repository | None:
        """Return a repository without asking who wants it, or None."""
        parts = full_name.split("/")
        if len(parts) != 2 or not full_name.isascii():
            return None
        with self._hub.session() as session:
            return session.scalar(
                select(Repository)
                .join(Account, Account.id == Repository.namespace_id)
                .where(
                    Repository.type == repo_type,
                    Account.name_key == parts[0].lower(),
                    Repository.name_key == parts[1].lower(),
                )
            )

    def by_id(self, repository_id: int) -> Repository | None:
        """Return a repository by its id without asking who wants it, or None."""
        with self._hub.session() as session:
            return session.get(Repository, repository_id)

    def require(
        self,
        actor: Actor,
        repo: Repository,
        action: Action,
        discussion: Discussion | None = None,
    ) -> None:
        """Refuse unless ``actor`` may do ``action``.

        Raises:
            RepositoryNotFound: the actor may not even read the repository.
            DisabledRepository: the hub's administrators have closed it.
            GatedRepository: its files are for those whom its owners let in.
            Forbidden: the actor may read it but not do that.
        """
        resource = resource_of(repo, discussion)
        if can(actor, action, resource):
            return
        if not can(actor, "repo.read", resource):
            raise missing(repo.type, repo.full_name)
        if resource.disabled:
            raise DisabledRepository
        if resource.gated and action in GATED:
            let_in = replace(resource, accepted=True)
            if can(actor, action, let_in) and self._let_in(actor, repo):
                return
            if not actor.signed_in or can(actor, action, let_in):
                raise GatedRepository(
                    f"The files of {repo.type} '{repo.full_name}' are for those whom its owners "
                    f"let in. Ask for access at {self._hub.settings.url}"
                    f"/{'' if repo.type == 'model' else f'{repo.type}s/'}{repo.full_name} "
                    "and use a token of yours."
                )
        if not actor.signed_in:
            hint = "Use a token."
        elif actor.scope != "write":
            hint = f"The token goes no further than '{actor.scope}'; use one of scope 'write'."
        else:
            hint = "Ask a member with the role 'write', or open a pull request."
        raise Forbidden(f"You may not do this with {repo.type} '{repo.full_name}'. {hint}")

    def _let_in(self, actor: Actor, repo: Repository) -> bool:
        query = select(AccessRequest.id).where(
            AccessRequest.repository_id == repo.id,
            AccessRequest.user_id == actor.user_id,
            AccessRequest.status == "accepted",
        )
        with self._hub.session() as session:
            return session.scalar(query) is not None

    @staticmethod
    def readable(actor: Actor) -> ColumnElement[bool]:
        """Return the condition on `Repository` rows that the actor may read."""
        return readable(actor)

    def list(
        self,
        actor: Actor,
        repo_type: str | None = None,
        *,
        namespace: str | None = None,
        search: str | None = None,
        tags: Sequence[str] = (),
        sort: Sort = "updated",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """List repositories that the actor may read; newest first, or by name.

        Args:
            actor: whose view.
            repo_type: only this type.
            namespace: only of this user or organisation.
            search: words that must all occur in ``namespace/name``, in any case of letters.
            tags: tags of the card that must all be present.
            sort: by last change, by creation, or by name.
            limit: page size, at most 1000.
            cursor: from the page before.

        Raises:
            BadInput: the cursor is not one.
        """
        check_text("".join([search or "", namespace or "", *tags]), "The search", 10_000)
        query = select(Repository).join(Account, Account.id == Repository.namespace_id)
        query = query.where(readable(actor))
        if repo_type is not None:
            query = query.where(Repository.type == repo_type)
        if namespace is not None:
            query = query.where(Account.name_key == namespace.lower())
        for part in (search or "").lower().replace("/", " ").split()[:8]:
            query = query.where(
                or_(
                    Repository.name_key.contains(part, autoescape=True),
                    Account.name_key.contains(part, autoescape=True),
                )
            )
        for tag in tags:
            query = query.where(
                Repository.id.in_(
                    select(RepositoryTag.repository_id).where(RepositoryTag.tag == tag)
                )
            )
        limit = max(1, min(limit, MAX_PAGE))
        with self._hub.session() as session:
            found = list(session.scalars(_ordered(query, sort, cursor).limit(limit + 1)))
        more = len(found) > limit
        found = found[:limit]
        return Page(found, _cursor(found[-1], sort) if more else None)

    def update(self, actor: Actor, repo: Repository, *, private: bool | None = None) -> Repository:
        """Change a repository's settings and return it as it is then.

        Raises:
            Forbidden, RepositoryNotFound: the actor may not.
        """
        self.require(actor, repo, "repo.admin")
        with self._hub.session(write=True) as session:
            fresh = _fresh(session, repo)
            if private is not None:
                fresh.private = private
            return fresh

    def move(self, actor: Actor, repo: Repository, full_name: str) -> Repository:
        """Give a repository another name or owner and return it as it is then.

        Raises:
            BadInput: the name is not allowed.
            Forbidden, RepositoryNotFound: the actor may not do so here or there.
            Conflict: that name is taken.
        """
        self.require(actor, repo, "repo.admin")
        namespace_name, name = split_repository(full_name)
        namespace = self._hub.accounts.find(namespace_name)
        if namespace is None or not can(actor, "namespace.create", namespace):
            raise Forbidden(f"You may not create repositories under '{namespace_name}'.")
        try:
            with self._hub.session(write=True) as session:
                fresh = _fresh(session, repo)
                fresh.namespace_id, fresh.name, fresh.name_key = namespace.id, name, name.lower()
                session.flush()
                session.refresh(fresh, ["namespace"])
                return fresh
        except IntegrityError:
            raise Conflict(f"There is already a {repo.type} '{full_name}'.") from None

    def delete(self, actor: Actor, repo: Repository) -> None:
        """Remove a repository for good; blobs that only it used go with the next ``plait gc``.

        Raises:
            Forbidden, RepositoryNotFound: the actor may not.
        """
        self.require(actor, repo, "repo.admin")
        # The row first: from then on nobody sees the folder, whatever happens to it.
        with self._hub.session(write=True) as session:
            session.execute(delete(Repository).where(Repository.id == repo.id))
        self._hub.git.delete(repo)

    def refresh(self, repo: Repository) -> Repository:
        """Read main's card into the database after main moved, and return the record."""
        git = self._hub.git
        head = git.head(repo)
        card: dict[str, Any] = {}
        if head is not None:
            try:
                if git.entry(repo, head, README).size <= MAX_CARD:
                    card = read_head(git.read(repo, head, README).decode("utf-8", "replace"))
            except (EntryNotFound, BadInput):
                # No card, or one that cannot be read: shown as such, and no reason to refuse.
                card = {}
        with self._hub.session(write=True) as session:
            fresh = _fresh(session, repo)
            if fresh.head != head:
                fresh.updated_at = now()
            fresh.card, fresh.head = card, head
            session.execute(delete(RepositoryTag).where(RepositoryTag.repository_id == repo.id))
            session.add_all(
                RepositoryTag(repository_id=repo.id, tag=tag[:200])
                for tag in sorted({tag[:200] for tag in card_tags(card)})
            )
            return fresh


def _fresh(session: Session, repo: Repository) -> Repository:
    fresh = session.get(Repository, repo.id, with_for_update=True)
    if fresh is None:
        raise missing(repo.type, repo.full_name)
    return fresh


def _ordered(query: Select[Any], sort: Sort, cursor: str | None) -> Select[Any]:
    if sort == "name":
        keys: tuple[Any, ...] = (Account.name_key, Repository.name_key, Repository.id)
        if cursor is not None:
            query = query.where(tuple_(*keys) > tuple_(*_read_cursor(cursor, 3)))
        return query.order_by(*keys)
    column = Repository.updated_at if sort == "updated" else Repository.created_at
    if cursor is not None:
        when, number = _read_cursor(cursor, 2)
        moment = _moment(when)
        query = query.where(or_(column < moment, and_(column == moment, Repository.id < number)))
    return query.order_by(column.desc(), Repository.id.desc())


def _cursor(repo: Repository, sort: Sort) -> str:
    if sort == "name":
        values: list[Any] = [repo.namespace.name_key, repo.name_key, repo.id]
    else:
        when = repo.updated_at if sort == "updated" else repo.created_at
        values = [when.isoformat(), repo.id]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, length: int) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor[:1000] + "=="))
        if (
            isinstance(values, list)
            and len(values) == length
            and all(isinstance(value, str) for value in values[:-1])
            and type(values[-1]) is int
        ):
            return values
    except ValueError:
        pass
    raise BadInput("The cursor of this listing is not one that the hub gave. Start again.")


def _moment(text: str) -> datetime:
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
    if moment is None or moment.tzinfo is None:
        raise BadInput("The cursor of this listing is not one that the hub gave. Start again.")
    return moment
