# SPDX-License-Identifier: Apache-2.0
"""What merging a pull request's tables would do, told before anybody merges.

Small tables are read when somebody looks, once for each state of the branches; of large ones, and
of Parquet that strangers wrote, a job reads them when somebody asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plait.collaboration import jobs
from plait.collaboration.merging.changes import Sides, are_large, merge_paths
from plait.errors import Conflict, PlaitError
from plait.hub import Actor, Hub
from plait.hub.database import Discussion, Job, Repository
from plait.hub.repositories.discussions import pull_ref
from plait.tables import format_of

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

KIND = "foresee"
KEPT = 256
"""States of branches of which the outcome is remembered in this process."""
_memory: OrderedDict[tuple[Any, ...], Foreseen] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Foreseen:
    """What a merge would do to a pull request's tables."""

    notes: tuple[Mapping[str, Any], ...] = ()
    """One for each table, as the driver tells it after a merge."""
    refused: str = ""
    """Why it would be refused, in a sentence."""
    known: bool = True
    """False: only a job finds out."""
    job: Job | None = None
    """The job that reads them, while it is under way."""


def foresee(hub: Hub, repo: Repository, discussion: Discussion) -> Foreseen | None:
    """Tell what merging would do to the tables; None where the pull request changes none."""
    sides = _sides(hub, repo, discussion)
    paths = _tables(sides) if sides is not None else []
    if sides is None or not paths:
        return None
    if are_large(sides, paths):
        return _of_job(hub, discussion, sides)
    key = (str(hub.settings.dir), repo.id, sides.fork, sides.main, sides.head)
    with _lock:
        found = _memory.get(key)
    if found is None:
        found = _look(sides, paths)
        with _lock:
            _memory[key] = found
            while len(_memory) > KEPT:
                _memory.popitem(last=False)
    return found


def request(hub: Hub, actor: Actor, repo: Repository, discussion: Discussion) -> Job:
    """Queue the job that reads large tables; asking again while it runs gives the same job.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not take part.
        Conflict: the pull request changes no table, or is merged or closed.
    """
    hub.repositories.require(actor, repo, "repo.discuss", discussion)
    hub.repositories.require(actor, repo, "repo.files")
    sides = _sides(hub, repo, discussion)
    if sides is None or not _tables(sides):
        raise Conflict("The pull request changes no table, or is not open.")
    return jobs.enqueue(
        hub,
        KIND,
        {"number": discussion.number, "main": sides.main, "head": sides.head},
        repo=repo.id,
        discussion=discussion.id,
        requested_by=actor.user_id,
        key=f"{KIND}:{repo.id}:{discussion.number}:{sides.main}:{sides.head}",
    )


def run(context: JobContext) -> dict[str, Any]:
    """Read the tables of a pull request as they would be merged.

    Raises:
        Conflict: it is gone, merged or closed.
    """
    hub, job = context.hub, context.job
    repo = hub.repositories.by_id(job.repository_id or 0)
    if repo is None:
        raise Conflict("The repository is gone.")
    discussion = hub.discussions.get(repo, int(job.payload["number"]))
    sides = _sides(hub, repo, discussion)
    if sides is None:
        raise Conflict(f"Pull request {discussion.number} is not open any more.")
    context.progress(0.05, "reading the tables")
    found = _look(sides, _tables(sides), context)
    return {
        "main": sides.main,
        "head": sides.head,
        "files": [dict(note) for note in found.notes],
        "refused": found.refused,
    }


def _of_job(hub: Hub, discussion: Discussion, sides: Sides) -> Foreseen:
    job = jobs.latest(hub, discussion.id, KIND)
    if job is None:
        return Foreseen(known=False)
    if job.state not in jobs.FINISHED:
        return Foreseen(known=False, job=job)
    result = job.result or {}
    if (result.get("main"), result.get("head")) != (sides.main, sides.head):
        return Foreseen(known=False)
    return Foreseen(tuple(result["files"]), str(result["refused"]))


def _look(sides: Sides, paths: list[str], context: JobContext | None = None) -> Foreseen:
    def check() -> None:
        if context is not None:
            context.check()

    try:
        # What contradicts is shown as a conflict; a table with one has no note.
        made = merge_paths(sides, paths, check=check)
    except Conflict as error:
        return Foreseen(refused=error.message)
    except PlaitError:
        return Foreseen()
    return Foreseen(tuple(note for note in made.notes if note))


def _tables(sides: Sides) -> list[str]:
    return [path for path in sides.changed() if format_of(path) is not None]


def _sides(hub: Hub, repo: Repository, discussion: Discussion) -> Sides | None:
    if not discussion.is_pull_request or discussion.status not in ("open", "draft"):
        return None
    main = hub.git.head(repo, discussion.base_ref)
    head = hub.git.head(repo, pull_ref(discussion.number))
    fork = hub.git.merge_base(repo, main, head) if main and head else None
    if main is None or head is None or fork is None or fork == head:
        return None
    return Sides(hub, repo, fork, main, head)
