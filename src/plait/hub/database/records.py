# SPDX-License-Identifier: Apache-2.0
"""Tables of what happened and who is told: the audit log, webhooks and their deliveries."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class AuditEntry(Base):
    """One thing that somebody did; entries are only ever added, and each seals the one before."""

    __tablename__ = "audit_entries"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    position: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(96), default="")
    """Name of the account at that time; empty: nobody who is known."""
    actor_id: Mapped[int | None] = mapped_column(Integer, default=None, index=True)
    token_id: Mapped[int | None] = mapped_column(Integer, default=None)
    address: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(48), index=True)
    target: Mapped[str] = mapped_column(String(300), default="")
    """What it was done to, by its name at that time."""
    namespace_id: Mapped[int | None] = mapped_column(Integer, default=None, index=True)
    """Whose organisation or user it concerns: their admins may read the entry."""
    repository_id: Mapped[int | None] = mapped_column(Integer, default=None, index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 over the entry's canonical JSON and ``previous``."""


class Webhook(Base):
    """An address that wants to be told what happens."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(
        String(24), unique=True, default=lambda: secrets.token_hex(12)
    )
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    watched: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """``items``: a list of ``type`` (user, org, model, dataset, space) and ``name``."""
    domains: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """``items``: of ``repo`` and ``discussion``."""
    secret: Mapped[str | None] = mapped_column(String(255), default=None)
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    failing_since: Mapped[datetime | None] = mapped_column(default=None)
    """When the first of the deliveries failed since one last arrived."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class WebhookWatch(Base):
    """A namespace or repository that a webhook watches, by its row, so that it may be renamed."""

    __tablename__ = "webhook_watches"

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(
        ForeignKey("webhooks.id", ondelete="CASCADE"), index=True
    )
    account_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), default=None, index=True
    )
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), default=None, index=True
    )


class Delivery(Base):
    """A message to a webhook, until it has arrived or was given up; kept for its owner to see."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_due", "state", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(
        String(24), unique=True, default=lambda: secrets.token_hex(12)
    )
    webhook_id: Mapped[int] = mapped_column(
        ForeignKey("webhooks.id", ondelete="CASCADE"), index=True
    )
    repository_id: Mapped[int | None] = mapped_column(Integer, default=None)
    """What it is about: shown and sent only while the webhook's owner may read that. None: what
    it was about is gone, and the owner could read it until then."""
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    """``waiting``, ``sending``, ``delivered`` or ``failed``."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime] = mapped_column(default=now)
    """When it is to be sent; of one being sent, when its sender is given up."""
    status: Mapped[int | None] = mapped_column(Integer, default=None)
    """The last answer's HTTP status."""
    answer: Mapped[str] = mapped_column(Text, default="")
    """The beginning of the last answer, or why there was none."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
