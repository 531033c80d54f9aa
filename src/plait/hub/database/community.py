# SPDX-License-Identifier: Apache-2.0
"""Tables of the community: labels, notifications, subscriptions and what happened lately."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class Label(Base):
    """A label that a repository's owners put on its discussions and pull requests."""

    __tablename__ = "labels"
    __table_args__ = (UniqueConstraint("repository_id", "name_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(40))
    name_key: Mapped[str] = mapped_column(String(40))
    colour: Mapped[str] = mapped_column(String(16), default="grey")
    description: Mapped[str] = mapped_column(String(200), default="")


class DiscussionLabel(Base):
    """A label on a discussion."""

    __tablename__ = "discussion_labels"

    discussion_id: Mapped[int] = mapped_column(
        ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True
    )
    label_id: Mapped[int] = mapped_column(
        ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class Notification(Base):
    """Something in a discussion that a user is told of; shown only while they may read it."""

    __tablename__ = "notifications"
    __table_args__ = (Index("ix_notifications_user", "user_id", "read_at", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    discussion_id: Mapped[int] = mapped_column(
        ForeignKey("discussions.id", ondelete="CASCADE"), index=True
    )
    event_id: Mapped[str] = mapped_column(String(24), default="")
    """The comment that it is about, if it is about one."""
    reason: Mapped[str] = mapped_column(String(16))
    """``mention``, ``reply`` (the user takes part), ``watch`` (the user follows all of it)."""
    action: Mapped[str] = mapped_column(String(32))
    actor_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    """Whose doing it was; None: the hub's."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    read_at: Mapped[datetime | None] = mapped_column(default=None)


class DiscussionSubscription(Base):
    """A user who wants to hear of a discussion, or who does not."""

    __tablename__ = "discussion_subscriptions"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    discussion_id: Mapped[int] = mapped_column(
        ForeignKey("discussions.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    muted: Mapped[bool] = mapped_column(Boolean, default=False)


class RepositorySubscription(Base):
    """A user who wants to hear of all discussions of a repository, or of none of them."""

    __tablename__ = "repository_subscriptions"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    muted: Mapped[bool] = mapped_column(Boolean, default=False)


class Activity(Base):
    """Something that was done in a repository, as feeds tell it to those who may read that."""

    __tablename__ = "activities"
    __table_args__ = (
        Index("ix_activities_repository", "repository_id", "id"),
        Index("ix_activities_actor", "actor_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(String(32))
    actor_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    number: Mapped[int | None] = mapped_column(Integer, default=None)
    """The discussion that it happened in."""
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
