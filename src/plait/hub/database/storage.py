# SPDX-License-Identifier: Apache-2.0
"""Tables of the bytes outside git: blobs, what may refer to them, and how Xet files are made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class Blob(Base):
    """Bytes by SHA-256, outside git: a flat object in the store, or chunks of xorbs."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    flat: Mapped[bool] = mapped_column(Boolean, default=True)
    """Whether the store holds the bytes as one object; if not, `XetFile` says how to make them."""
    xet_hash: Mapped[str | None] = mapped_column(String(64), default=None, index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    touched_at: Mapped[datetime] = mapped_column(default=now)
    """When somebody last meant to refer to it: `plait gc` leaves what was touched lately."""


class BlobGrant(Base):
    """A repository that has shown it holds these bytes and may refer to them.

    Knowing a hash is not enough: without a grant, a commit that names the hash is refused.
    """

    __tablename__ = "blob_grants"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    """Who brought the bytes."""


class XetFile(Base):
    """The chunks of xorbs that make a blob, in order."""

    __tablename__ = "xet_files"

    sha256: Mapped[str] = mapped_column(
        ForeignKey("blobs.sha256", ondelete="CASCADE"), primary_key=True
    )
    terms: Mapped[bytes] = mapped_column(LargeBinary)
    """44 bytes a term: xorb (32), first chunk, chunk after the last, bytes (each u32, little
    endian)."""


class XetFileXorb(Base):
    """A xorb that a blob needs."""

    __tablename__ = "xet_file_xorbs"

    sha256: Mapped[str] = mapped_column(
        ForeignKey("blobs.sha256", ondelete="CASCADE"), primary_key=True
    )
    xorb: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)


class Xorb(Base):
    """A Xet xorb that a client uploaded."""

    __tablename__ = "xorbs"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    raw_size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)
    touched_at: Mapped[datetime] = mapped_column(default=now)


class XorbOwner(Base):
    """A user who has uploaded a xorb with all its bytes and may build files from it anywhere.

    Knowing a xorb's hash is not enough. Clients remember for some weeks what they uploaded and do
    not send it again, even when the repository is gone.
    """

    __tablename__ = "xorb_owners"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    hash: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class FileScan(Base):
    """What scanners said of a file that can carry code, by its content."""

    __tablename__ = "file_scans"
    __table_args__ = (Index("ix_file_scans_verdict", "verdict", "scanned_at"),)

    content: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of a large file; ``git:`` and the blob's id of one that is kept in git."""
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="SET NULL"), default=None, index=True
    )
    """Where the bytes can be read."""
    path: Mapped[str] = mapped_column(String(1024), default="")
    """What the file was called where it was found first; its end says how to read it."""
    verdict: Mapped[str] = mapped_column(String(16), default="queued")
    """``queued``, ``scanning``, ``safe``, ``suspicious``, ``unsafe`` or ``failed``."""
    findings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """``imports``: a list of ``module``, ``name`` and ``safety``; ``reason`` where it failed."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    scanned_at: Mapped[datetime] = mapped_column(default=now)


class PendingScan(Base):
    """A ref that moved, whose new files have not been looked at yet."""

    __tablename__ = "pending_scans"

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    old: Mapped[str | None] = mapped_column(String(40), default=None)
    new: Mapped[str] = mapped_column(String(40))
    claimed_at: Mapped[datetime | None] = mapped_column(default=None)
