# SPDX-License-Identifier: Apache-2.0
"""Candidates of pull requests as revisions: ``refs/preview/N`` is what merging N would land.

``refs/preview/queue`` is what the set would land that the merge queue proposed last.

The commit's parents say which main and which head of the pull request it was made from; when
either is another by now, or the pull request is not open any more, the preview goes. It is not
``refs/pr/N/merge``: beside ``refs/pr/N`` git has no room for that name, and neither has the folder
in which the stock client keeps what it downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from plait.errors import PlaitError, RevisionNotFound
from plait.hub.database import Discussion, Repository
from plait.hub.git.objects import MAIN, ref_commit

if TYPE_CHECKING:
    from plait.hub.facade import Hub

PREFIX = "refs/preview/"
QUEUE = f"{PREFIX}queue"
_REF = re.compile(r"\Arefs/preview/([1-9][0-9]{0,8})\Z")


@dataclass(frozen=True)
class Preview:
    """A candidate that can be downloaded before it lands."""

    number: int
    revision: str
    oid: str
    main: str
    head: str


@dataclass(frozen=True)
class QueuePreview:
    """The candidate of a set that the merge queue proposed."""

    revision: str
    oid: str
    main: str
    heads: Mapping[int, str]
    """The pull requests that it holds, by number."""


def preview_ref(number: int) -> str:
    """Return ``refs/preview/N``."""
    return f"{PREFIX}{number}"


class Previews:
    """The previews of one hub's pull requests."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def put(self, repo: Repository, number: int, oid: str) -> Preview | None:
        """Make a commit the preview of a pull request, in place of an earlier one.

        Returns None if main or the pull request moved meanwhile: then it would show nothing that
        could still land.
        """
        self._hub.git.set_ref(repo, preview_ref(number), oid)
        self.drop_stale(repo)
        return self.get(repo, number)

    def get(self, repo: Repository, number: int) -> Preview | None:
        """Return the preview of a pull request as main and its head are now, or None."""
        git = self._hub.git
        oid = git.head(repo, preview_ref(number))
        if oid is None:
            return None
        parents = git.commit_info(repo, oid).parents
        with self._hub.session() as session:
            discussion = session.scalar(
                select(Discussion).where(
                    Discussion.repository_id == repo.id, Discussion.number == number
                )
            )
        if discussion is None or discussion.status not in ("open", "draft"):
            return None
        main, head = git.head(repo, discussion.base_ref), git.head(repo, f"refs/pr/{number}")
        if main is None or head is None or parents != (main, head):
            return None
        return Preview(number, preview_ref(number), oid, main, head)

    def put_queue(self, repo: Repository, oid: str) -> QueuePreview | None:
        """Make a commit the preview of the queue's proposal, in place of an earlier one.

        Returns None if main or a pull request of it moved meanwhile.
        """
        self._hub.git.set_ref(repo, QUEUE, oid)
        self.drop_stale(repo)
        return self.get_queue(repo)

    def get_queue(self, repo: Repository) -> QueuePreview | None:
        """Return the preview of the queue's proposal as main and its heads are now, or None."""
        git = self._hub.git
        oid = git.head(repo, QUEUE)
        if oid is None:
            return None
        parents = git.commit_info(repo, oid).parents
        if not parents or parents[0] != git.head(repo, MAIN):
            return None
        with self._hub.session() as session:
            numbers = session.scalars(
                select(Discussion.number).where(
                    Discussion.repository_id == repo.id,
                    Discussion.is_pull_request,
                    Discussion.status == "open",
                )
            ).all()
        opened = {git.head(repo, f"refs/pr/{number}"): number for number in numbers}
        if any(head not in opened for head in parents[1:]):
            return None
        return QueuePreview(QUEUE, oid, parents[0], {opened[head]: head for head in parents[1:]})

    def drop_stale(self, repo: Repository, *, dry_run: bool = False) -> list[str]:
        """Remove previews of what cannot land as it was built, and return their refs."""
        git = self._hub.git
        gone = []
        opened = git.open(repo)
        for name in [ref for ref in opened.references if ref.startswith(PREFIX)]:
            found = _REF.match(name)
            if ref_commit(opened, name) is not None and (
                self.get_queue(repo) if name == QUEUE else found and self.get(repo, int(found[1]))
            ):
                continue
            gone.append(name)
            if not dry_run:
                try:
                    git.delete_ref(repo, name)
                except RevisionNotFound:
                    continue  # somebody else was faster
                except PlaitError:
                    gone.pop()
        return gone
