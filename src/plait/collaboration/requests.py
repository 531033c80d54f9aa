# SPDX-License-Identifier: Apache-2.0
"""Asking for a pull request to be merged: text lands at once, weights become a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from plait.collaboration import events, jobs
from plait.collaboration.merging import files, landing, licensing
from plait.collaboration.merging.changes import (
    Sides,
    are_large,
    driver_of,
    weight_files,
)
from plait.errors import BadInput, Conflict, EntryNotFound, PreconditionFailed
from plait.hub import Hub
from plait.hub.database import Discussion, Job, Repository
from plait.hub.git.previews import preview_ref
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
    hub.protection.require_merge(actor, repo, discussion)
    for _ in range(TRIES):
        landed = _landed_before(hub, repo, discussion)
        if landed is not None:
            hub.discussions.mark_merged(actor, discussion, landed)
            return MergeOutcome(landed=landed)
        sides = _sides(hub, repo, discussion)
        licensing.require(hub, discussion, sides, contributions(hub, repo))
        paths = sides.changed()
        if needs_fusion(sides, paths):
            return _queue(hub, actor, repo, discussion, sides, comment)
        if are_large(sides, paths):
            job = files.queue(hub, actor, repo, discussion, sides, comment)
            return MergeOutcome(job=job)
        try:
            landed = _land_files(hub, actor, repo, discussion, sides, paths, comment)
        except PreconditionFailed:
            continue  # main moved between the look and the commit
        return MergeOutcome(landed=landed)
    raise Conflict("The branch keeps moving. Ask for the merge again in a moment.")


def land_now(
    hub: Hub, actor: Actor, repo: Repository, discussion: Discussion, check: Callable[[], None]
) -> str:
    """Merge a pull request's files within this process, however large; return the landing.

    Raises:
        PlaitError: as `request_merge`.
    """
    for _ in range(TRIES):
        discussion = hub.discussions.get(repo, discussion.number)
        landed = _landed_before(hub, repo, discussion)
        if landed is None:
            _check_open(discussion)
            sides = _sides(hub, repo, discussion)
            try:
                return _land_files(
                    hub, actor, repo, discussion, sides, sides.changed(), "", check=check
                )
            except PreconditionFailed:
                continue
        hub.discussions.mark_merged(actor, discussion, landed)
        return landed
    raise Conflict("The branch keeps moving. Ask for the merge again in a moment.")


def request_preview(
    hub: Hub, actor: Actor, repo: Repository, discussion: Discussion
) -> MergeOutcome:
    """Queue the job that builds and judges what merging would land, and lands nothing.

    The candidate is the revision ``refs/preview/N`` then. It costs what a merge costs and asks
    hidden test sets once, so that only those who may merge can ask for it.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not merge here.
        BadInput: it is not a pull request, or changes no weights that are fused.
        Conflict: as for `request_merge`.
    """
    hub.repositories.require(actor, repo, "repo.merge", discussion)
    discussion = hub.discussions.get(repo, discussion.number)
    _check_open(discussion)
    sides = _sides(hub, repo, discussion)
    licensing.require(hub, discussion, sides, contributions(hub, repo))
    if not needs_fusion(sides, sides.changed()):
        raise BadInput(
            f"Pull request {discussion.number} changes no weights that are fused: its files are "
            f"at refs/pr/{discussion.number} as they would be merged."
        )
    return _queue(hub, actor, repo, discussion, sides, "", preview=True)


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
        "preview": describe_preview(hub, repo, discussion),
    }


def describe_preview(hub: Hub, repo: Repository, discussion: Discussion) -> dict[str, Any] | None:
    """Return the revision at which a pull request's candidate can be had before it lands."""
    found = hub.previews.get(repo, discussion.number)
    if found is None:
        return None
    return {
        "revision": found.revision,
        "commitId": found.oid,
        "main": found.main,
        "head": found.head,
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
        "priority": job.priority,
        "cpu_seconds": round(job.cpu_seconds or 0.0, 2),
        "gpu_seconds": round(job.gpu_seconds or 0.0, 2),
        "bytes_written": job.bytes_written or 0,
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
    *,
    preview: bool = False,
) -> MergeOutcome:
    if discussion.base_ref != "refs/heads/main":
        raise BadInput("Weights are fused into main alone; open the pull request against main.")
    what = "preview" if preview else "merge"
    key = f"{what}:{repo.id}:{discussion.number}:{sides.head}:{sides.main}"
    with hub.session(write=True) as session:
        running = session.scalar(
            select(Job)
            .where(
                Job.discussion_id == discussion.id,
                Job.kind == "merge",
                Job.state.in_(("queued", "running")),
            )
            .order_by(Job.id.desc())
            .limit(1)
        )
        # A job takes main as it finds it, so one for an older main is the same request; one for
        # an older head of the pull request will notice and end.
        if (
            running is not None
            and running.payload.get("head") == sides.head
            and (preview or not running.payload.get("preview"))
        ):
            return MergeOutcome(job=running)
        job = jobs.enqueue_in(
            session,
            "merge",
            {
                "number": discussion.number,
                "head": sides.head,
                "main": sides.main,
                **({"preview": True} if preview else {}),
                **({"system": True} if actor.is_system else {}),
            },
            repo=repo.id,
            discussion=discussion.id,
            requested_by=actor.user_id,
            key=key,
        )
    if comment.strip():
        hub.discussions.add_comment(actor, discussion, comment)
    who = f"**{actor.name}**" if actor.name else "The hub"
    asked = (
        "asked for a preview. The weights are fused with everyone else's and judged; nothing "
        f"lands. The candidate will be at {preview_ref(discussion.number)};"
        if preview
        else "asked for this to be merged. The weights are fused with everyone else's and "
        "judged before anything lands;"
    )
    events.say(
        hub,
        discussion,
        f"{who} {asked} job {job.id} does it.",
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
    *,
    check: Callable[[], None] = lambda: None,
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
    tree, operations, notes = files.merge_files(sides, paths, number, check)
    licence = licensing.require(hub, discussion, sides, contributions(hub, repo))
    operations = (*operations, *landing.licence_files(sides, tree, operations, licence))
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
    combined = any(note.get("driver") == "adapter" for note in notes)
    weights = any(driver_of(path) == "weights" for path in paths)
    if repo.type == "model" and weights and not combined:
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
    files.tell(hub, discussion, notes, oid)
    hub.discussions.mark_merged(actor, discussion, oid)
    return oid


def _check_config(sides: Sides, number: int) -> None:
    """Refuse to change without judgement what main's weights mean."""
    from plait.collaboration.merging.material import check_config, parse_config

    title = f"Pull request {number}"
    before = parse_config(sides.read(sides.main, CONFIG), "main")
    check_config(before, parse_config(sides.read(sides.head, CONFIG), title), title)
