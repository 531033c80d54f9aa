# SPDX-License-Identifier: Apache-2.0
"""The queue of long work: the ``jobs`` table is the truth, and a lease says who works on what.

A job goes queued → running → succeeded, failed or cancelled. A worker holds it by a lease that it
renews; when the lease runs out, another worker takes the job up again, a bounded number of times.
Every write of a worker names its lease, so that one that was given up cannot disturb its successor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, func, select, update
from sqlalchemy.orm import Session

from plait.collaboration import budgets
from plait.errors import BadInput, Cancelled, NotFound
from plait.hub import SYSTEM, Actor, Hub, can
from plait.hub.database import Account, Job, JobLine, Repository, now

FINISHED = ("succeeded", "failed", "cancelled")
MAX_LINE = 4000
"""Characters of one log line; a longer one is cut."""
MAX_LINES = 5000
"""Lines of one job's log; what follows is dropped."""
PRIORITIES = {"merge": 10, "withdraw": 10}
"""What people wait for comes before what may take its time; everything else has 0."""
MOST_PRIORITY = 100


class LeaseLost(Cancelled):
    """Another worker has taken the job up; whoever sees this must stop and touch nothing."""

    code = "LeaseLost"


@dataclass(frozen=True)
class Lease:
    """A worker's hold on a job."""

    job: Job
    worker: str
    attempt: int


def enqueue(
    hub: Hub,
    kind: str,
    payload: dict[str, Any],
    *,
    repo: int | None = None,
    discussion: int | None = None,
    requested_by: int | None = None,
    key: str | None = None,
) -> Job:
    """Queue work; while a job of the same ``key`` is unfinished, return that one instead.

    ``repo`` and ``discussion`` are the ids of the records that the job belongs to.
    """
    with hub.session(write=True) as session:
        return enqueue_in(
            session,
            kind,
            payload,
            repo=repo,
            discussion=discussion,
            requested_by=requested_by,
            key=key,
        )


def enqueue_in(
    session: Session,
    kind: str,
    payload: dict[str, Any],
    *,
    repo: int | None = None,
    discussion: int | None = None,
    requested_by: int | None = None,
    key: str | None = None,
) -> Job:
    """Queue work inside a transaction that holds the write lock.

    It is on the bill of the repository's namespace; without one, of whoever asked.
    """
    if key is not None:
        existing = session.scalar(select(Job).where(Job.key == key))
        if existing is not None:
            return existing
    found = session.get(Repository, repo) if repo is not None else None
    job = Job(
        kind=kind,
        payload=payload,
        key=key,
        state="queued",
        stage="waiting for a worker",
        priority=PRIORITIES.get(kind, 0),
        namespace_id=found.namespace_id if found is not None else requested_by,
        repository_id=repo,
        discussion_id=discussion,
        requested_by=requested_by,
    )
    session.add(job)
    session.flush()
    return job


def get(hub: Hub, job_id: int) -> Job:
    """Return a job.

    Raises:
        NotFound: there is none of that number.
    """
    with hub.session() as session:
        job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def latest(hub: Hub, discussion_id: int, kind: str = "merge") -> Job | None:
    """Return the newest job of a discussion, or None."""
    with hub.session() as session:
        return session.scalar(
            select(Job)
            .where(Job.discussion_id == discussion_id, Job.kind == kind)
            .order_by(Job.id.desc())
            .limit(1)
        )


