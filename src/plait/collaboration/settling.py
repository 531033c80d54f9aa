# SPDX-License-Identifier: Apache-2.0
"""Conflicts of a pull request: which there are, and settling them by a commit on its branch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.collaboration import jobs
from plait.collaboration.merging import files
from plait.collaboration.merging.changes import Sides, are_large, driver_of, merge_paths
from plait.collaboration.merging.drivers import FileConflict, Place, Resolution
from plait.collaboration.merging.resolutions import FILE as RESOLUTIONS
from plait.collaboration.merging.resolutions import (
    dump_resolutions,
    plain_resolutions,
    together,
)
from plait.errors import BadInput, Conflict, PlaitError, PreconditionFailed
from plait.hub import Hub
from plait.hub.database import Discussion, Job, Repository
from plait.hub.git.operations import AddBytes, CopyFile, Delete, Operation
from plait.hub.git.store import Author
from plait.hub.permissions import Actor
from plait.hub.repositories.discussions import pull_ref

TRIES = 5


@dataclass(frozen=True)
class Conflicts:
    """What is left to settle of a pull request."""

    files: tuple[FileConflict, ...] = ()
    known: bool = True
    """False: only a merge, which a job does, finds out."""
    refused: str = ""
    """Why it cannot be merged at all as it is, in a sentence."""


@dataclass(frozen=True)
class Settled:
    """What came of settling: the commit on the pull request's branch, or the job that makes it."""

    commit: str | None = None
    job: Job | None = None
    left: int = 0
    """Conflicts that are still to be decided; what was decided so far is kept."""


def find_conflicts(hub: Hub, repo: Repository, discussion: Discussion) -> Conflicts:
    """List what a person must settle before a pull request can be merged.

    Where tables are large this is what the newest job found, if the branches have not moved since.
    """
    if not discussion.is_pull_request or discussion.status not in ("open", "draft"):
        return Conflicts()
    sides = _sides(hub, repo, discussion)
    if sides is None or sides.fork == sides.main:
        return Conflicts()
    paths = _merged_as_files(sides)
    if are_large(sides, paths):
        return _of_job(hub, discussion, sides)
    try:
        return Conflicts(_conflicts(sides, paths, {}))
    except PlaitError as error:
        return Conflicts(refused=error.message)


def settle(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    discussion: Discussion,
    resolutions: Mapping[str, Resolution],
) -> Settled:
    """Settle conflicts: merge main into the pull request's branch, as a person decided.

    When all are decided this is a merge commit on the branch, by whoever settled; until then the
    decisions are kept there in `plait_resolutions.yaml`. Who may write the branch may settle: the
    pull request's author, and whoever may write the repository.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not write the pull request's branch.
        Conflict: it is merged or closed, or has no conflicts.
        BadInput: a decision does not fit.
    """
    hub.commits.target(actor, repo, pull_ref(discussion.number))
    sides = _open_sides(hub, repo, discussion)
    if are_large(sides, _merged_as_files(sides)):
        plain = plain_resolutions(resolutions)
        return Settled(job=files.queue(hub, actor, repo, discussion, sides, settle=plain))
    return settle_now(hub, actor, repo, discussion, resolutions)


def settle_now(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    discussion: Discussion,
    resolutions: Mapping[str, Resolution],
    check: Callable[[], None] = lambda: None,
) -> Settled:
    """Settle within this process.

    Raises:
        PlaitError: as `settle`.
    """
    ref, _ = hub.commits.target(actor, repo, pull_ref(discussion.number))
    for _ in range(TRIES):
        sides = _open_sides(hub, repo, discussion)
        paths = _merged_as_files(sides)
        before = _conflicts(sides, paths, {}, check, own=False)
        unknown = sorted(set(resolutions) - {one.path for one in before})
        if unknown:
            raise BadInput(
                f"'{unknown[0][:200]}' has no conflict. Conflicts are in: "
                f"{', '.join(one.path for one in before[:20]) or 'no file'}."
            )
        _check_places(before, resolutions)
        decided = together(sides.resolutions(), resolutions)
        merged = merge_paths(sides, paths, resolutions=decided, look=False, check=check)
        if merged.conflicts:
            operations: Sequence[Operation] = [AddBytes(RESOLUTIONS, dump_resolutions(decided))]
            parent, parents = sides.head, None
            title = f"Decide conflicts with {_branch(discussion)}"
        else:
            operations = [*merged.operations, *_as_proposed(sides)]
            parent, parents = sides.main, [sides.head, sides.main]
            title = f"Merge {_branch(discussion)} into the pull request, conflicts settled"
        try:
            update = hub.git.advance(
                repo,
                ref=ref,
                parent_oid=parent,
                parents=parents,
                expected=sides.head,
                operations=operations,
                message=title,
                author=Author(actor.name or "plait"),
            )
        except PreconditionFailed:
            continue  # somebody pushed to the pull request meanwhile
        oid = str(update.new)
        if oid != update.old:
            hub.discussions.note_commit(actor, discussion, oid, title)
            hub.references.moved(actor, repo, [update])
        return Settled(oid, left=sum(one.count for one in merged.conflicts))
    raise Conflict("The pull request keeps changing. Settle its conflicts again in a moment.")


