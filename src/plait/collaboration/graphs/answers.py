# SPDX-License-Identifier: Apache-2.0
"""What people answer: which value of a conflict holds, and whether two entities are one.

An answer is a commit to the graph's own tables, or a pull request of whoever may not commit; ranks
are computed anew from what is then said, exactly as a merge does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from plait.collaboration.graphs.copies import GraphRevision, revision_of, run_child
from plait.errors import BadInput, Conflict, NotReady, PreconditionFailed, TooLarge, Unauthorized
from plait.graphs.storage import PATHS
from plait.hub import Actor, AddBytes, AddPointer, CommitOutcome, Hub, Operation, Repository
from plait.hub.permissions import can
from plait.recipes.graph import FILE

MAX_FILES = 64 * 2**20
"""Bytes of a graph's files within which an answer is written while a person waits."""
MAX_REASON = 2_000
MAX_ANSWERS = 500
TRIES = 3
_turns = BoundedSemaphore(1)
_WAIT = 20.0


def settle(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    revision: str,
    statements: Sequence[str],
    *,
    reason: str = "",
    propose: bool = False,
) -> CommitOutcome:
    """Say which statements hold among those that contradict them.

    Args:
        statements: the identifiers of the statements that are right.
        reason: kept with each decision.
        propose: open a pull request even where the actor may commit.

    Raises:
        BadInput: a statement is not there, or takes part in no conflict.
        Unauthorized, Forbidden: the actor may neither commit nor propose.
    """
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise BadInput(f"A reason may have {MAX_REASON:,} characters.")
    _check_number(statements)
    count = len(statements)
    summary = f"Settle {count} conflict{'s' if count > 1 else ''}"
    job = {"statements": list(statements), "reason": reason}
    return _write(hub, actor, repo, revision, job, summary, reason, propose=propose)


def judge(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    revision: str,
    answers: Sequence[tuple[str, str, bool]],
    *,
    propose: bool = False,
) -> CommitOutcome:
    """Say of pairs of entities whether they are the same; a person's word outweighs machines'.

    Raises:
        BadInput: an entity is not there.
        Unauthorized, Forbidden: the actor may neither commit nor propose.
    """
    _check_number(answers)
    count = len(answers)
    summary = f"Say of {count} pair{'s' if count > 1 else ''} of entities whether they are the same"
    return _write(hub, actor, repo, revision, {"answers": answers}, summary, "", propose=propose)


def may_commit(actor: Actor, repo: Repository) -> bool:
    """Tell whether an actor's answers are commits; others' are pull requests."""
    return can(actor, "repo.write", repo)


def _write(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    revision: str,
    job: Mapping[str, Any],
    summary: str,
    description: str,
    *,
    propose: bool,
) -> CommitOutcome:
    if not actor.signed_in:
        raise Unauthorized("Sign in to answer; the answer carries your name.")
    for _ in range(TRIES):
        found = revision_of(hub, actor, repo, revision)
        propose = propose or (revision == "main" and not may_commit(actor, repo))
        hub.commits.may_commit(actor, repo, revision, propose)
        if found.size > MAX_FILES:
            raise TooLarge(
                f"The graph's files have {found.size:,} bytes; answers are written here for graphs "
                f"of up to {MAX_FILES:,}. Clone it and change its tables there."
            )
        if not _turns.acquire(timeout=_WAIT):
            raise NotReady("Other answers are being written. Send yours again in a moment.")
        try:
            operations = _operations(hub, found, {**job, "by": actor.name, "at": _now()})
        finally:
            _turns.release()
        if not operations:
            raise Conflict("The graph says so already.")
        try:
            return hub.commits.apply(
                actor, repo, revision, operations, summary, description,
                parent=found.oid, create_pr=propose,
            )  # fmt: skip
        except PreconditionFailed:
            continue  # somebody changed the graph meanwhile
    raise Conflict("The graph keeps changing. Send the answers again in a moment.")


def _operations(hub: Hub, found: GraphRevision, job: Mapping[str, Any]) -> list[Operation]:
    """Return what changes of the graph's files, as a process of its own works it out."""
    with tempfile.TemporaryDirectory(dir=hub.settings.work_dir, prefix="answers-") as folder:
        place = Path(folder)
        wanted = {FILE, *PATHS}
        hub.commits.materialize(found.repo, found.oid, place / "graph", only=wanted.__contains__)
        where = {"folder": str(place / "graph"), "out": str(place / "out")}
        changed = run_child("plait.graphs.answering", {**job, **where}, place)["changed"]
        return [
            _stored(hub, found.repo, path, (place / "out" / path).read_bytes()) for path in changed
        ]


def _stored(hub: Hub, repo: Repository, path: str, data: bytes) -> Operation:
    if len(data) <= hub.settings.max_regular_file:
        return AddBytes(path, data)
    sha256, size = hub.blobs.write([data])
    with hub.session(write=True) as session:
        hub.grant_blob(session, repo, sha256, size)
    return AddPointer(path, sha256, size)


def _check_number(answers: Sequence[Any] | Mapping[str, Any]) -> None:
    if not 1 <= len(answers) <= MAX_ANSWERS:
        raise BadInput(f"Give 1 to {MAX_ANSWERS} answers at once.")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
