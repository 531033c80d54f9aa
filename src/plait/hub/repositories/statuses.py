# SPDX-License-Identifier: Apache-2.0
"""Checks from outside: what a CI system says about a commit, in the form of GitHub's statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import func, select

from plait.errors import BadInput, Conflict
from plait.hub.database import CommitStatus, Repository
from plait.hub.names import check_text
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.hub.facade import Hub

STATES = ("pending", "success", "failure", "error")
DEFAULT_CONTEXT = "default"
MAX_CONTEXT = 200
MAX_DESCRIPTION = 400
MAX_URL = 2000
MOST = 1000
"""Statuses of one commit and context."""


class Statuses:
    """The commit statuses of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def post(
        self,
        actor: Actor,
        repo: Repository,
        revision: str,
        state: str,
        context: str = DEFAULT_CONTEXT,
        description: str = "",
        target_url: str = "",
    ) -> CommitStatus:
        """Say what a check found about a commit.

        Args:
            actor: must be able to write: whoever proposes something cannot vouch for it.
            repo: where.
            revision: the commit's id, or a revision that stands for it now.
            state: ``pending``, ``success``, ``failure`` or ``error``.
            context: which check.
            description: a line for people.
            target_url: where the check's own page is.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not.
            RevisionNotFound: there is no such commit.
            BadInput: a value is none that a status may have.
            Conflict: the check has said too much about this commit.
        """
        hub = self._hub
        hub.repositories.require(actor, repo, "repo.write")
        if state not in STATES:
            raise BadInput(f"There is no state {state[:40]!a}. Use one of {', '.join(STATES)}.")
        context = check_context(context)
        check_text(description, "The description", MAX_DESCRIPTION)
        check_text(target_url, "target_url", MAX_URL)
        if target_url and urlsplit(target_url).scheme not in ("http", "https"):
            raise BadInput("target_url must begin with http:// or https://.")
        sha = hub.git.resolve(repo, revision)
        with hub.session(write=True) as session:
            count = session.scalar(
                select(func.count(CommitStatus.id)).where(
                    CommitStatus.repository_id == repo.id,
                    CommitStatus.sha == sha,
                    CommitStatus.context == context,
                )
            )
            if (count or 0) >= MOST:
                raise Conflict(f"Commit {sha[:10]} has {MOST} statuses of '{context}' already.")
            status = CommitStatus(
                repository_id=repo.id,
                sha=sha,
                context=context,
                state=state,
                description=" ".join(description.split()),
                target_url=target_url,
                creator_id=actor.user_id,
            )
            session.add(status)
            session.flush()
            hub.events.record(
                session, actor, "status.create", repo=repo, sha=sha, context=context, state=state
            )
            session.refresh(status, ["creator"])
        return status

    def history(self, repo: Repository, sha: str, limit: int = 100) -> list[CommitStatus]:
        """List a commit's statuses, newest first."""
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(CommitStatus)
                    .where(CommitStatus.repository_id == repo.id, CommitStatus.sha == sha)
                    .order_by(CommitStatus.id.desc())
                    .limit(limit)
                )
            )

    def latest(self, repo: Repository, sha: str) -> list[CommitStatus]:
        """Return the newest status of each context of a commit, by context."""
        newest = (
            select(func.max(CommitStatus.id))
            .where(CommitStatus.repository_id == repo.id, CommitStatus.sha == sha)
            .group_by(CommitStatus.context)
        )
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(CommitStatus)
                    .where(CommitStatus.id.in_(newest))
                    .order_by(CommitStatus.context)
                )
            )


def combined(statuses: Sequence[CommitStatus]) -> str:
    """Return one state for a commit: failed if one failed, pending until all succeeded."""
    states = {one.state for one in statuses}
    if states & {"failure", "error"}:
        return "failure"
    return "success" if states == {"success"} else "pending"


def check_context(context: str) -> str:
    """Return the name of a check if it can be one.

    Raises:
        BadInput: it is empty, too long, or holds control characters.
    """
    context = check_text(context.strip(), "The context", MAX_CONTEXT)
    if not context or not context.isprintable():
        raise BadInput("The context is empty or not printable. Name the check, as 'ci/tests'.")
    return context
