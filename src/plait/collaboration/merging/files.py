# SPDX-License-Identifier: Apache-2.0
"""Merging files by their drivers: at once, or by a job where there is much to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plait.collaboration import events, jobs
from plait.collaboration.merging.changes import Sides, merge_paths
from plait.collaboration.merging.drivers import FileConflict
from plait.collaboration.merging.resolutions import FILE as RESOLUTIONS
from plait.errors import Conflict
from plait.hub import Hub
from plait.hub.database import Discussion, Job, Repository
from plait.hub.git.operations import Delete, Operation
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext


NAMED = 5
"""Near duplicates of a file that the discussion shows."""


class UnsettledConflict(Conflict):
    """Files contradict each other; a person must settle it, and can."""

    def __init__(
        self, repo: Repository, conflicts: Sequence[FileConflict], number: int | None = None
    ) -> None:
        # Whom a gate keeps from the files can read the discussion that this is told in.
        names = [f"'{one.path}'" if repo.gated else str(one) for one in conflicts[:10]]
        which = "The pull request" if number is None else f"Pull request {number}"
        super().__init__(
            f"{which} and main both changed {', '.join(names)} in ways that contradict each "
            "other. Settle it on the pull request's page, with `plait pr resolve`, or by a "
            f"{RESOLUTIONS} in the pull request; then merge again."
        )
        self.conflicts = tuple(conflicts)


def merge_files(
    sides: Sides,
    paths: Sequence[str],
    number: int,
    check: Callable[[], None] = lambda: None,
) -> tuple[str | None, tuple[Operation, ...], tuple[Mapping[str, Any], ...]]:
    """Merge what is not fused: plain text as git does, every other kind by its driver.

    Returns:
        The tree to start from (None: main's), what to do to it, and what is worth telling.

    Raises:
        UnsettledConflict: main and the pull request contradict each other.
        Conflict, BadInput: a driver refuses what the pull request brings.
    """
    tree, _ = sides.hub.git.merge_trees(sides.repo, sides.main, sides.head)
    merged = merge_paths(sides, paths, clean=tree is not None, check=check, number=number)
    if merged.conflicts:
        raise UnsettledConflict(sides.repo, merged.conflicts, number)
    operations = list(merged.operations)
    if tree is not None and RESOLUTIONS in paths and RESOLUTIONS in sides.at_head:
        operations.append(Delete(RESOLUTIONS))
    return tree, tuple(operations), merged.notes


def tell(hub: Hub, discussion: Discussion, notes: Sequence[Mapping[str, Any]], oid: str) -> None:
    """Say in the discussion what the drivers did."""
    if not notes:
        return
    shown = [dict(note) for note in notes]
    if hub.discussions.repository(discussion).gated:
        # Whom the gate keeps from the files can read the discussion.
        for note in shown:
            for part in ("near", "tests"):
                if part in note:
                    note[part] = {**note[part], "rows": []}
    lines = ["**Merged by their kind:**", ""]
    for note in shown:
        lines.append(f"* {line(note)}")
        for part, verb in (("near", "nearly repeats"), ("tests", "stands in the test split as")):
            rows = note[part]["rows"][:NAMED] if part in note else []
            lines += [
                f"  * new row {row['row']}: `{_quoted(row['text'])}` {verb} "
                f"`{_quoted(row['other'])}` ({row['likeness']:.0%} alike)"
                for row in rows
            ]
    values = {"kind": "merged-files", "landed": oid, "files": shown}
    events.say(hub, discussion, "\n".join(lines), values)


def _quoted(text: str) -> str:
    """Keep a row's text from being taken for Markdown."""
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= 100 else line[:99] + "…"


def line(note: Mapping[str, Any]) -> str:
    """Say in a line what a driver did to a file."""
    path = f"`{note['path']}`"
    if note.get("unread"):
        return f"{path} was taken as a file: {note['unread']}"
    if "rows" not in note:
        return f"{path}: {note.get('text') or 'merged'}"
    rows, columns = note["rows"], note["columns"]
    parts = [f"{rows['added']:,} rows added, {rows['removed']:,} removed"]
    if rows["changed"]:
        parts.append(f"{rows['changed']:,} changed")
    if rows["repeated"]:
        parts.append(f"{rows['repeated']:,} left out that were there already")
    for name in ("added", "removed"):
        if columns[name]:
            parts.append(f"columns {name}: {', '.join(columns[name][:10])}")
    types = {**columns["retyped"], **columns["widened"]}
    parts += [f"column {c}: {before} → {after}" for c, (before, after) in list(types.items())[:10]]
    if note["near"]["count"]:
        parts.append(f"{note['near']['count']:,} new rows nearly repeat others")
    elif not note["near"]["looked"]:
        parts.append("too many rows to look for near duplicates")
    if note["tests"]["count"]:
        parts.append(f"**{note['tests']['count']:,} of them stand in the test split**")
    return f"{path}: {'; '.join(parts)}"


def queue(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    discussion: Discussion,
    sides: Sides,
    comment: str = "",
    settle: Mapping[str, Any] | None = None,
) -> Job:
    """Queue the job that merges files, or that settles conflicts in them."""
    what = "settle" if settle is not None else "merge-files"
    payload: dict[str, Any] = {
        "number": discussion.number,
        "head": sides.head,
        "main": sides.main,
        "files": True,
    }
    if settle is not None:
        payload["settle"] = dict(settle)
    job = jobs.enqueue(
        hub,
        "merge",
        payload,
        repo=repo.id,
        discussion=discussion.id,
        requested_by=actor.user_id,
        key=None if settle else f"{what}:{repo.id}:{discussion.number}:{sides.head}:{sides.main}",
    )
    if comment.strip():
        hub.discussions.add_comment(actor, discussion, comment)
    who = f"**{actor.name}**" if actor.name else "The hub"
    asked = "settled conflicts" if settle is not None else "asked for this to be merged"
    events.say(
        hub,
        discussion,
        f"{who} {asked}. Its tables are read and merged by job {job.id}.",
        {"kind": "requested", "job": job.id, "head": sides.head},
    )
    return job


def run(context: JobContext, repo: Repository, discussion: Discussion) -> dict[str, Any]:
    """Do the job that merges files, and return its result.

    Raises:
        PlaitError: why nothing landed.
    """
    from plait.collaboration import requests, settling
    from plait.collaboration.merging.resolutions import parse_resolutions

    hub, job = context.hub, context.job
    context.progress(0.05, "reading the tables")
    account = hub.accounts.by_id(job.requested_by) if job.requested_by is not None else None
    if account is None:
        raise Conflict("Whoever asked for this merge is gone. Ask for it again.")
    actor = hub.accounts.actor_for(account)
    settle = job.payload.get("settle")
    try:
        if settle is not None:
            done = settling.settle_now(
                hub, actor, repo, discussion, parse_resolutions(settle), context.check
            )
            return {"job": job.id, "settled": done.commit, "left": done.left}
        landed = requests.land_now(hub, actor, repo, discussion, context.check)
        return {"job": job.id, "landed": landed}
    except UnsettledConflict as error:
        context.note(
            {
                "job": job.id,
                "head": job.payload["head"],
                "conflicts": [conflict.to_json() for conflict in error.conflicts],
            }
        )
        raise
    finally:
        events.show_progress(hub, discussion.id, job.id, "")
