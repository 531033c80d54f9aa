# SPDX-License-Identifier: Apache-2.0
"""Tables of jobs and of what they measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class Job(Base):
    """Long work, done by a worker process; this row is the truth about it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_created", "state", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    key: Mapped[str | None] = mapped_column(String(200), default=None, unique=True)
    """Idempotency key of unfinished work; cleared when the job ends."""
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    """``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``."""
    stage: Mapped[str] = mapped_column(String(200), default="")
    fraction: Mapped[float] = mapped_column(Float, default=0.0)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str | None] = mapped_column(String(96), default=None)
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    """Of the jobs that wait, those of the highest priority are taken up first."""
    cpu_seconds: Mapped[float] = mapped_column(Float, default=0.0)
    """What all attempts took, child processes included."""
    gpu_seconds: Mapped[float] = mapped_column(Float, default=0.0)
    bytes_written: Mapped[int] = mapped_column(BigInteger, default=0)
    namespace_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None, index=True
    )
    """On whose limit and bill it is: the repository's namespace, else whoever asked."""
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), default=None, index=True
    )
    discussion_id: Mapped[int | None] = mapped_column(
        ForeignKey("discussions.id", ondelete="CASCADE"), default=None, index=True
    )
    requested_by: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class JobLimit(Base):
    """How many jobs on one namespace's bill may run at the same time."""

    __tablename__ = "job_limits"

    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    running: Mapped[int] = mapped_column(Integer)


class JobLine(Base):
    """One line of a job's log."""

    __tablename__ = "job_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    text: Mapped[str] = mapped_column(Text)


class StoredEvaluation(Base):
    """A model's per-item results on one split of a repository's tasks, kept for comparison.

    Item by item they are shown to nobody but who may read the data set's files.
    """

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("model_key", "task_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    model_key: Mapped[str] = mapped_column(String(64))
    """SHA-256 over the model's files that decide its predictions."""
    task_key: Mapped[str] = mapped_column(String(64))
    """SHA-256 over the task's definition and its items' bytes."""
    task: Mapped[str] = mapped_column(String(96))
    split: Mapped[str] = mapped_column(String(96))
    result: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=now)
