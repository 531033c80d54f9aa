# SPDX-License-Identifier: Apache-2.0
"""Tables of leaderboards: what models scored on a data set's tasks, and each pair of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Float, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class LeaderboardEntry(Base):
    """One revision of a model on one task of a data set, with every item's score."""

    __tablename__ = "leaderboard_entries"
    __table_args__ = (
        UniqueConstraint("task_key", "model_id", "revision"),
        Index("ix_leaderboard_entries_board", "dataset_id", "task_key"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    model_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    revision: Mapped[str] = mapped_column(String(40))
    named: Mapped[str] = mapped_column(String(200), default="main")
    """What the submitter called the revision: a branch, a tag or a pull request."""
    task: Mapped[str] = mapped_column(String(96))
    split: Mapped[str] = mapped_column(String(96))
    hidden: Mapped[bool] = mapped_column(Boolean, default=False)
    """Measured on a hidden split: no item's score is ever shown."""
    task_key: Mapped[str] = mapped_column(String(64))
    """SHA-256 over the task's definition and its items' bytes: only alike is compared."""
    data_revision: Mapped[str] = mapped_column(String(40))
    metric: Mapped[str] = mapped_column(String(64))
    score: Mapped[float] = mapped_column(Float)
    low: Mapped[float] = mapped_column(Float)
    high: Mapped[float] = mapped_column(Float)
    n: Mapped[int] = mapped_column(Integer)
    groups: Mapped[int] = mapped_column(Integer)
    result: Mapped[dict[str, Any]] = mapped_column(JSON, deferred=True)
    """The task's result with its items, as `plait.evaluation` writes it."""
    submitted_by: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    discussion_id: Mapped[int | None] = mapped_column(
        ForeignKey("discussions.id", ondelete="SET NULL"), default=None
    )
    """The pull request on the data set that named the model."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class LeaderboardPair(Base):
    """Two entries of one task compared on the same items: the first's gain over the second."""

    __tablename__ = "leaderboard_pairs"

    first_id: Mapped[int] = mapped_column(
        ForeignKey("leaderboard_entries.id", ondelete="CASCADE"), primary_key=True
    )
    second_id: Mapped[int] = mapped_column(
        ForeignKey("leaderboard_entries.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    gain: Mapped[float] = mapped_column(Float)
    """In the metric's unit, for the better: above zero where the first is better."""
    low: Mapped[float] = mapped_column(Float)
    high: Mapped[float] = mapped_column(Float)
