# SPDX-License-Identifier: Apache-2.0
"""Asking for a pull request to be merged: text lands at once, weights become a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from plait.collaboration import events, jobs
from plait.collaboration.merging.changes import (
    Sides,
    driver_of,
    merge_paths,
    weight_files,
)
from plait.errors import BadInput, Conflict, EntryNotFound, PreconditionFailed
from plait.hub import Hub
from plait.hub.database import Discussion, Job, Repository
from plait.hub.git.store import Author
from plait.hub.permissions import Actor
from plait.hub.repositories.discussions import pull_ref
from plait.lineage import FILE as LINEAGE
from plait.lineage import Contribution, parse_lineage
from plait.recipes.project import FILE as PROJECT

CONFIG = "config.json"
TRIES = 5
"""How often a text merge is done anew because main moved meanwhile."""


@dataclass(frozen=True)
class MergeOutcome:
    """What came of the request: the commit that landed, or the job that will decide."""

    job: Job | None = None
    landed: str | None = None


MAX_LOOK = 2000
"""Commits among which a merge that was not recorded is looked for."""


def request_merge(
    hub: Hub, actor: Actor, repo: Repository, discussion: Discussion, comment: str = ""
) -> MergeOutcome:
    """Merge a pull request, or queue the job that does.

    A change of weights in a model that says in ``plait.yaml`` how it is judged is fused and judged
    by a job; anything else is merged here, as git does. Asking again while the job runs gives that
    job.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not merge here.
        BadInput: it is not a pull request, or a draft.
        Conflict: it is closed or merged, has nothing new, or contradicts main.
    """
    hub.repositories.require(actor, repo, "repo.merge", discussion)
    discussion = hub.discussions.get(repo, discussion.number)
    _check_open(discussion)
    for _ in range(TRIES):
        landed = _landed_before(hub, repo, discussion)
        if landed is not None:
            hub.discussions.mark_merged(actor, discussion, landed)
            return MergeOutcome(landed=landed)
        sides = _sides(hub, repo, discussion)
        paths = sides.changed()
        if needs_fusion(sides, paths):
            return _queue(hub, actor, repo, discussion, sides, comment)
        try:
            landed = _land_files(hub, actor, repo, discussion, sides, paths, comment)
        except PreconditionFailed:
            continue  # main moved between the look and the commit
        return MergeOutcome(landed=landed)
    raise Conflict("The branch keeps moving. Ask for the merge again in a moment.")


def needs_fusion(sides: Sides, paths: Sequence[str]) -> bool:
    """Tell whether the changed paths hold weights that this repository fuses."""
    weights = any(driver_of(path) in ("weights", "pickle") for path in paths)
    return weights and _fuses(sides)


def _fuses(sides: Sides) -> bool:
    """Tell whether the repository is a model whose weights are merged by fusing and judging."""
    if sides.repo.type != "model":
        return False
    read = sides.read
    return bool(
        PROJECT in sides.at_main
        and weight_files(sides.at_main, lambda path: read(sides.main, path))
        and weight_files(sides.at_fork, lambda path: read(sides.fork, path))
    )


def contributions(hub: Hub, repo: Repository) -> tuple[Contribution, ...]:
    """List what main was fused from; empty for a repository without lineage."""
    head = hub.git.head(repo)
    if head is None or repo.type != "model":
        return ()
    try:
        return parse_lineage(hub.git.read(repo, head, LINEAGE)).contributions
    except (EntryNotFound, BadInput):
        return ()


def merge_state(hub: Hub, repo: Repository, discussion: Discussion) -> dict[str, Any]:
    """Return what a client that waits for a merge asks: status, newest job, and its report."""
    job = jobs.latest(hub, discussion.id)
    report = events.latest_report(hub, discussion.id)
    if report is not None and job is not None and report["job"] != job.id:
        report = None  # an earlier attempt's; the newest has not come so far
    return {
        "status": discussion.status,
        "mergeCommitId": discussion.merge_commit,
        "job": describe_job(job) if job is not None else None,
        "report": report,
    }


def describe_job(job: Job) -> dict[str, Any]:
    """Return a job as clients see it; times are ISO 8601."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "stage": job.stage,
        "fraction": job.fraction,
        "error": job.error,
        "attempts": job.attempts,
        "cancel_requested": job.cancel_requested,
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
    }


def _check_open(discussion: Discussion) -> None:
    number = discussion.number
    if not discussion.is_pull_request:
        raise BadInput(f"Discussion {number} is not a pull request; there is nothing to merge.")
    if discussion.status == "draft":
        raise BadInput(
            f"Pull request {number} is a draft. Push its commits and open it "
            "(change_discussion_status(..., new_status='open')), then merge."
        )
    if discussion.status == "merged":
        raise Conflict(f"Pull request {number} is merged already.")
    if discussion.status != "open":
        raise Conflict(f"Pull request {number} is closed. Open it again, then merge.")


