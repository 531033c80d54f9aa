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
from plait.hub import Hub
from plait.hub.database import Account, Job, JobLimit, Repository, now

LOOKED_AT = 500
"""Waiting jobs among which one is looked for whose namespace may run another."""
MOST = 10_000


@dataclass(frozen=True)
class Cost:
    """What work took: processor time with child processes, GPU time, bytes written."""

    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    bytes_written: int = 0


@dataclass(frozen=True)
class Usage:
    """What the jobs of one namespace's repositories took together."""

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
    query = (
        select(Job.id, Repository.namespace_id)
        .outerjoin(Repository, Repository.id == Job.repository_id)
        .where(free)
        .order_by(Job.priority.desc(), Job.id)
        .limit(LOOKED_AT)
    )
    if kinds is not None:
        query = query.where(Job.kind.in_(kinds))
    waiting = session.execute(query).all()
    if not waiting:
        return None
    limits = {row.namespace_id: row.running for row in session.scalars(select(JobLimit))}
    usual = hub.settings.jobs_per_namespace
    if not limits and not usual:
        return int(waiting[0].id)
    running = _running(session)
    for job, namespace in waiting:
        limit = limits.get(namespace, usual)
        if namespace is None or not limit or running.get(namespace, 0) < limit:
            return int(job)
    return None


def set_limit(hub: Hub, namespace: Account, running: int | None) -> None:
    """Say how many jobs of a namespace may run at the same time; None: the hub's usual number.

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


def usage(hub: Hub, namespace: Account | None = None) -> list[Usage]:
    """Return what the jobs of each namespace took, the most processor time first."""
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
        .join(Repository, Repository.id == Job.repository_id)
        .join(Account, Account.id == Repository.namespace_id)
        .group_by(Account.id, Account.name)
    )
    if namespace is not None:
        query = query.where(Account.id == namespace.id)
    with hub.session() as session:
        rows = session.execute(query).all()
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


def _running(session: Session) -> dict[int, int]:
    """Count the jobs that run now by namespace; those whose worker is gone do not."""
    rows = session.execute(
        select(Repository.namespace_id, func.count(Job.id))
        .join(Repository, Repository.id == Job.repository_id)
        .where(Job.state == "running", Job.lease_until >= now())
        .group_by(Repository.namespace_id)
    )
    return {int(row[0]): int(row[1]) for row in rows}


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
