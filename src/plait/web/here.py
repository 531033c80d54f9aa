# SPDX-License-Identifier: Apache-2.0
"""A visit to one repository: its record, and what its page's head shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends

from plait.collaboration.graphs.copies import is_graph
from plait.errors import Forbidden, GatedRepository, RevisionNotFound
from plait.hub import Repository
from plait.web.visit import Visit, Visitor, repository_url

_PULL = re.compile(
    r"\A(refs/(?:(?:pr|preview)/[1-9][0-9]{0,8}|preview/queue))(?:/(.*))?\Z", re.DOTALL
)


@dataclass(frozen=True)
class ShownRef:
    """A branch or tag in the list of revisions."""

    name: str
    kind: str
    oid: str


class RepositoryView:
    """What the templates show of a repository everywhere."""

    def __init__(self, visit: Visit, record: Repository) -> None:
        self._visit = visit
        self._record = record
        self.type = record.type
        self.namespace = record.namespace.name
        self.name = record.name
        self.full_name = record.full_name
        self.private = record.private
        self.gated = record.gated
        self.disabled = record.disabled
        self.likes = record.likes
        self.url = repository_url(record.type, record.full_name)

    @cached_property
    def open_discussions(self) -> int:
        """How many discussions and pull requests are open."""
        return self._visit.hub.discussions.count(self._record, status="open")

    @cached_property
    def refs(self) -> Sequence[ShownRef]:
        """Branches and tags."""
        refs = self._visit.hub.git.refs(self._record)
        return [
            *(ShownRef(ref.name, "branch", ref.oid) for ref in refs.branches),
            *(ShownRef(ref.name, "tag", ref.oid) for ref in refs.tags),
        ]

    @cached_property
    def liked(self) -> bool:
        """Whether the visitor likes it."""
        actor = self._visit.actor
        return actor.signed_in and self._visit.hub.likes.likes(actor, self._record)

    @cached_property
    def holds_graph(self) -> bool:
        """Whether main holds a knowledge graph."""
        git = self._visit.hub.git
        head = git.head(self._record)
        return head is not None and is_graph(self._visit.hub, self._record, head)

    @cached_property
    def may_write(self) -> bool:
        """Whether the visitor may commit to its branches."""
        return self._visit.may("repo.write", self._record)

    @cached_property
    def may_admin(self) -> bool:
        """Whether the visitor may change its settings."""
        return self._visit.may("repo.admin", self._record)


class GateClosed(GatedRepository):
    """The visitor was not let through a repository's gate; the page says how to ask."""

    def __init__(self, at: Here, message: str) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True)
class Here:
    """The repository of the address, which the visitor may read."""

    visit: Visit
    record: Repository
    view: RepositoryView

    def files(self) -> Here:
        """Return this visit if the visitor may read what is in the files.

        Raises:
            GateClosed: the repository is gated, and the visitor was not let in.
            DisabledRepository: the hub's administrators have closed it.
        """
        try:
            self.visit.hub.repositories.require(self.visit.actor, self.record, "repo.files")
        except GatedRepository as error:
            raise GateClosed(self, error.message) from None
        return self

    @cached_property
    def sees_files(self) -> bool:
        """Tell whether the visitor may read what is in the files."""
        try:
            self.files()
        except Forbidden:
            return False
        return True

    def split(self, rest: str) -> tuple[str, str]:
        """Split ``revision/path`` of an address; branch names may hold slashes themselves."""
        found = _PULL.match(rest)
        if found:
            return found[1], (found[2] or "").strip("/")
        names = sorted((ref.name for ref in self.view.refs), key=len, reverse=True)
        for name in names:
            if rest == name or rest.startswith(f"{name}/"):
                return name, rest[len(name) :].strip("/")
        revision, _, path = rest.partition("/")
        return revision, path.strip("/")

    def resolve(self, revision: str) -> str:
        """Return the commit id of a revision.

        Raises:
            RevisionNotFound: there is none of that name.
        """
        if not revision:
            raise RevisionNotFound("Name a revision in the address.")
        return self.visit.hub.git.resolve(self.record, revision)

    def address(self, kind: str, revision: str, path: str = "") -> str:
        """Return the address of a file or folder at a revision."""
        base = f"{self.view.url}/{kind}/{quote(revision, safe='')}"
        return f"{base}/{quote(path)}" if path else base


def here_of(visit: Visitor, ns: str, name: str) -> Here:
    """Find the repository of the address.

    Raises:
        RepositoryNotFound: there is none, or the visitor may not read it.
    """
    first = visit.request.url.path.split("/", 2)[1]
    kind = {"datasets": "dataset", "spaces": "space"}.get(first, "model")
    record = visit.repository(kind, ns, name)
    return Here(visit, record, RepositoryView(visit, record))


def with_files(at: Annotated[Here, Depends(here_of)]) -> Here:
    """Find the repository of the address, the content of whose files the visitor may read."""
    return at.files()


At = Annotated[Here, Depends(here_of)]
InFiles = Annotated[Here, Depends(with_files)]
