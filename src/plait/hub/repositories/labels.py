# SPDX-License-Identifier: Apache-2.0
"""Labels that a repository's writers define and put on its discussions and pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, NotFound
from plait.hub.database import Discussion, DiscussionLabel, Label, Repository
from plait.hub.names import check_text
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Colour = Literal["grey", "red", "orange", "yellow", "green", "teal", "blue", "purple"]
COLOURS: tuple[str, ...] = get_args(Colour)
MAX_LABELS = 100
MAX_NAME = 40


class Labels:
    """The labels of one hub's repositories."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def list(self, repo: Repository) -> list[Label]:
        """List a repository's labels by name; whoever may read it may see them."""
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(Label).where(Label.repository_id == repo.id).order_by(Label.name_key)
                )
            )

    def of(self, discussions: Sequence[Discussion]) -> dict[int, Sequence[Label]]:
        """Return the labels on each of some discussions, by the discussion's id."""
        ids = [discussion.id for discussion in discussions]
        found: dict[int, list[Label]] = {number: [] for number in ids}
        with self._hub.session() as session:
            rows = session.execute(
                select(DiscussionLabel.discussion_id, Label)
                .join(Label, Label.id == DiscussionLabel.label_id)
                .where(DiscussionLabel.discussion_id.in_(ids))
                .order_by(Label.name_key)
            )
            for number, label in rows:
                found[number].append(label)
        return dict(found)

    def put(
        self,
        actor: Actor,
        repo: Repository,
        name: str,
        *,
        colour: str = "grey",
        description: str = "",
    ) -> Label:
        """Define a label, or change the one of that name.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not write to the repository.
            BadInput: the name or the colour is none.
            Conflict: the repository has as many labels as it may.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        name = _name(name)
        if colour not in COLOURS:
            raise BadInput(f"There is no colour {colour[:20]!a}. Use one of: {', '.join(COLOURS)}.")
        description = check_text(" ".join(description.split()), "A label's description", 200)
        with self._hub.session(write=True) as session:
            found = _find(session, repo, name)
            if found is None:
                count = session.scalar(
                    select(func.count()).select_from(Label).where(Label.repository_id == repo.id)
                )
                if (count or 0) >= MAX_LABELS:
                    raise Conflict(f"A repository may have {MAX_LABELS} labels. Remove one first.")
                found = Label(repository_id=repo.id)
                session.add(found)
            found.name, found.name_key = name, name.casefold()[:MAX_NAME]
            found.colour, found.description = colour, description
            session.flush()
            self._hub.events.record(session, actor, "label.put", repo=repo, label=name)
            return found

    def remove(self, actor: Actor, repo: Repository, name: str) -> None:
        """Remove a label, also from the discussions that have it.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not write to the repository.
            NotFound: there is no such label.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        with self._hub.session(write=True) as session:
            found = self._get(session, repo, name)
            session.delete(found)
            self._hub.events.record(session, actor, "label.remove", repo=repo, label=found.name)

    def assign(
        self, actor: Actor, repo: Repository, discussion: Discussion, names: Sequence[str]
    ) -> Sequence[Label]:
        """Let a discussion have exactly these labels.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not write to the repository.
            NotFound: the repository has no such label, or the discussion is not its own.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        if discussion.repository_id != repo.id:
            raise NotFound(f"There is no discussion {discussion.number} in '{repo.full_name}'.")
        with self._hub.session(write=True) as session:
            labels = {label.id: label for label in (self._get(session, repo, n) for n in names)}
            session.execute(
                delete(DiscussionLabel).where(DiscussionLabel.discussion_id == discussion.id)
            )
            for number in labels:
                session.add(DiscussionLabel(discussion_id=discussion.id, label_id=number))
            self._hub.events.record(
                session,
                actor,
                "discussion.labels",
                repo=repo,
                number=discussion.number,
                labels=sorted(label.name for label in labels.values()),
            )
            return sorted(labels.values(), key=lambda label: label.name_key)

    def _get(self, session: Session, repo: Repository, name: str) -> Label:
        found = _find(session, repo, name)
        if found is None:
            raise NotFound(f"'{repo.full_name}' has no label {name[:MAX_NAME]!a}.")
        return found


def _find(session: Session, repo: Repository, name: str) -> Label | None:
    key = " ".join(name.split()).casefold()[:MAX_NAME]
    return session.scalar(
        select(Label).where(Label.repository_id == repo.id, Label.name_key == key)
    )


def _name(text: str) -> str:
    name = check_text(" ".join(text.split()), "A label's name", MAX_NAME)
    if not name or "," in name:
        raise BadInput("A label needs a name without commas.")
    return name
