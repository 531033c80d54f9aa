# SPDX-License-Identifier: Apache-2.0
"""Repositories: making, finding, listing, changing and removing them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import (
    BadInput,
    Conflict,
    DisabledRepository,
    Forbidden,
    GatedRepository,
    Moved,
    RepositoryNotFound,
)
from plait.hub.database import (
    AccessRequest,
    Account,
    Discussion,
    Repository,
    RepositoryTag,
    Team,
    now,
)
from plait.hub.git.store import Author
from plait.hub.names import check_repository_type, split_repository
from plait.hub.permissions import GATED, Action, Actor, can, resource_of
from plait.hub.repositories import duplicates, facts, listing, moves
from plait.hub.repositories.listing import Filters, Page, Sort
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Gate = Literal["", "auto", "manual"]
_RETRIES = 5
KEPT_SECONDS = 60.0


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
        self._tags: dict[str, tuple[float, dict[str, int]]] = {}

    def create(
        self,
        actor: Actor,
        repo_type: str,
        full_name: str,
        private: bool = False,
        *,
        team_id: int | None = None,
        sdk: str | None = None,
    ) -> Repository:
        """Make a repository with one commit on main.

        Args:
            actor: who makes it.
            repo_type: ``model``, ``dataset`` or ``space``.
            full_name: ``namespace/name``.
            private: whether only those with a role see it.
            team_id: the organisation's team that it belongs to.
            sdk: what a space is made with, until its card says so.

        Raises:
            BadInput: the type or name is not allowed, or there is no such team.
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
                    search_key=f"{namespace.name_key}/{name.lower()}",
                    private=private,
                    team_id=self.team_for(session, actor, namespace.id, team_id),
                    created_by=actor.user_id,
                    created_with=actor.token_id,
                    card={},
                    facts={"sdk": sdk, "tags": [sdk]} if sdk else {},
                )
                session.add(repo)
                session.flush()
                moves.take_name(session, repo_type, namespace.name_key, repo.name_key)
                repo.head = hub.git.create(repo, Author(actor.name or "plait"))
                session.refresh(repo, ["namespace"])
                hub.events.record(session, actor, "repo.create", repo=repo)
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
            Moved: it has another name now.
            Forbidden: the actor may read it but not do that.
        """
        repo = self.find(repo_type, full_name)
        if repo is None:
            moved = moves.find_moved(self._hub, actor, repo_type, full_name)
            if moved is not None:
                raise Moved(repo_type, full_name, moved.full_name)
            raise missing(repo_type, full_name)
        self.require(actor, repo, action)
        return repo

    def find(self, repo_type: str, full_name: str) -> Repository | None:
        """Return a repository without asking who wants it, or None."""
        parts = full_name.split("/")
        if len(parts) != 2 or not full_name.isascii() or not full_name.isprintable():
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
        search: str | Sequence[str] | None = None,
        tags: Sequence[str | Sequence[str]] = (),
        gated: bool | None = None,
        parameters: tuple[int | None, int | None] = (None, None),
        sort: Sort = "updated",
        reverse: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """List repositories that the actor may read; the newest, most liked, … first.

        Args:
            actor: whose view.
            repo_type: only this type.
            namespace: only of this user or organisation.
            search: words that must all occur in ``namespace/name``, in any case of letters.
            tags: tags that must all be present; of several given as one item, any.
            gated: only gated ones, or only others.
            parameters: at least and at most so many numbers in its safetensors files.
            sort: by last change, creation, likes, downloads, trend or name.
            reverse: the other way round.
            limit: page size, at most 1000.
            cursor: from the page before.

        Raises:
            BadInput: a filter is too long, or the cursor is not one.
            TooManyRequests: a stranger searches too often.
        """
        if search:
            self._hub.limits.spend("search", actor)
        filters = Filters(repo_type, namespace, search, tags, gated, parameters)
        with self._hub.session() as session:
            return listing.page(
                session,
                actor,
                filters,
                sort=sort,
                reverse=reverse,
                limit=limit,
                cursor=cursor,
            )

    def count(
        self,
        actor: Actor,
        repo_type: str | None = None,
        *,
        namespace: str | None = None,
        search: str | Sequence[str] | None = None,
        tags: Sequence[str | Sequence[str]] = (),
        gated: bool | None = None,
        parameters: tuple[int | None, int | None] = (None, None),
    ) -> int:
        """Count what `list` would list."""
        filters = Filters(repo_type, namespace, search, tags, gated, parameters)
        with self._hub.session() as session:
            return listing.count(session, actor, filters)

    def public_tags(self, repo_type: str) -> dict[str, int]:
        """Count the tags of public repositories of a type; what was counted is kept a minute."""
        kept = self._tags.get(repo_type)
        if kept is None or time.monotonic() - kept[0] > KEPT_SECONDS:
            with self._hub.session() as session:
                kept = time.monotonic(), listing.public_tags(session, repo_type)
            self._tags[repo_type] = kept
        return kept[1]

    def update(
        self,
        actor: Actor,
        repo: Repository,
        *,
        private: bool | None = None,
        gated: Gate | None = None,
        team_id: int | None = 0,
        disabled: bool | None = None,
    ) -> Repository:
        """Change a repository's settings and return it as it is then.

        Args:
            actor: who changes them.
            repo: which repository.
            private: whether only those with a role see it.
            gated: ``auto`` or ``manual``: its files are for those who ask; empty: for all readers.
            team_id: the organisation's team that it belongs to; None for none, 0 to leave it.
            disabled: close it, or open it again; for the hub's administrators.

        Raises:
            Forbidden, RepositoryNotFound: the actor may not.
            BadInput: there is no such team.
        """
        self.require(actor, repo, "repo.admin")
        if team_id != 0:
            self._hub.protection.guard(actor, repo, "change the team of")
        if disabled is not None and not can(actor, "hub.admin"):
            raise Forbidden("Only the hub's administrators may close or reopen a repository.")
        with self._hub.session(write=True) as session:
            fresh = _fresh(session, repo)
            wanted: dict[str, Any] = {"private": private, "gated": gated, "disabled": disabled}
            if team_id != 0:
                wanted["team_id"] = self.team_for(session, actor, fresh.namespace_id, team_id)
            changed = {
                name: value
                for name, value in wanted.items()
                if (value is not None or name == "team_id") and value != getattr(fresh, name)
            }
            for name, value in changed.items():
                setattr(fresh, name, value)
            if changed:
                self._hub.events.record(session, actor, "repo.settings", repo=fresh, **changed)
            return fresh

    def move(self, actor: Actor, repo: Repository, full_name: str) -> Repository:
        """Give a repository another name or owner; see `plait.hub.repositories.moves.move`."""
        return moves.move(self._hub, actor, repo, full_name)

    def duplicate(
        self,
        actor: Actor,
        source: Repository,
        full_name: str,
        *,
        private: bool | None = None,
        team_id: int | None = None,
    ) -> Repository:
        """Copy a whole repository; see `plait.hub.repositories.duplicates.duplicate`."""
        return duplicates.duplicate(
            self._hub, actor, source, full_name, private=private, team_id=team_id
        )

    @staticmethod
    def team_for(
        session: Session, actor: Actor, namespace_id: int, team_id: int | None
    ) -> int | None:
        """Return the team's id if the actor may put the namespace's repositories into it.

        Raises:
            BadInput: there is no such team that the actor knows.
        """
        if team_id is None:
            return None
        team = session.get(Team, team_id)
        known = actor.is_system or actor.is_admin or actor.role_in(namespace_id) == "admin"
        if (
            team is None
            or team.organization_id != namespace_id
            or not (known or team_id in actor.teams)
        ):
            raise BadInput("There is no such team in this organisation that you belong to.")
        return team_id

    def delete(self, actor: Actor, repo: Repository) -> None:
        """Remove a repository for good; blobs that only it used go with the next ``plait gc``.

        Raises:
            Forbidden, RepositoryNotFound: the actor may not.
        """
        self.require(actor, repo, "repo.admin")
        self._hub.protection.guard(actor, repo, "delete")
        # The row first: from then on nobody sees the folder, whatever happens to it.
        with self._hub.session(write=True) as session:
            fresh = _fresh(session, repo)
            self._hub.events.record(session, actor, "repo.delete", repo=fresh)
            session.execute(delete(Repository).where(Repository.id == repo.id))
        self._hub.git.delete(repo)

    def refresh(self, repo: Repository) -> Repository:
        """Read what main's files say into the database, and return the record.

        To be called after main moved. Whoever calls it last leaves what the newest main says.
        """
        hub = self._hub
        fresh = repo
        for _ in range(_RETRIES):
            head = hub.git.head(repo)
            found = facts.Found() if head is None else facts.read(hub, repo, head, repo.facts)
            with hub.session(write=True) as session:
                fresh = _fresh(session, repo)
                if fresh.head != head:
                    fresh.updated_at = now()
                fresh.card, fresh.head, fresh.facts = found.card, head, found.facts
                fresh.parameters = found.parameters
                _replace_terms(session, fresh, found.terms)
            if hub.git.head(repo) == head:
                break
        return fresh


def _replace_terms(session: Session, repo: Repository, terms: frozenset[str]) -> None:
    mine = RepositoryTag.repository_id == repo.id
    before = frozenset(session.scalars(select(RepositoryTag.tag).where(mine)))
    gone = sorted(before - terms)
    for start in range(0, len(gone), 500):
        part = gone[start : start + 500]
        session.execute(delete(RepositoryTag).where(mine, RepositoryTag.tag.in_(part)))
    session.add_all(
        RepositoryTag(repository_id=repo.id, tag=term) for term in sorted(terms - before)
    )


def _fresh(session: Session, repo: Repository) -> Repository:
    fresh = session.get(Repository, repo.id, with_for_update={"of": Repository})
    if fresh is None:
        raise missing(repo.type, repo.full_name)
    return fresh


__all__ = ["Filters", "Page", "Repositories", "Sort", "missing"]
