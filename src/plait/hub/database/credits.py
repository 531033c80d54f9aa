# SPDX-License-Identifier: Apache-2.0
"""Tables of credit: what each contribution to a model's main gained."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class ContributionCredit(Base):
    """The Shapley value of one contribution to a model's main as it is."""

    __tablename__ = "contribution_credits"
    __table_args__ = (UniqueConstraint("repository_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int] = mapped_column(Integer)
    """The pull request that it came by."""
    account_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None, index=True
    )
    """Whose it is: the organisation that the author spoke for, or the author."""
    holder: Mapped[str] = mapped_column(String(96))
    """Their name at that time."""
    author: Mapped[str] = mapped_column(String(96), default="")
    value: Mapped[float] = mapped_column(Float)
    """Of the average over tasks, in the metric's unit."""
    error: Mapped[float] = mapped_column(Float, default=0.0)
    """The standard error of the value; 0 where every subset was measured."""
    tasks: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """The value by task."""
    metric: Mapped[str] = mapped_column(String(96), default="")
    revision: Mapped[str] = mapped_column(String(40))
    """The landing that it was worked out for."""
    created_at: Mapped[datetime] = mapped_column(default=now)
