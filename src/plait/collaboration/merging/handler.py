# SPDX-License-Identifier: Apache-2.0
"""The merge job: fuse, search, judge, credit, and land what passes.

Killed at any point it can be done again: until the branch moves nothing of it is visible, and once
it has moved main's lineage holds this contribution, which the next attempt sees first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.collaboration import events
from plait.collaboration.merging import files, standing
from plait.collaboration.merging.builder import Builder
from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.report import verdict_text
from plait.collaboration.merging.states import state_at
from plait.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from plait.hub import SYSTEM, Discussion, Hub, Repository
from plait.hub.database import Job
from plait.hub.repositories.discussions import pull_ref

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

TRIES = 3
"""How often the whole is done anew because main moved meanwhile."""


def run(context: JobContext) -> dict[str, Any] | None:
    """Do a merge job and return its report.

    Raises:
        PlaitError: why nothing landed, in a sentence for the discussion.
    """
    hub, job = context.hub, context.job
    repo, discussion = _records(hub, job)
    if job.payload.get("files"):
        return files.run(context, repo, discussion)
    for _ in range(TRIES):
        done = _landed_before(context, repo, discussion)
        if done is not None:
            return done
        sides = _sides(hub, repo, discussion, job)
        builder = Builder(context, repo, discussion, sides)
        built = builder.build()
        hub.previews.put(repo, discussion.number, builder.preview(built))
        if built.verdict != "passes" or job.payload.get("preview"):
            _post(hub, discussion, built.report)
            return built.report
        context.check()
        check_still_allowed(hub, job, repo, discussion)
        # What the successor needs if this process dies between the commit and the records.
        context.note(built.report)
        try:
            oid = builder.land(built)
        except PreconditionFailed:
            context.log("main moved meanwhile; doing the merge anew over what it is now")
            continue
        return _complete(hub, repo, discussion, {**built.report, "landed": oid}, oid, job)
    raise Conflict("main kept moving while this was merged. Ask for the merge again.")


def check_still_allowed(hub: Hub, job: Job, repo: Repository, discussion: Discussion) -> None:
    """Ask again, right before landing, whether whoever asked for the merge may have it.

    Raises:
        RepositoryNotFound, Forbidden: they may not merge here any more.
        Conflict: a review or a check that the branch asks for is missing by now.
    """
    if job.payload.get("system"):
        return  # the hub itself, or whoever runs it
    account = hub.accounts.by_id(job.requested_by) if job.requested_by is not None else None
    if account is None:
        raise Forbidden("Whoever asked for this is gone. Ask for it again.")
    actor = hub.accounts.actor_for(account)
    hub.repositories.require(actor, repo, "repo.merge", discussion)
    hub.protection.require_merge(actor, repo, hub.discussions.get(repo, discussion.number))


def progressed(hub: Hub, job: Job, fraction: float, stage: str) -> None:
    """Show in the discussion how far the merge is."""
    if job.discussion_id is not None:
        events.show_progress(hub, job.discussion_id, job.id, f"{fraction:.0%}, {stage}.")


def ended(hub: Hub, job: Job, reason: str) -> None:
    """Tell the discussion that its merge ended without a verdict, once."""
    if job.discussion_id is None:
        return
    events.show_progress(hub, job.discussion_id, job.id, "")
    if events.said(hub, job.discussion_id, "failed", job.id):
        return
    with hub.session() as session:
        discussion = session.get(Discussion, job.discussion_id)
    if discussion is None or discussion.status == "merged":
        return
    events.say(
        hub,
        discussion,
        f"**Not merged.** {reason}",
        {"kind": "failed", "job": job.id, "reason": reason},
    )


def _records(hub: Hub, job: Job) -> tuple[Repository, Discussion]:
    with hub.session() as session:
        repo = session.get(Repository, job.repository_id)
        discussion = session.get(Discussion, job.discussion_id)
    if repo is None or discussion is None:
        raise NotFound("The repository or pull request was deleted meanwhile.")
    return repo, discussion


def _landed_before(
    context: JobContext, repo: Repository, discussion: Discussion
) -> dict[str, Any] | None:
    """Complete what an earlier attempt landed; None if none did."""
    hub, job = context.hub, context.job
    fresh = hub.discussions.get(repo, discussion.number)
    main = hub.git.head(repo, fresh.base_ref)
    head = str(job.payload["head"])
    if fresh.status == "merged":
        return events.latest_report(hub, fresh.id) or job.result
    if main is None or not hub.git.is_ancestor(repo, head, main):
        return None
    lineage = state_at(hub, repo, main).lineage
    held = lineage.contribution(fresh.number) if lineage is not None else None
    if held is None or held.revision != head:
        raise Conflict("main holds the pull request's commits already; there is nothing to merge.")
    oid = _merge_commit(hub, repo, main, head)
    context.log(f"An earlier attempt landed {oid}; completing the records.")
    report = dict(job.result or {})
    report["landed"] = oid
    return _complete(hub, repo, fresh, report, oid, job)


def _merge_commit(hub: Hub, repo: Repository, main: str, head: str) -> str:
    for info in hub.git.log(repo, main, limit=1000):
        if len(info.parents) == 2 and info.parents[1] == head:
            return info.oid
    return main


def _sides(hub: Hub, repo: Repository, discussion: Discussion, job: Job) -> Sides:
    fresh = hub.discussions.get(repo, discussion.number)
    number = fresh.number
    if fresh.status != "open":
        raise Conflict(f"Pull request {number} was closed meanwhile.")
    main, head = hub.git.head(repo, fresh.base_ref), hub.git.head(repo, pull_ref(number))
    if main is None or head is None:
        raise Conflict(f"Pull request {number} has lost its branch.")
    if head != job.payload["head"]:
        # What was looked at and asked for is not what would be merged.
        raise Conflict(
            f"Pull request {number} changed after its merge was asked for. Look at it, then ask "
            "again."
        )
    fork = hub.git.merge_base(repo, main, head)
    if fork is None:
        raise Conflict(f"Pull request {number} shares no history with main.")
    return Sides(hub, repo, fork, main, head)


def _post(hub: Hub, discussion: Discussion, report: dict[str, Any]) -> None:
    events.show_progress(hub, discussion.id, int(report["job"]), "")
    if not events.said(hub, discussion.id, "verdict", report["job"]):
        events.say(hub, discussion, verdict_text(report), {"kind": "verdict", **report})


def _complete(
    hub: Hub,
    repo: Repository,
    discussion: Discussion,
    report: dict[str, Any],
    oid: str,
    job: Job,
) -> dict[str, Any]:
    """Bring the records up to the branch; each step can be done twice."""
    if report.get("tasks"):
        _post(hub, discussion, report)
    standing.record(hub, repo, report, oid)
    hub.discussions.mark_merged(SYSTEM, discussion, oid)
    hub.repositories.refresh(repo)
    return report
