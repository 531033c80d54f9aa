# SPDX-License-Identifier: Apache-2.0
"""Discussions and pull requests, and what happened in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub.database import (
    Discussion,
    DiscussionEvent,
    DiscussionLabel,
    Label,
    Repository,
    now,
)
from plait.hub.names import check_branch, check_text
from plait.hub.notifications import forget
from plait.hub.permissions import Actor, can, resource_of

if TYPE_CHECKING:
    from plait.hub.facade import Hub

Status = Literal["draft", "open", "closed", "merged"]
MAX_TITLE = 400
_TOLD = {
    "comment": "discussion.comment",
    "status-change": "discussion.status",
    "title-change": "discussion.title",
}
"""What everybody is told when an event of a kind is added; of commits, that the ref moved."""
MAX_COMMENT = 2**18
HUB_NAME = "plait"
"""The author shown for what the hub itself did (its records have no author)."""


def pull_ref(number: int) -> str:
    """Return ``refs/pr/N``."""
    return f"refs/pr/{number}"


class Discussions:
    """The discussions and pull requests of one hub.

    Events carry, by type, in ``data``:
    ``comment``: ``raw``, ``edited``, ``hidden``, ``updatedAt``, ``history`` (list of ``raw`` and
    ``updatedAt``), and ``plait`` for what the hub itself attaches;
    ``status-change``: ``status``; ``title-change``: ``from``, ``to``; ``commit``: ``subject``,
    ``oid``; ``locked`` and ``unlocked``: nothing.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create(
        self,
        actor: Actor,
        repo: Repository,
        title: str,
        description: str = "",
        pull_request: bool = False,
        *,
        status: Status | None = None,
        base: str = "main",
        head: str | None = None,
    ) -> Discussion:
        """Start a discussion or a pull request.

        Args:
            actor: who starts it.
            repo: where.
            title: one line.
            description: becomes the first comment.
            pull_request: make ``refs/pr/N`` too.
            status: ``open``, or ``draft`` for a pull request without commits, if not given.
            base: the branch that a pull request is for.
            head: the commit that ``refs/pr/N`` starts at; the base's if not given.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not.
            BadInput: the title is empty or the text too long.
            RevisionNotFound: there is no such branch.
        """
        hub = self._hub
        hub.repositories.require(actor, repo, "repo.propose" if pull_request else "repo.discuss")
        title = _title(title)
        _text(description)
        base_ref = f"refs/heads/{check_branch(base)}"
        if pull_request:
            tip = hub.git.resolve(repo, base_ref)
            head = head or tip
            status = status or ("draft" if head == tip else "open")
        # The number is taken and the ref made while SQLite's write lock is held; the row is
        # committed last. A crash leaves at most a ref without a row, which the next discussion
        # of that number overwrites or removes.
        with hub.session(write=True) as session:
            fresh = session.get(Repository, repo.id, with_for_update={"of": Repository})
            if fresh is None:
                raise NotFound("The repository is gone.")
            number = fresh.next_discussion
            fresh.next_discussion = number + 1
            discussion = Discussion(
                repository_id=repo.id,
                number=number,
                title=title,
                author_id=actor.user_id,
                is_pull_request=pull_request,
                status=status or "open",
                base_ref=base_ref,
            )
            session.add(discussion)
            session.flush()
            self._event(session, discussion, actor, "comment", _comment(description), told=None)
            hub.events.record(session, actor, "discussion.create", repo=fresh, number=number)
            if pull_request and head is not None:
                hub.git.set_ref(repo, pull_ref(number), head)
                moved = {"ref": pull_ref(number), "old": None, "new": head}
                hub.events.record(session, actor, "ref.update", repo=fresh, updated=[moved])
            elif hub.git.head(repo, pull_ref(number)) is not None:
                hub.git.delete_ref(repo, pull_ref(number))
            session.refresh(discussion, ["author"])
        return discussion

    def get(self, repo: Repository, number: int) -> Discussion:
        """Return discussion ``number`` of a repository (whose reading the caller has checked).

        Raises:
            NotFound: there is none.
        """
        with self._hub.session() as session:
            found = session.scalar(
                select(Discussion).where(
                    Discussion.repository_id == repo.id, Discussion.number == number
                )
            )
        if found is None:
            raise NotFound(f"There is no discussion {number} in '{repo.full_name}'.")
        return found

    def events(self, discussion: Discussion) -> list[DiscussionEvent]:
        """List what happened, in order."""
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(DiscussionEvent)
                    .where(DiscussionEvent.discussion_id == discussion.id)
                    .order_by(DiscussionEvent.position)
                )
            )

    def list(
        self,
        repo: Repository,
        *,
        pull_request: bool | None = None,
        status: str | None = None,
        author: str | None = None,
        label: str | None = None,
        limit: int = 50,
        skip: int = 0,
    ) -> list[Discussion]:
        """List discussions, newest first; ``open`` includes drafts, ``closed`` merged."""
        query = self._filtered(select(Discussion), repo, pull_request, status, author, label)
        with self._hub.session() as session:
            return list(
                session.scalars(query.order_by(Discussion.number.desc()).limit(limit).offset(skip))
            )

    def count(
        self,
        repo: Repository,
        *,
        pull_request: bool | None = None,
        status: str | None = None,
        author: str | None = None,
        label: str | None = None,
    ) -> int:
        """Count what `list` would list."""
        query = self._filtered(
            select(func.count(Discussion.id)), repo, pull_request, status, author, label
        )
        with self._hub.session() as session:
            return session.scalar(query) or 0

    def _filtered(
        self,
        query: Any,
        repo: Repository,
        pull_request: bool | None,
        status: str | None,
        author: str | None,
        label: str | None,
    ) -> Any:
        query = query.where(Discussion.repository_id == repo.id)
        if pull_request is not None:
            query = query.where(Discussion.is_pull_request.is_(pull_request))
        if status in ("open", "closed"):
            names = ("open", "draft") if status == "open" else ("closed", "merged")
            query = query.where(Discussion.status.in_(names))
        elif status not in (None, "all"):
            raise BadInput(f"There is no status {status!a}. Use 'all', 'open' or 'closed'.")
        if author is not None:
            account = self._hub.accounts.find(author)
            query = query.where(Discussion.author_id == (account.id if account else -1))
        if label is not None:
            key = " ".join(label.split()).casefold()[:40]
            labelled = (
                select(DiscussionLabel.discussion_id)
                .join(Label, Label.id == DiscussionLabel.label_id)
                .where(Label.repository_id == repo.id, Label.name_key == key)
            )
            query = query.where(Discussion.id.in_(labelled))
        return query

    def add_comment(
        self,
        actor: Actor,
        discussion: Discussion,
        text: str,
        data: dict[str, Any] | None = None,
    ) -> DiscussionEvent:
        """Add a comment; the hub itself may attach ``data``, kept under ``plait``.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not, or the discussion is locked.
            BadInput: the text is empty or too long.
        """
        self._require(actor, discussion, "repo.discuss")
        self._require_open(actor, discussion)
        _text(text)
        if not text.strip() and data is None:
            raise BadInput("The comment is empty.")
        content = _comment(text)
        if data is not None:
            content["plait"] = data
        return self._add(discussion, actor, "comment", content)

    def set_status(
        self, actor: Actor, discussion: Discussion, status: str, comment: str | None = None
    ) -> DiscussionEvent:
        """Open or close; `mark_merged` is for merging.

        Raises:
            RepositoryNotFound, Forbidden: neither the author nor a writer.
            BadInput: no such status.
            Conflict: a merged pull request stays merged.
        """
        if status not in ("open", "closed", "draft"):
            raise BadInput(f"There is no status {status!a}. Use 'open' or 'closed'.")
        self._require(actor, discussion, "discussion.edit")
        self._require_open(actor, discussion)
        if status == "draft" and not discussion.is_pull_request:
            raise BadInput("Only a pull request can be a draft.")
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, discussion)
            if fresh.status == "merged":
                raise Conflict(f"Pull request {fresh.number} is merged and stays so.")
            if comment and comment.strip():
                _text(comment)
                self._event(session, fresh, actor, "comment", _comment(comment))
            fresh.status = discussion.status = status
            return self._event(session, fresh, actor, "status-change", {"status": status})

    def mark_merged(self, actor: Actor, discussion: Discussion, oid: str) -> DiscussionEvent:
        """Record that a pull request landed as commit ``oid``; doing it again is harmless."""
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, discussion)
            again = fresh.status == "merged"
            fresh.status = discussion.status = "merged"
            fresh.merge_commit = discussion.merge_commit = oid
            if again:
                found = session.scalar(
                    select(DiscussionEvent)
                    .where(
                        DiscussionEvent.discussion_id == fresh.id,
                        DiscussionEvent.type == "status-change",
                    )
                    .order_by(DiscussionEvent.position.desc())
                    .limit(1)
                )
                if found is not None:
                    return found
            return self._event(
                session,
                fresh,
                actor,
                "status-change",
                {"status": "merged", "oid": oid},
                told="pull.merge",
            )

    def rename(self, actor: Actor, discussion: Discussion, title: str) -> DiscussionEvent:
        """Change the title.

        Raises:
            RepositoryNotFound, Forbidden: neither the author nor a writer.
            BadInput: it is empty or too long.
        """
        self._require(actor, discussion, "discussion.edit")
        self._require_open(actor, discussion)
        title = _title(title)
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, discussion)
            before, fresh.title = fresh.title, title
            discussion.title = title
            return self._event(session, fresh, actor, "title-change", {"from": before, "to": title})

    def edit(
        self, actor: Actor, discussion: Discussion, event_id: str, text: str
    ) -> DiscussionEvent:
        """Change one's own comment; what it said before is kept.

        Raises:
            NotFound: no such comment.
            Forbidden: somebody else wrote it.
            BadInput: the text is empty or too long.
        """
        _text(text)
        if not text.strip():
            raise BadInput("The comment is empty.")
        with self._hub.session(write=True) as session:
            event = self._comment_event(session, actor, discussion, event_id, own=True)
            data = dict(event.data)
            if data.get("hidden"):
                raise Conflict("A hidden comment cannot be changed.")
            self._require_open(actor, discussion)
            data["history"] = [
                *data.get("history", []),
                {"raw": data.get("raw", ""), "updatedAt": data.get("updatedAt")},
            ][-50:]
            data.update(raw=text, edited=True, updatedAt=now().isoformat())
            event.data = data
            self._tell(session, actor, "discussion.edit", discussion, event)
            return event

    def hide(self, actor: Actor, discussion: Discussion, event_id: str) -> DiscussionEvent:
        """Hide a comment for good; its author or a writer may.

        Raises:
            NotFound: no such comment.
            Forbidden: neither.
        """
        with self._hub.session(write=True) as session:
            event = self._comment_event(session, actor, discussion, event_id, own=False)
            event.data = {
                **event.data,
                "raw": "This comment has been hidden",
                "hidden": True,
                "history": [],
                "updatedAt": now().isoformat(),
            }
            forget(session, discussion.id, event.id)
            self._tell(session, actor, "discussion.hide", discussion, event)
            return event

    def set_locked(self, actor: Actor, discussion: Discussion, locked: bool) -> None:
        """Let only those who may write to the repository go on with a discussion, or all again.

        Raises:
            RepositoryNotFound, Forbidden: the actor may not write to the repository.
        """
        repo = self.repository(discussion)
        self._hub.repositories.require(actor, repo, "repo.write")
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, discussion)
            if fresh.locked == locked:
                return
            fresh.locked = discussion.locked = locked
            kind = "locked" if locked else "unlocked"
            self._event(session, fresh, actor, kind, {}, told="discussion.lock")

    def note_commit(self, actor: Actor, discussion: Discussion, oid: str, subject: str) -> None:
        """Record that ``refs/pr/N`` moved."""
        self._add(discussion, actor, "commit", {"subject": subject[:400], "oid": oid})

    def repository(self, discussion: Discussion) -> Repository:
        """Return the repository of a discussion."""
        repo = self._hub.repositories.by_id(discussion.repository_id)
        if repo is None:
            raise NotFound("The repository is gone.")
        return repo

    def _require(
        self,
        actor: Actor,
        discussion: Discussion,
        action: Literal["repo.discuss", "discussion.edit"],
    ) -> None:
        self._hub.repositories.require(actor, self.repository(discussion), action, discussion)

    def may_continue(self, actor: Actor, discussion: Discussion) -> bool:
        """Tell whether the actor may comment here, as far as a lock decides it."""
        if not discussion.locked or actor.is_system:
            return True
        return can(actor, "repo.write", resource_of(self.repository(discussion)))

    def _require_open(self, actor: Actor, discussion: Discussion) -> None:
        if not self.may_continue(actor, discussion):
            raise Forbidden(
                f"Discussion {discussion.number} is locked: only those who may write to the "
                "repository go on with it."
            )

    def _comment_event(
        self, session: Session, actor: Actor, discussion: Discussion, event_id: str, *, own: bool
    ) -> DiscussionEvent:
        event = session.scalar(
            select(DiscussionEvent).where(
                DiscussionEvent.id == event_id,
                DiscussionEvent.discussion_id == discussion.id,
                DiscussionEvent.type == "comment",
            )
        )
        if event is None:
            raise NotFound(f"There is no comment {event_id[:40]!a} in this discussion.")
        repo = self.repository(discussion)
        self._hub.repositories.require(actor, repo, "repo.discuss")
        mine = actor.is_system or (event.author_id is not None and event.author_id == actor.user_id)
        if not mine:
            if own:
                raise Forbidden("Only its author may change a comment.")
            self._hub.repositories.require(actor, repo, "repo.write")
        return event

    def _fresh(self, session: Session, discussion: Discussion) -> Discussion:
        fresh = session.get(Discussion, discussion.id, with_for_update={"of": Discussion})
        if fresh is None:
            raise NotFound("The discussion is gone.")
        return fresh

    def _add(
        self, discussion: Discussion, actor: Actor, kind: str, data: dict[str, Any]
    ) -> DiscussionEvent:
        with self._hub.session(write=True) as session:
            return self._event(session, self._fresh(session, discussion), actor, kind, data)

    def _event(
        self,
        session: Session,
        discussion: Discussion,
        actor: Actor,
        kind: str,
        data: dict[str, Any],
        *,
        told: str | None = "",
    ) -> DiscussionEvent:
        """Add an event and tell of it: by its kind, as ``told``, or not at all (None)."""
        event = DiscussionEvent(
            discussion_id=discussion.id, type=kind, author_id=actor.user_id, data=data
        )
        discussion.updated_at = now()
        session.add(event)
        session.flush()
        session.refresh(event, ["author"])
        action = _TOLD.get(kind) if told == "" else told
        if action is not None:
            self._tell(session, actor, action, discussion, event)
        return event

    def _tell(
        self,
        session: Session,
        actor: Actor,
        action: str,
        discussion: Discussion,
        event: DiscussionEvent,
    ) -> None:
        details: dict[str, Any] = {"number": discussion.number}
        if event.type == "comment":
            details["event"] = event.id
        elif event.type == "status-change":
            details["status"] = event.data["status"]
            details |= {"commit": event.data["oid"]} if "oid" in event.data else {}
        repo = session.get(Repository, discussion.repository_id)
        self._hub.events.record(session, actor, action, repo=repo, **details)


def _comment(text: str) -> dict[str, Any]:
    return {
        "raw": text,
        "edited": False,
        "hidden": False,
        "updatedAt": now().isoformat(),
        "history": [],
    }


def _title(title: str) -> str:
    title = " ".join(title.split())
    if not title:
        raise BadInput("The title is empty. Say in a line what it is about.")
    return check_text(title, "The title", MAX_TITLE)


def _text(text: str) -> None:
    check_text(text, "The text", MAX_COMMENT)


__all__ = ["HUB_NAME", "Discussions", "Status", "pull_ref"]