def _landed_before(hub: Hub, repo: Repository, discussion: Discussion) -> str | None:
    """Return the merge of a pull request that a killed process landed and did not record."""
    main = hub.git.head(repo, discussion.base_ref)
    head = hub.git.head(repo, pull_ref(discussion.number))
    if main is None or head is None or not hub.git.is_ancestor(repo, head, main):
        return None
    title = f"Merge pull request #{discussion.number}:"
    for info in hub.git.log(repo, main, MAX_LOOK):
        if info.parents[1:] == (head,) and info.title.startswith(title):
            return info.oid
    return None


def _sides(hub: Hub, repo: Repository, discussion: Discussion) -> Sides:
    number = discussion.number
    main = hub.git.head(repo, discussion.base_ref)
    head = hub.git.head(repo, pull_ref(number))
    if main is None or head is None:
        raise Conflict(f"Pull request {number} has lost its branch; it cannot be merged.")
    if hub.git.is_ancestor(repo, head, main):
        raise Conflict(f"Pull request {number} has no commit that main lacks; nothing to merge.")
    fork = hub.git.merge_base(repo, main, head)
    if fork is None:
        raise Conflict(f"Pull request {number} shares no history with main; it cannot be merged.")
    return Sides(hub, repo, fork, main, head)


def _queue(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    discussion: Discussion,
    sides: Sides,
    comment: str,
) -> MergeOutcome:
    if discussion.base_ref != "refs/heads/main":
        raise BadInput("Weights are fused into main alone; open the pull request against main.")
    key = f"merge:{repo.id}:{discussion.number}:{sides.head}:{sides.main}"
    with hub.session(write=True) as session:
        running = session.scalar(
            select(Job).where(
                Job.discussion_id == discussion.id,
                Job.kind == "merge",
                Job.state.in_(("queued", "running")),
            )
        )
        # A job takes main as it finds it, so one for an older main is the same request; one for
        # an older head of the pull request will notice and end.
        if running is not None and running.payload.get("head") == sides.head:
            return MergeOutcome(job=running)
        job = jobs.enqueue_in(
            session,
            "merge",
            {"number": discussion.number, "head": sides.head, "main": sides.main},
            repo=repo.id,
            discussion=discussion.id,
            requested_by=actor.user_id,
            key=key,
        )
    if comment.strip():
        hub.discussions.add_comment(actor, discussion, comment)
    who = f"**{actor.name}**" if actor.name else "The hub"
    events.say(
        hub,
        discussion,
        f"{who} asked for this to be merged. The weights are fused with everyone else's and "
        f"judged before anything lands; job {job.id} does it.",
        {"kind": "requested", "job": job.id, "head": sides.head},
    )
    return MergeOutcome(job=job)


def _land_files(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    discussion: Discussion,
    sides: Sides,
    paths: Sequence[str],
    comment: str,
) -> str:
    owned = [path for path in paths if driver_of(path, repo.type) == "hub"]
    if owned and LINEAGE in sides.at_main:
        raise Conflict(
            f"Pull request {discussion.number} changes {', '.join(owned)}, which the hub's own "
            "merges write. Take that out of it."
        )
    if CONFIG in paths and CONFIG in sides.at_head and CONFIG in sides.at_main and _fuses(sides):
        _check_config(sides, discussion.number)
    number = discussion.number
    message = f"Merge pull request #{number}: {discussion.title}"
    author = Author(actor.name or "plait")
    tree, _ = hub.git.merge_trees(repo, sides.main, sides.head)
    operations: tuple[Any, ...] = ()
    if tree is None:
        merged = merge_paths(sides, paths)
        if merged.conflicts:
            named = ", ".join(merged.conflicts[:10])
            raise Conflict(
                f"Pull request {number} and main both changed {named} in ways that contradict "
                "each other. Bring the pull request up to date with main and choose what holds."
            )
        operations = merged.operations
    update = hub.git.advance(
        repo,
        ref=discussion.base_ref,
        parent_oid=sides.main,
        parents=[sides.main, sides.head],
        expected=sides.main,
        operations=operations,
        tree=tree,
        message=message,
        author=author,
    )
    hub.references.moved(actor, repo, [update])
    oid = str(update.new)
    if comment.strip():
        hub.discussions.add_comment(actor, discussion, comment)
    if repo.type == "model" and any(driver_of(path) == "weights" for path in paths):
        why = (
            f"has no {PROJECT} that says how a fusion is judged"
            if PROJECT not in sides.at_main
            else "had no weights yet to fuse these with"
        )
        events.say(
            hub,
            discussion,
            f"Merged as files: this repository {why}, so the weights of the pull request stand "
            "at main as they are.",
            {"kind": "merged-as-files", "landed": oid},
        )
    hub.discussions.mark_merged(actor, discussion, oid)
    return oid


def _check_config(sides: Sides, number: int) -> None:
    """Refuse to change without judgement what main's weights mean."""
    from plait.collaboration.merging.material import check_config, parse_config

    title = f"Pull request {number}"
    before = parse_config(sides.read(sides.main, CONFIG), "main")
    check_config(before, parse_config(sides.read(sides.head, CONFIG), title), title)