def recent(
    hub: Hub, *, state: str | None = None, limit: int = 50, before: int | None = None
) -> list[Job]:
    """List jobs, newest first, those before a number; for the hub's administrators."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Job.state == state)
    if before is not None:
        query = query.where(Job.id < before)
    with hub.session() as session:
        return list(session.scalars(query))


def may_cancel(hub: Hub, actor: Actor, job: Job) -> bool:
    """Tell whether the actor may stop a job: who asked for it, who may merge, administrators."""
    if can(actor, "hub.admin"):
        return True
    if can(actor, "account.self") and job.requested_by == actor.user_id:
        return True
    repo = hub.repositories.by_id(job.repository_id) if job.repository_id else None
    return repo is not None and can(actor, "repo.merge", repo)


def payers(hub: Hub, found: Sequence[Job]) -> dict[int, str]:
    """Return the names of the namespaces on whose bill jobs are, by id."""
    wanted = {job.namespace_id for job in found if job.namespace_id is not None}
    with hub.session() as session:
        rows = session.execute(select(Account.id, Account.name).where(Account.id.in_(wanted)))
        return {int(row[0]): str(row[1]) for row in rows}


def lease(hub: Hub, worker: str, kinds: Sequence[str] | None = None) -> Lease | None:
    """Take up a job that waits, or one whose worker has not been heard of for too long.

    The highest priority comes first, then the oldest; those of a namespace that runs as many as it
    may are passed over until one of them ends.

    The write lock is taken first (``BEGIN IMMEDIATE`` on SQLite; row locks elsewhere), so that no
    two workers take the same job.
    """
    moment = now()
    # Looking needs no lock: an idle worker does not stand in the way of those who write.
    with hub.session() as session:
        if budgets.next_job(session, hub, _free(hub), kinds) is None:
            return None
    with hub.session(write=True) as session:
        chosen = budgets.next_job(session, hub, _free(hub), kinds)
        if chosen is None:
            return None
        job = session.scalar(
            select(Job).where(Job.id == chosen).with_for_update(skip_locked=True, of=Job)
        )
        if job is None:
            return None
        job.state = "running"
        job.worker = worker
        job.attempts += 1
        job.lease_until = moment + timedelta(seconds=hub.settings.job_lease)
        job.started_at = job.started_at or moment
        if job.attempts > 1:
            _write(session, job.id, f"Taken up again (attempt {job.attempts}).")
        session.flush()
        return Lease(job, worker, job.attempts)


def waiting(hub: Hub) -> int:
    """Count the jobs that a worker could take up now."""
    with hub.session() as session:
        return session.scalar(select(func.count()).where(_free(hub))) or 0


def busy_workers(hub: Hub, names: Sequence[str]) -> int:
    """Count which of these workers hold a job."""
    with hub.session() as session:
        return (
            session.scalar(
                select(func.count(Job.worker.distinct())).where(
                    Job.state == "running", Job.worker.in_(names)
                )
            )
            or 0
        )


def reap(hub: Hub) -> list[Job]:
    """Mark failed what was taken up too often, and end cancelled jobs whose worker is gone.

    Returns the jobs that ended, so that the caller can tell those who wait for them.
    """
    lost = select(Job).where(Job.state == "running", Job.lease_until < now())
    with hub.session() as session:
        if session.scalar(lost.limit(1)) is None:
            return []
    with hub.session(write=True) as session:
        ended = []
        for job in session.scalars(lost).all():
            if job.cancel_requested:
                _end(job, "cancelled", error="It was cancelled; its worker had already stopped.")
            elif job.attempts >= hub.settings.job_attempts:
                _end(
                    job,
                    "failed",
                    error=(
                        f"The worker stopped without a word {job.attempts} times while doing this "
                        f"(last at: {job.stage or 'the start'}). The machine may have run out of "
                        "memory; look at the server's log, then ask for it again."
                    ),
                )
            else:
                continue
            _write(session, job.id, job.error or "")
            ended.append(job)
        return ended


def heartbeat(hub: Hub, held: Lease) -> None:
    """Renew the lease.

    Raises:
        LeaseLost: the job is somebody else's by now.
        Cancelled: somebody asked for the job to stop.
    """
    until = now() + timedelta(seconds=hub.settings.job_lease)
    with hub.session(write=True) as session:
        _mine(session, held, lease_until=until)
        wanted = session.scalar(select(Job.cancel_requested).where(Job.id == held.job.id))
    if wanted:
        raise Cancelled("It was cancelled.")


def progress(hub: Hub, held: Lease, fraction: float, stage: str) -> None:
    """Say how far the work is: ``fraction`` between 0 and 1, and what is being done.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    until = now() + timedelta(seconds=hub.settings.job_lease)
    with hub.session(write=True) as session:
        _mine(
            session,
            held,
            lease_until=until,
            fraction=min(1.0, max(0.0, fraction)),
            stage=stage[:200],
        )


def account(hub: Hub, held: Lease, cost: budgets.Cost) -> None:
    """Record what this attempt took so far, on top of what earlier ones took.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    before = held.job
    with hub.session(write=True) as session:
        _mine(
            session,
            held,
            cpu_seconds=(before.cpu_seconds or 0.0) + cost.cpu_seconds,
            gpu_seconds=(before.gpu_seconds or 0.0) + cost.gpu_seconds,
            bytes_written=(before.bytes_written or 0) + cost.bytes_written,
        )


def prioritize(hub: Hub, job_id: int, priority: int, actor: Actor = SYSTEM) -> Job:
    """Change how soon a waiting job is taken up; for the hub's administrators.

    ``actor`` is who the audit log names.

    Raises:
        NotFound: there is none of that number.
        BadInput: the priority is out of bounds.
    """
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        raise BadInput(f"A priority is between {-MOST_PRIORITY} and {MOST_PRIORITY}.")
    with hub.session(write=True) as session:
        job = session.get(Job, job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.")
        job.priority = priority
        session.flush()
        hub.events.record(
            session, actor, "hub.job_priority", target=f"job {job.id}", priority=priority
        )
        return job


def note(hub: Hub, held: Lease, result: dict[str, Any]) -> None:
    """Keep what was found so far, for the worker that takes the job up if this one dies.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    with hub.session(write=True) as session:
        _mine(session, held, result=result)


def log(hub: Hub, job_id: int, text: str) -> None:
    """Add to a job's log, one row a line."""
    with hub.session(write=True) as session:
        for line in text.splitlines():
            _write(session, job_id, line)


def lines(hub: Hub, job_id: int, after: int = 0, limit: int = 1000) -> list[JobLine]:
    """Return log lines of a job with an id above ``after``, oldest first."""
    with hub.session() as session:
        return list(
            session.scalars(
                select(JobLine)
                .where(JobLine.job_id == job_id, JobLine.id > after)
                .order_by(JobLine.id)
                .limit(limit)
            )
        )


