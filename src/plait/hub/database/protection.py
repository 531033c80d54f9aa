# SPDX-License-Identifier: Apache-2.0
"""Tables of what a branch asks before it moves: rules, reviews, and checks from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from plait.hub.database.accounts import Account
from plait.hub.database.base import Base, now


class BranchRule(Base):
    """What holds for the branches of a repository whose names match a pattern."""

    __tablename__ = "branch_rules"
    __table_args__ = (UniqueConstraint("repository_id", "pattern"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    pattern: Mapped[str] = mapped_column(String(200))
    push: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Who may push: pairs of kind and id; None: all who write, an empty list: nobody."""
    merge: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Who may merge, as for ``push``."""
    reviews: Mapped[int] = mapped_column(Integer, default=0)
    """Approvals that a pull request needs."""
    contexts: Mapped[list[Any]] = mapped_column(JSON, default=list)
    """Checks from outside that must have succeeded on its newest commit."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class Review(Base):
    """What somebody thinks of a pull request at one commit; a later one replaces it."""

    __tablename__ = "reviews"
    __table_args__ = (UniqueConstraint("discussion_id", "author_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    discussion_id: Mapped[int] = mapped_column(
        ForeignKey("discussions.id", ondelete="CASCADE"), index=True
    )
    author_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    verdict: Mapped[str] = mapped_column(String(16))
    """``approve`` or ``reject``."""
    head: Mapped[str] = mapped_column(String(40))
    """The commit that was looked at; for another it counts for nothing."""
    created_at: Mapped[datetime] = mapped_column(default=now)

    author: Mapped[Account] = relationship(lazy="joined")


class CommitStatus(Base):
    """What a check from outside found about a commit; of one context the newest counts."""

    __tablename__ = "commit_statuses"
    __table_args__ = (Index("ix_commit_statuses_sha", "repository_id", "sha"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    sha: Mapped[str] = mapped_column(String(40))
    context: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    """``pending``, ``success``, ``failure`` or ``error``."""
    description: Mapped[str] = mapped_column(String(400), default="")
    target_url: Mapped[str] = mapped_column(Text, default="")
    creator_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    created_at: Mapped[datetime] = mapped_column(default=now)

    creator: Mapped[Account | None] = relationship(lazy="joined")
