# SPDX-License-Identifier: Apache-2.0
"""Branches and tags, with the caller's rights checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plait.errors import BadInput, Conflict, RevisionNotFound
from plait.hub.database import Repository
from plait.hub.git.store import MAIN, Author, RefUpdate
from plait.hub.names import check_branch, check_tag, pull_number
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.hub.facade import Hub


class References:
    """The branches and tags of a hub's repositories."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def moved(self, actor: Actor, repo: Repository, updates: Sequence[RefUpdate]) -> None:
        """Tell everybody that refs moved, and bring what is listed of main up to date.

        To be called once for each change, right after git moved the refs. A process that is
        killed in between leaves the refs moved and the change untold.
        """
        updates = [update for update in updates if update.old != update.new]
        if not updates:
            return
        with self._hub.session(write=True) as session:
            self._hub.events.record(
                session,
                actor,
                "ref.update",
                repo=repo,
                updated=[{"ref": u.ref, "old": u.old, "new": u.new} for u in updates],
            )
        if any(update.ref == MAIN for update in updates):
            self._hub.repositories.refresh(repo)
        self._hub.previews.drop_stale(repo)

    def create_branch(
        self,
        actor: Actor,
        repo: Repository,
        name: str,
        starting_point: str | None = None,
        *,
        empty: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Make a branch at ``starting_point`` (main if not given).

        Args:
            actor: who makes it.
            repo: where.
            name: without ``refs/heads/``.
            starting_point: any revision.
            empty: begin with a commit without files and parents instead.
            overwrite: move the branch there if it exists.

        Raises:
            BadInput: the name is not allowed, or main would be overwritten.
            Conflict: it exists.
            RevisionNotFound: there is no such starting point.
        """
        git = self._hub.git
        self._hub.repositories.require(actor, repo, "repo.write")
        ref = f"refs/heads/{check_branch(name)}"
        self._hub.protection.require_push(actor, repo, ref)
        if overwrite and git.head(repo, ref) is not None:
            self._hub.protection.require_steady(repo, ref, "rewritten")
        if empty and starting_point:
            raise BadInput("An empty branch has no starting point. Leave one of the two out.")
        if overwrite and ref == MAIN:
            raise BadInput(f"Cannot overwrite {ref}. Commit to it, or squash its history.")
        if empty:
            author = Author(actor.name or "plait")
            oid = git.write_commit(
                repo, base=None, operations=[], message="initial commit", author=author, parents=[]
            )
        else:
            oid = git.resolve(repo, starting_point or "main")
        old = git.head(repo, ref) if overwrite else None
        git.set_ref(repo, ref, oid, expected=old)
        self.moved(actor, repo, [RefUpdate(ref, old, oid)])

    def delete_branch(self, actor: Actor, repo: Repository, name: str) -> None:
        """Remove a branch.

        Raises:
            BadInput: it is main.
            RevisionNotFound: there is none of that name.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        ref = f"refs/heads/{check_branch(name)}"
        if ref == MAIN:
            raise BadInput(f"Cannot delete {ref}")
        self._hub.protection.require_steady(repo, ref, "deleted")
        old = self._hub.git.delete_ref(repo, ref)
        self.moved(actor, repo, [RefUpdate(ref, old, None)])

    def create_tag(
        self,
        actor: Actor,
        repo: Repository,
        name: str,
        revision: str = "main",
        message: str | None = None,
    ) -> None:
        """Tag a revision, with a message or plainly.

        Raises:
            BadInput: the name is not allowed.
            Conflict: it exists.
            RevisionNotFound: there is no such revision.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        git = self._hub.git
        author = Author(actor.name or "plait")
        oid = git.resolve(repo, revision)
        git.create_tag(repo, check_tag(name), oid, message, author)
        self.moved(actor, repo, [RefUpdate(f"refs/tags/{name}", None, oid)])

    def delete_tag(self, actor: Actor, repo: Repository, name: str) -> None:
        """Remove a tag.

        Raises:
            RevisionNotFound: there is none of that name.
        """
        self._hub.repositories.require(actor, repo, "repo.write")
        ref = f"refs/tags/{check_tag(name)}"
        old = self._hub.git.delete_ref(repo, ref)
        self.moved(actor, repo, [RefUpdate(ref, old, None)])

    def super_squash(self, actor: Actor, repo: Repository, branch: str, message: str = "") -> str:
        """Replace a branch's history by one commit with its files; return the commit's id.

        ``branch`` may be ``refs/pr/N`` too: that pull request can then not be merged any more,
        because it shares no history with its base.

        Raises:
            RevisionNotFound: there is no such branch.
            Conflict: a pull request that is not finished starts from that history.
        """
        hub = self._hub
        if pull_number(branch) is not None:
            ref, _ = hub.commits.target(actor, repo, branch)
        else:
            hub.repositories.require(actor, repo, "repo.admin")
            ref = f"refs/heads/{check_branch(branch)}"
            hub.protection.require_steady(repo, ref, "squashed")
        head = hub.git.head(repo, ref)
        if head is None:
            raise RevisionNotFound(f"There is no branch {branch[:120]!a}.")
        if ref == MAIN and hub.discussions.list(repo, pull_request=True, status="open", limit=1):
            raise Conflict(
                "A pull request is open. Merge or close it before you squash main's history."
            )
        oid = hub.git.write_commit(
            repo,
            base=head,
            operations=[],
            message=message or "Super-squash history",
            author=Author(actor.name or "plait"),
            parents=[],
        )
        hub.git.set_ref(repo, ref, oid, expected=head)
        self.moved(actor, repo, [RefUpdate(ref, head, oid)])
        return oid
