# SPDX-License-Identifier: Apache-2.0
"""Repositories that change their name or owner, and the names that they had before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import Conflict, Forbidden, RepositoryNotFound
from plait.hub.database import Repository, RepositoryRedirect, Team
from plait.hub.names import split_repository
from plait.hub.permissions import Actor, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub


def move(hub: Hub, actor: Actor, repo: Repository, full_name: str) -> Repository:
    """Give a repository another name or owner and return it as it is then.

    Its old name leads to it from now on, until somebody makes another repository of that name.

    Raises:
        BadInput: the name is not allowed.
        Forbidden, RepositoryNotFound: the actor may not do so here or there.
        Conflict: that name is taken.
    """
    hub.repositories.require(actor, repo, "repo.admin")
    hub.protection.guard(actor, repo, "move")
    namespace_name, name = split_repository(full_name)
    namespace = hub.accounts.find(namespace_name)
    if namespace is None or not can(actor, "namespace.create", namespace):
        raise Forbidden(f"You may not create repositories under '{namespace_name}'.")
    try:
        with hub.session(write=True) as session:
            fresh = session.get(Repository, repo.id, with_for_update={"of": Repository})
            if fresh is None:
                raise RepositoryNotFound(f"The {repo.type} '{repo.full_name}' is gone.")
            before, old = fresh.full_name, (fresh.namespace.name_key, fresh.name_key)
            new = (namespace.name_key, name.lower())
            _leave_team(session, fresh, namespace.id)
            fresh.namespace_id, fresh.name, fresh.name_key = namespace.id, name, new[1]
            fresh.search_key = f"{new[0]}/{new[1]}"
            session.flush()
            session.refresh(fresh, ["namespace"])
            take_name(session, fresh.type, *new)
            if old != new:
                session.merge(
                    RepositoryRedirect(
                        type=fresh.type,
                        namespace_key=old[0],
                        name_key=old[1],
                        repository_id=fresh.id,
                    )
                )
            hub.events.record(session, actor, "repo.move", repo=fresh, from_name=before)
            return fresh
    except IntegrityError:
        # The words that the Hub's clients look for. They tell no more than `create` does: a
        # name in a namespace of one's own is taken or not.
        raise Conflict(f"A {repo.type} repository called {full_name} already exists") from None


def take_name(session: Session, repo_type: str, namespace_key: str, name_key: str) -> None:
    """End the redirect from a name, because a repository has it now."""
    session.execute(
        delete(RepositoryRedirect).where(
            RepositoryRedirect.type == repo_type,
            RepositoryRedirect.namespace_key == namespace_key,
            RepositoryRedirect.name_key == name_key,
        )
    )


def find_moved(hub: Hub, actor: Actor, repo_type: str, full_name: str) -> Repository | None:
    """Return the repository that once had this name, if the actor may read it."""
    parts = full_name.lower().split("/")
    if len(parts) != 2 or not full_name.isascii() or not full_name.isprintable():
        return None
    with hub.session() as session:
        found = session.scalar(
            select(Repository)
            .join(RepositoryRedirect, RepositoryRedirect.repository_id == Repository.id)
            .where(
                RepositoryRedirect.type == repo_type,
                RepositoryRedirect.namespace_key == parts[0],
                RepositoryRedirect.name_key == parts[1],
            )
        )
    # Whoever may not read it learns nothing, neither its new name nor that it exists.
    return found if found is not None and can(actor, "repo.read", found) else None


def _leave_team(session: Session, repo: Repository, namespace_id: int) -> None:
    """A team's repositories belong to the team's organisation."""
    if repo.team_id is not None:
        team = session.get(Team, repo.team_id)
        if team is None or team.organization_id != namespace_id:
            repo.team_id = None