def _check_places(before: Sequence[FileConflict], resolutions: Mapping[str, Resolution]) -> None:
    """Refuse decisions about places that are not there: the files changed since they were seen."""
    known = {one.path: one for one in before}
    for path, resolution in resolutions.items():
        conflict = known[path]
        if resolution.content is not None and not conflict.text:
            raise BadInput(f"'{path}' cannot be given as text; take main's or the pull request's.")
        if conflict.count > len(conflict.places):
            continue  # not all are listed
        places: dict[str, Place] = {place.id: place for place in conflict.places}
        stale = next((name for name in resolution.places if name not in places), None)
        if stale is not None:
            raise Conflict(f"'{path}' changed since its conflicts were shown. Look at them again.")


def _as_proposed(sides: Sides) -> list[Operation]:
    """Return what keeps the pull request's weights and configuration as they were proposed."""
    kept: list[Operation] = []
    for path in sides.changed():
        if driver_of(path, sides.repo.type) not in ("weights", "pickle", "model"):
            continue
        if path in sides.at_head:
            kept.append(CopyFile(path, path, revision=sides.head))
        elif path in sides.at_main:
            kept.append(Delete(path))
    return kept


def _conflicts(
    sides: Sides,
    paths: Sequence[str],
    resolutions: Mapping[str, Resolution],
    check: Callable[[], None] = lambda: None,
    *,
    own: bool = True,
) -> tuple[FileConflict, ...]:
    """List conflicts; with `own`, those that the pull request's own decisions leave."""
    decided = dict(resolutions) if own else {path: Resolution() for path in sides.resolutions()}
    clean = sides.hub.git.merge_trees(sides.repo, sides.main, sides.head)[0] is not None
    return merge_paths(
        sides, paths, clean=clean, resolutions=decided, look=False, check=check
    ).conflicts


def _merged_as_files(sides: Sides) -> list[str]:
    """Return the changed paths that are merged by drivers rather than fused."""
    kinds = ("weights", "pickle", "model", "hub")
    fused = sides.repo.type == "model" and _has_lineage(sides)
    return [
        path
        for path in sides.changed()
        if not fused or driver_of(path, sides.repo.type) not in kinds
    ]


def _has_lineage(sides: Sides) -> bool:
    from plait.collaboration.requests import needs_fusion

    return needs_fusion(sides, sides.changed())


def _of_job(hub: Hub, discussion: Discussion, sides: Sides) -> Conflicts:
    job = jobs.latest(hub, discussion.id)
    found = job.result if job is not None and isinstance(job.result, dict) else {}
    if (
        job is None
        or "conflicts" not in found
        or (job.payload.get("head"), job.payload.get("main")) != (sides.head, sides.main)
    ):
        return Conflicts(known=False)
    return Conflicts(tuple(_conflict(one) for one in found["conflicts"]))


def _conflict(plain: Mapping[str, Any]) -> FileConflict:
    places = tuple(Place(**place) for place in plain["places"])
    return FileConflict(
        plain["path"], plain["driver"], plain["reason"], places, plain["count"], plain["text"]
    )


def _branch(discussion: Discussion) -> str:
    return discussion.base_ref.removeprefix("refs/heads/")


def _sides(hub: Hub, repo: Repository, discussion: Discussion) -> Sides | None:
    main = hub.git.head(repo, discussion.base_ref)
    head = hub.git.head(repo, pull_ref(discussion.number))
    fork = hub.git.merge_base(repo, main, head) if main and head else None
    return Sides(hub, repo, fork, main, head) if main and head and fork else None


def _open_sides(hub: Hub, repo: Repository, discussion: Discussion) -> Sides:
    sides = _sides(hub, repo, discussion)
    if sides is None:
        raise Conflict(f"Pull request {discussion.number} has lost its branch.")
    if sides.fork == sides.main:
        raise Conflict(f"Pull request {discussion.number} has no conflicts with main.")
    return sides
