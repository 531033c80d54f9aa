# SPDX-License-Identifier: Apache-2.0
"""Tables of discussions and pull requests."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from plait.hub.database.accounts import Account
from plait.hub.database.base import Base, now


class Discussion(Base):
    """A discussion or a pull request."""

    __tablename__ = "discussions"
    __table_args__ = (
        UniqueConstraint("repository_id", "number"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(String(400))
    author_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    is_pull_request: Mapped[bool] = mapped_column(Boolean, default=False)
    status: Mapped[str] = mapped_column(String(16), default="open")
    """``draft``, ``open``, ``closed`` or ``merged``."""
    base_ref: Mapped[str] = mapped_column(String(200), default="refs/heads/main")
    merge_commit: Mapped[str | None] = mapped_column(String(40), default=None)
    locked: Mapped[bool] = mapped_column(Boolean, default=False)
    """Only those who may write to the repository may still comment."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)

    author: Mapped[Account | None] = relationship(lazy="joined")


class DiscussionEvent(Base):
    """Something that happened in a discussion, in the order of ``position``."""

    __tablename__ = "discussion_events"

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(24), unique=True, default=lambda: secrets.token_hex(12))
    discussion_id: Mapped[int] = mapped_column(
        ForeignKey("discussions.id", ondelete="CASCADE"), index=True
    )
    type: Mapped[str] = mapped_column(String(32))
    """``comment``, ``status-change``, ``commit`` or ``title-change``."""
    author_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    """None: the hub itself."""
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)

    author: Mapped[Account | None] = relationship(lazy="joined")
