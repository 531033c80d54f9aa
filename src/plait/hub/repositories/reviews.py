# SPDX-License-Identifier: Apache-2.0
"""Reviews of pull requests: who approved which commit, and whose approval counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from plait.errors import BadInput, Conflict, Forbidden
from plait.hub.database import Discussion, DiscussionEvent, Repository, Review, now
from plait.hub.permissions import Actor, can, resource_of

if TYPE_CHECKING:
    from plait.hub.facade import Hub

VERDICTS = ("approve", "reject")
_WORDS = {"approve": "Approved", "reject": "Asked for changes at"}


@dataclass(frozen=True)
class ReviewState:
    """A review, and whether it counts for the pull request as it is now."""

    reviewer: str
    verdict: str
    head: str
    dismissed: bool
    """The pull request has changed since."""
    counts: bool
    """It is of a maintainer who has no commit in the pull request, and not dismissed."""


class Reviews:
    """The reviews of one hub's pull requests."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def submit(
        self,
        actor: Actor,
        repo: Repository,
        discussion: Discussion,
        verdict: str,
        comment: str = "",
        head: str | None = None,
    ) -> Review:
        """Approve a pull request's newest commit, or ask for changes.

        Args:
            actor: anybody who may take part; only maintainers' reviews count.
            repo: where.
            discussion: the pull request.
            verdict: ``approve`` or ``reject``.
            comment: goes into the conversation.
            head: the commit that was looked at; refused if the newest is another by now.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not, or it is their own pull request.
            BadInput: no such verdict, or no pull request.
            Conflict: it is not open, or changed meanwhile.
        """
        hub = self._hub
        hub.repositories.require(actor, repo, "repo.discuss", discussion)
        if verdict not in VERDICTS:
            raise BadInput(f"There is no verdict {verdict[:40]!a}. Use 'approve' or 'reject'.")
        if not discussion.is_pull_request:
            raise BadInput(f"Discussion {discussion.number} is not a pull request.")
        discussion = hub.discussions.get(repo, discussion.number)
        if discussion.status not in ("open", "draft"):
            raise Conflict(f"Pull request {discussion.number} is {discussion.status}.")
        if actor.user_id is None or actor.user_id == discussion.author_id:
            raise Forbidden("Nobody reviews their own pull request. Ask somebody else.")
        newest = hub.git.resolve(repo, f"refs/pr/{discussion.number}")
        if head is not None and head != newest:
            raise Conflict(
                f"Pull request {discussion.number} changed meanwhile: it is at {newest[:10]} now. "
                "Look at it again."
            )
        with hub.session(write=True) as session:
            review = session.scalar(
                select(Review).where(
                    Review.discussion_id == discussion.id, Review.author_id == actor.user_id
                )
            )
            if review is None:
                review = Review(discussion_id=discussion.id, author_id=actor.user_id)
                session.add(review)
            review.verdict, review.head, review.created_at = verdict, newest, now()
            session.flush()
            hub.events.record(
                session,
                actor,
                "review.submit",
                repo=repo,
                number=discussion.number,
                verdict=verdict,
                head=newest,
            )
            session.refresh(review, ["author"])
        said = f"**{_WORDS[verdict]}** `{newest[:10]}`."
        text = f"{said}\n\n{comment}" if comment.strip() else said
        hub.discussions.add_comment(actor, discussion, text)
        return review

    def list(self, repo: Repository, discussion: Discussion) -> list[ReviewState]:
        """List the reviews of a pull request, newest last."""
        hub = self._hub
        head = hub.git.head(repo, f"refs/pr/{discussion.number}")
        with hub.session() as session:
            rows = list(
                session.scalars(
                    select(Review)
                    .where(Review.discussion_id == discussion.id)
                    .order_by(Review.created_at, Review.id)
                )
            )
            # Whoever pushed commits to it has a part in it, as its author has.
            involved = set(
                session.scalars(
                    select(DiscussionEvent.author_id)
                    .where(
                        DiscussionEvent.discussion_id == discussion.id,
                        DiscussionEvent.type == "commit",
                    )
                    .distinct()
                )
            ) | {discussion.author_id}
        return [
            ReviewState(
                row.author.name,
                row.verdict,
                row.head,
                dismissed=row.head != head,
                counts=row.head == head
                and row.author_id not in involved
                and can(hub.accounts.actor_for(row.author), "repo.merge", resource_of(repo)),
            )
            for row in rows
        ]