def cancel(hub: Hub, job_id: int) -> Job:
    """Ask for a job to stop: one that waits ends at once, a running one at its next look.

    A finished job is returned as it is.

    Raises:
        NotFound: there is none of that number.
    """
    with hub.session(write=True) as session:
        job = session.get(Job, job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.")
        if job.state == "queued":
            _end(job, "cancelled", error="It was cancelled before it began.")
            _write(session, job.id, job.error or "")
        elif job.state == "running":
            job.cancel_requested = True
        session.flush()
        return job


def succeed(hub: Hub, held: Lease, result: dict[str, Any] | None) -> None:
    """End the job with its result.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    _finish(hub, held, "succeeded", result=result, error=None)


def fail(hub: Hub, held: Lease, reason: str, result: dict[str, Any] | None = None) -> None:
    """End the job with the reason, a sentence for people.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    _finish(hub, held, "failed", result=result, error=reason)


def observe_cancel(hub: Hub, held: Lease) -> None:
    """End the job because somebody asked for it.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    _finish(hub, held, "cancelled", result=None, error="It was cancelled.")


def give_back(hub: Hub, held: Lease) -> None:
    """Put the job back in the queue because the worker is being shut down, not for a fault of it.

    Raises:
        LeaseLost: the job is somebody else's by now.
    """
    with hub.session(write=True) as session:
        _mine(
            session,
            held,
            state="queued",
            worker=None,
            lease_until=None,
            attempts=held.attempt - 1,
            stage="waiting for a worker",
        )
        _write(session, held.job.id, "The worker was shut down; the job waits for the next one.")


def expired(job: Job) -> bool:
    """Tell whether the worker of a running job has not been heard of for too long."""
    return job.state == "running" and (job.lease_until is None or job.lease_until < now())


def expire_worker(hub: Hub, worker: str) -> int:
    """Let the leases of a worker that is known to be dead run out now; return how many."""
    with hub.session(write=True) as session:
        return _rows(
            session,
            update(Job)
            .where(Job.state == "running", Job.worker == worker)
            .values(lease_until=now() - timedelta(seconds=1)),
        )


def expire_dead(hub: Hub) -> int:
    """Let the leases of workers of this machine whose process is gone run out now."""
    host = socket.gethostname()
    with hub.session() as session:
        names = session.scalars(
            select(Job.worker).where(Job.state == "running", Job.worker.is_not(None)).distinct()
        ).all()
    dead = [name for name in names if name and not _may_live(name, host)]
    return sum(expire_worker(hub, name) for name in dead)


def worker_name(pid: int | None = None, token: str | None = None) -> str:
    """Return the name of a worker process: machine, process, and a token that tells reuse."""
    return f"{socket.gethostname()[:64]}:{pid or os.getpid()}:{token or os.urandom(4).hex()}"


def _may_live(worker: str, host: str) -> bool:
    machine, _, rest = worker.rpartition(":")[0].rpartition(":")
    if machine != host[:64] or not rest.isdigit():
        return True
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _free(hub: Hub) -> ColumnElement[bool]:
    """Say in SQL which jobs wait, or have lost their worker and may be taken up again."""
    lost = (
        (Job.state == "running")
        & (Job.lease_until < now())
        & (Job.attempts < hub.settings.job_attempts)
        & ~Job.cancel_requested
    )
    return (Job.state == "queued") | lost


def _finish(
    hub: Hub, held: Lease, state: str, *, result: dict[str, Any] | None, error: str | None
) -> None:
    with hub.session(write=True) as session:
        values: dict[str, Any] = {
            "state": state,
            "error": error,
            "key": None,
            "lease_until": None,
            "finished_at": now(),
        }
        if result is not None:
            values["result"] = result
        if state == "succeeded":
            values.update(fraction=1.0, stage="done")
        _mine(session, held, **values)
        if error:
            _write(session, held.job.id, error)


def _mine(session: Session, held: Lease, **values: Any) -> None:
    """Change the job only while this lease is the one in force."""
    changed = _rows(
        session,
        update(Job)
        .where(
            Job.id == held.job.id,
            Job.state == "running",
            Job.worker == held.worker,
            Job.attempts == held.attempt,
        )
        .values(**values),
    )
    if not changed:
        raise LeaseLost(f"Job {held.job.id} is no longer this worker's.")


def _rows(session: Session, statement: Any) -> int:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


def _end(job: Job, state: str, *, error: str) -> None:
    job.state = state
    job.error = error
    job.key = None
    job.lease_until = None
    job.finished_at = now()


def _write(session: Session, job_id: int, text: str) -> None:
    if session.get(Job, job_id) is None:
        return  # its repository was deleted, and the job with it
    count = session.scalar(select(func.count()).where(JobLine.job_id == job_id)) or 0
    if count < MAX_LINES:
        session.add(JobLine(job_id=job_id, text=text[:MAX_LINE]))
        session.flush()
