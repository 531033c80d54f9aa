# SPDX-License-Identifier: Apache-2.0
"""What repositories have to do with each other and with teams, read for a whole list at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from plait.hub.database import Account, Blob, BlobGrant, Repository, RepositoryTag, Team
from plait.hub.permissions import Actor, can
from plait.hub.repositories.facts import TAG_LENGTH, linked_term
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MAX_SPACES = 100
"""Spaces named for each model."""
_SLICE = 500


class Relations:
    """Answers for the repositories of one list, as one caller may see them."""

    def __init__(self, hub: Hub, actor: Actor) -> None:
        self._hub = hub
        self._actor = actor
        self._storage: dict[int, int] = {}
        self._teams: dict[int, dict[str, Any]] = {}
        self._children: dict[str, int] = {}
        self._spaces: dict[str, list[str]] = {}
        self._models: dict[str, dict[str, Any]] = {}

    def prepare(self, repos: Sequence[Repository], wanted: frozenset[str]) -> None:
        """Read what the wanted properties of these repositories need."""
        with self._hub.session() as session:
            if "usedStorage" in wanted:
                self._read_storage(session, [repo.id for repo in repos])
            if "resourceGroup" in wanted:
                self._read_teams(session, {repo.team_id for repo in repos if repo.team_id})
            if "childrenModelCount" in wanted:
                self._read_children(session, [r for r in repos if r.type == "model"])
            if "spaces" in wanted:
                self._read_spaces(session, [r for r in repos if r.type == "model"])
            if "baseModels" in wanted:
                names = {n for repo in repos for n in repo.facts.get("base_models", ())}
                self._read_models(session, names)

    def storage(self, repo: Repository) -> int:
        """Return the bytes of a repository's large files."""
        return self._storage.get(repo.id, 0)

    def team(self, repo: Repository) -> dict[str, Any] | None:
        """Return the team of a repository, for those who belong to its organisation."""
        if repo.team_id is None or not can(self._actor, "namespace.read", repo.namespace):
            return None
        return self._teams.get(repo.team_id)

    def children(self, repo: Repository) -> int:
        """Count the readable models that name this one as their base."""
        return self._children.get(repo.full_name, 0)

    def spaces(self, repo: Repository) -> list[str]:
        """List readable spaces that use a model."""
        return self._spaces.get(repo.full_name, [])

    def known_model(self, name: str) -> dict[str, Any]:
        """Return the id of a model, empty if there is none that the caller may read."""
        return self._models.get(name.lower(), {})

    def _read_storage(self, session: Session, ids: Sequence[int]) -> None:
        for part in _slices(ids):
            query = (
                select(BlobGrant.repository_id, func.sum(Blob.size))
                .join(Blob, Blob.sha256 == BlobGrant.sha256)
                .where(BlobGrant.repository_id.in_(part))
                .group_by(BlobGrant.repository_id)
            )
            self._storage.update({number: int(size) for number, size in session.execute(query)})

    def _read_teams(self, session: Session, ids: Iterable[int]) -> None:
        for part in _slices(sorted(ids)):
            for team in session.scalars(select(Team).where(Team.id.in_(part))):
                self._teams[team.id] = {"id": f"{team.id:024x}", "name": team.name}

    def _read_children(self, session: Session, repos: Sequence[Repository]) -> None:
        terms = {f"base_model:{repo.full_name}"[:TAG_LENGTH]: repo.full_name for repo in repos}
        for part in _slices(list(terms)):
            query = (
                select(RepositoryTag.tag, func.count())
                .join(Repository, Repository.id == RepositoryTag.repository_id)
                .where(
                    RepositoryTag.tag.in_(part),
                    Repository.type == "model",
                    readable(self._actor),
                )
                .group_by(RepositoryTag.tag)
            )
            for tag, number in session.execute(query):
                self._children[terms[tag]] = number

    def _read_spaces(self, session: Session, repos: Sequence[Repository]) -> None:
        terms = {linked_term("model", repo.full_name): repo.full_name for repo in repos}
        owner = aliased(Account)
        for part in _slices(list(terms)):
            query = (
                select(RepositoryTag.tag, owner.name, Repository.name)
                .join(Repository, Repository.id == RepositoryTag.repository_id)
                .join(owner, owner.id == Repository.namespace_id)
                .where(
                    RepositoryTag.tag.in_(part),
                    Repository.type == "space",
                    readable(self._actor),
                )
                .order_by(Repository.id)
                .limit(MAX_SPACES * len(part))
            )
            for tag, namespace, name in session.execute(query):
                found = self._spaces.setdefault(terms[tag], [])
                if len(found) < MAX_SPACES:
                    found.append(f"{namespace}/{name}")

    def _read_models(self, session: Session, names: Iterable[str]) -> None:
        for part in _slices(sorted({name.lower() for name in names})):
            query = select(Repository.search_key, Repository.id).where(
                Repository.type == "model",
                Repository.search_key.in_(part),
                readable(self._actor),
            )
            for key, number in session.execute(query):
                self._models[key] = {"_id": f"{number:024x}"}


def _slices(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), _SLICE):
        yield values[start : start + _SLICE]
