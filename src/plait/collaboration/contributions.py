# SPDX-License-Identifier: Apache-2.0
"""What a model's main was fused from: whose, when, what it gained; and taking one out again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from plait.collaboration import events, jobs
from plait.collaboration.merging import statements
from plait.collaboration.merging.card import read_card
from plait.collaboration.merging.changes import CARD
from plait.collaboration.merging.history import made_by
from plait.collaboration.merging.plan import everything
from plait.collaboration.merging.states import state_at
from plait.errors import Conflict, Forbidden, NotFound, PlaitError
from plait.hub import Actor, Discussion, Hub, Repository, can
from plait.hub.database import ContributionCredit, Job
from plait.hub.git.store import MAIN
from plait.hub.permissions import resource_of
from plait.lineage import Contribution, Lineage

KIND = "withdraw"
MAX_CARD = 2**20


@dataclass(frozen=True)
class Entry:
    """A contribution that main holds."""

    contribution: Contribution
    merged_at: datetime | None
    landed: str | None
    """The commit that merged it."""
    inside_base: bool
    """Whether later contributions were made from a state that holds it."""
    credit: ContributionCredit | None
    privacy: Mapping[str, Any] | None
    """What its card states under ``privacy``: epsilon and delta of differential privacy."""
    discussion: Discussion | None
    job: Job | None
    """The newest job that was to withdraw it."""


@dataclass(frozen=True)
class Taken:
    """A contribution that main held once."""

    number: int
    revision: str
    by: str
    at: str


@dataclass(frozen=True)
class Contributions:
    """All contributions of a model's main."""

    held: tuple[Entry, ...]
    withdrawn: tuple[Taken, ...]


def list_contributions(hub: Hub, repo: Repository) -> Contributions:
    """List what main was fused from, by pull request, and what was withdrawn.

    Nothing for a repository that no merge has fused, or whose weights were replaced by hand since.
    """
    lineage = _lineage(hub, repo)
    if lineage is None:
        return Contributions((), ())
    found, _ = everything(lineage, made_by(hub, repo))
    with hub.session() as session:
        discussions = {
            one.number: one
            for one in session.scalars(
                select(Discussion).where(
                    Discussion.repository_id == repo.id, Discussion.number.in_(sorted(found))
                )
            )
        }
        credits = {
            one.number: one
            for one in session.scalars(
                select(ContributionCredit).where(ContributionCredit.repository_id == repo.id)
            )
        }
        ids = [one.id for one in discussions.values()]
        newest = {
            job.discussion_id: job
            for job in session.scalars(
                select(Job).where(Job.discussion_id.in_(ids), Job.kind == KIND).order_by(Job.id)
            )
        }
    direct = {one.number for one in lineage.contributions}
    rows = []
    for number, one in sorted(found.items()):
        discussion = discussions.get(number)
        landed = discussion.merge_commit if discussion is not None else None
        rows.append(
            Entry(
                one,
                _date(hub, repo, landed),
                landed,
                number not in direct,
                credits.get(number),
                stated_privacy(hub, repo, one.revision),
                discussion,
                newest.get(discussion.id) if discussion is not None else None,
            )
        )
    gone = tuple(Taken(w.number, w.revision, w.by, w.at) for w in lineage.withdrawn)
    return Contributions(tuple(rows), gone)


def stated_privacy(hub: Hub, repo: Repository, revision: str) -> dict[str, float] | None:
    """Return what the card at a commit says of differential privacy, None if it says nothing."""
    try:
        if hub.git.entry(repo, revision, CARD).size > MAX_CARD:
            return None
        card = read_card(hub.git.read(repo, revision, CARD).decode("utf-8", "replace"))
    except PlaitError:
        return None
    return statements.stated_privacy(card.data) if card is not None else None


