# SPDX-License-Identifier: Apache-2.0
"""What jobs cost, and how many of a namespace's may run at the same time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from plait.errors import BadInput
from plait.hub import SYSTEM, Actor, Hub, can
from plait.hub.database import Account, Job, JobLimit, now

MOST = 10_000


@dataclass(frozen=True)
class Cost:
    """What work took: processor time with child processes, GPU time, bytes written."""

    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    bytes_written: int = 0


@dataclass(frozen=True)
class Usage:
    """What the jobs on one namespace's bill took together."""

    namespace: str
    jobs: int
    running: int
    limit: int
    """Jobs that may run at the same time; 0: no limit."""
    cost: Cost


class Meter:
    """Counts what this process takes from now on; a worker does one job at a time.

    A GPU counts for the time between two readings if a model lies on it at the later one.
    """

    def __init__(self) -> None:
        self._cpu = _cpu_seconds()
        self._written = _written()
        self._gpu = 0.0
        self._read = time.monotonic()

    def read(self) -> Cost:
        """Return what was taken since the meter was made."""
        moment = time.monotonic()
        self._gpu += _gpus_in_use() * (moment - self._read)
        self._read = moment
        return Cost(
            max(0.0, _cpu_seconds() - self._cpu), self._gpu, max(0, _written() - self._written)
        )


def next_job(
    session: Session, hub: Hub, free: ColumnElement[bool], kinds: Sequence[str] | None
) -> int | None:
    """Return the job to take up next: highest priority, then oldest, within every limit."""
    query = select(Job.id).where(free).order_by(Job.priority.desc(), Job.id).limit(1)
    if kinds is not None:
        query = query.where(Job.kind.in_(kinds))
    limits = {row.namespace_id: row.running for row in session.scalars(select(JobLimit))}
    usual = hub.settings.jobs_per_namespace
    if limits or usual:
        full = [
            namespace
            for namespace, count in _running(session).items()
            if 0 < limits.get(namespace, usual) <= count
        ]
        query = query.where(Job.namespace_id.is_(None) | Job.namespace_id.not_in(full))
    return session.scalar(query)


def set_limit(hub: Hub, namespace: Account, running: int | None, actor: Actor = SYSTEM) -> None:
    """Say how many jobs of a namespace may run at the same time; None: the hub's usual number.

    ``actor`` is who the audit log names.

    Raises:
        BadInput: the number is out of bounds.
    """
    if running is not None and not 1 <= running <= MOST:
        raise BadInput(f"A limit is between 1 and {MOST}.")
    with hub.session(write=True) as session:
        row = session.get(JobLimit, namespace.id)
        if running is None:
            if row is not None:
                session.delete(row)
        elif row is None:
            session.add(JobLimit(namespace_id=namespace.id, running=running))
        else:
            row.running = running
        hub.events.record(session, actor, "hub.job_limit", account=namespace, running=running)


def usage(hub: Hub, namespace: Account | None = None) -> list[Usage]:
    """Return what the jobs of each namespace took, the most processor time first.

    A namespace that is asked for is in the answer also without any job.
    """
    query = (
        select(
            Account.id,
            Account.name,
            func.count(Job.id),
            func.sum(Job.cpu_seconds),
            func.sum(Job.gpu_seconds),
            func.sum(Job.bytes_written),
        )
        .select_from(Job)
        .join(Account, Account.id == Job.namespace_id)
        .group_by(Account.id, Account.name)
    )
    if namespace is not None:
        query = query.where(Account.id == namespace.id)
    with hub.session() as session:
        rows: list[Any] = [tuple(row) for row in session.execute(query).all()]
        if namespace is not None and not rows:
            rows = [(namespace.id, namespace.name, 0, 0.0, 0.0, 0)]
        running = _running(session)
        limits = {row.namespace_id: row.running for row in session.scalars(select(JobLimit))}
    found = [
        Usage(
            name,
            count,
            running.get(number, 0),
            limits.get(number, hub.settings.jobs_per_namespace),
            Cost(float(cpu or 0), float(gpu or 0), int(written or 0)),
        )
        for number, name, count, cpu, gpu, written in rows
    ]
    return sorted(found, key=lambda one: (-one.cost.cpu_seconds, one.namespace))


def by_kind(hub: Hub, namespace: Account) -> list[tuple[str, int, Cost]]:
    """Return how many jobs of each kind a namespace had and what they took, the dearest first."""
    query = (
        select(
            Job.kind,
            func.count(Job.id),
            func.sum(Job.cpu_seconds),
            func.sum(Job.gpu_seconds),
            func.sum(Job.bytes_written),
        )
        .where(Job.namespace_id == namespace.id)
        .group_by(Job.kind)
    )
    with hub.session() as session:
        rows = session.execute(query).all()
    found = [
        (str(kind), int(count), Cost(float(cpu or 0), float(gpu or 0), int(written or 0)))
        for kind, count, cpu, gpu, written in rows
    ]
    return sorted(found, key=lambda row: (-row[2].cpu_seconds, row[0]))


def may_see(actor: Actor, namespace: Account) -> bool:
    """Tell whether the actor may see what a namespace's jobs cost: members, administrators."""
    return can(actor, "hub.admin") or can(actor, "namespace.read", namespace)


def plain(one: Usage) -> dict[str, Any]:
    """Return a namespace's usage as clients see it."""
    return {
        "namespace": one.namespace,
        "jobs": one.jobs,
        "running": one.running,
        "limit": one.limit or None,
        "cpu_seconds": round(one.cost.cpu_seconds, 2),
        "gpu_seconds": round(one.cost.gpu_seconds, 2),
        "bytes_written": one.cost.bytes_written,
    }


def _running(session: Session) -> dict[int, int]:
    """Count the jobs that run now by namespace; those whose worker is gone do not."""
    rows = session.execute(
        select(Job.namespace_id, func.count(Job.id))
        .where(Job.namespace_id.is_not(None), Job.state == "running", Job.lease_until >= now())
        .group_by(Job.namespace_id)
    )
    return {int(row[0]): int(row[1]) for row in rows if row[0] is not None}


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _written() -> int:
    """Return the bytes that this process has written, 0 where the system does not tell."""
    try:
        for line in Path("/proc/self/io").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "wchar":
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


def _gpus_in_use() -> int:
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return 0
    return sum(1 for device in range(cuda.device_count()) if cuda.memory_allocated(device))