def may_withdraw(actor: Actor, repo: Repository, discussion: Discussion | None) -> bool:
    """Tell whether the actor may withdraw a contribution: whoever made it, and maintainers."""
    return can(actor, "repo.merge", repo) or (
        discussion is not None
        and actor.signed_in
        and discussion.author_id == actor.user_id
        and can(actor, "discussion.edit", resource_of(repo, discussion))
    )


def request_withdrawal(
    hub: Hub, actor: Actor, repo: Repository, number: int, *, anyway: bool = False
) -> Job:
    """Queue the job that takes a contribution out of main; asking again gives the same job.

    Args:
        hub: where.
        actor: the contribution's author, or a maintainer.
        repo: the model.
        number: the pull request that it came by.
        anyway: land it also if the gate finds that main regresses: a maintainer's decision.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not.
        NotFound: main holds no such contribution.
        Conflict: a withdrawal of it is under way on other terms.
    """
    hub.repositories.require(actor, repo, "repo.read")
    lineage = _lineage(hub, repo)
    held = everything(lineage, made_by(hub, repo))[0] if lineage is not None else {}
    if number not in held:
        raise NotFound(
            f"main of '{repo.full_name}' holds no contribution of pull request {number}. "
            f"`plait contributions {repo.full_name}` lists what it holds."
        )
    discussion = hub.discussions.get(repo, number)
    if not may_withdraw(actor, repo, discussion):
        raise Forbidden(
            f"Contribution {number} is {held[number].author}'s; they or a maintainer of "
            f"'{repo.full_name}' may withdraw it."
        )
    if anyway:
        hub.repositories.require(actor, repo, "repo.merge", discussion)
        hub.protection.require_merger(actor, repo, MAIN)
    with hub.session(write=True) as session:
        running = session.scalar(
            select(Job).where(
                Job.discussion_id == discussion.id,
                Job.kind == KIND,
                Job.state.in_(("queued", "running")),
            )
        )
        if running is not None:
            if bool(running.payload.get("anyway")) == anyway:
                return running
            raise Conflict(
                f"Job {running.id} withdraws it already, on other terms. Cancel it, then ask again."
            )
        job = jobs.enqueue_in(
            session,
            KIND,
            {"number": number, "anyway": anyway},
            repo=repo.id,
            discussion=discussion.id,
            requested_by=actor.user_id,
            key=f"{KIND}:{repo.id}:{number}",
        )
        hub.events.record(
            session, actor, "contribution.withdraw", repo=repo, number=number, anyway=anyway
        )
    decided = " They land it whatever the gate says." if anyway else ""
    events.say(
        hub,
        discussion,
        f"**{actor.name or 'The hub'}** asked for this contribution to be withdrawn.{decided} "
        f"main is fused without it and judged; job {job.id} does it.",
        {"kind": "withdrawal-requested", "job": job.id},
    )
    return job


def entry_json(entry: Entry, actor: Actor, repo: Repository) -> dict[str, Any]:
    """Return a contribution as clients see it."""
    one, credit = entry.contribution, entry.credit
    return {
        "number": one.number,
        "title": one.title,
        "author": one.author,
        "organisation": one.organisation,
        "revision": one.revision,
        "files": dict(one.files),
        "licence": one.licence,
        "base": one.base.revision if one.base is not None else None,
        "mergedAt": entry.merged_at.isoformat() if entry.merged_at else None,
        "mergeCommitId": entry.landed,
        "insideBase": entry.inside_base,
        "credit": None
        if credit is None
        else {"value": credit.value, "error": credit.error, "tasks": credit.tasks},
        "privacy": None if entry.privacy is None else dict(entry.privacy),
        "mayWithdraw": may_withdraw(actor, repo, entry.discussion),
    }


def _lineage(hub: Hub, repo: Repository) -> Lineage | None:
    head = hub.git.head(repo) if repo.type == "model" else None
    return state_at(hub, repo, head).fused if head is not None else None


def _date(hub: Hub, repo: Repository, oid: str | None) -> datetime | None:
    try:
        return hub.git.commit_info(repo, oid).date if oid is not None else None
    except PlaitError:
        return None
