# SPDX-License-Identifier: Apache-2.0
"""Tables of repositories, who has access to gated ones, and what people say they like."""

from __future__ import annotations

import secrets
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from plait.hub.database.accounts import Account
from plait.hub.database.base import Base, now


class Repository(Base):
    """A model, dataset or space; its files live in the bare git repository named by ``id``."""

    __tablename__ = "repositories"
    __table_args__ = (
        UniqueConstraint("type", "namespace_id", "name_key"),
        Index("ix_repositories_updated", "type", "updated_at", "id"),
        Index("ix_repositories_created", "type", "created_at", "id"),
        Index("ix_repositories_likes", "type", "likes", "id"),
        Index("ix_repositories_downloads", "type", "downloads", "id"),
        Index("ix_repositories_trending", "type", "trending", "id"),
        Index("ix_repositories_search", "type", "search_key", "id"),
        # An id names a git folder and grants: one that was deleted must never come back.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(16))
    """``model``, ``dataset`` or ``space``."""
    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(96))
    name_key: Mapped[str] = mapped_column(String(96))
    search_key: Mapped[str] = mapped_column(String(193), default="")
    """``namespace/name`` in lower case, which searches look into."""
    private: Mapped[bool] = mapped_column(Boolean, default=False)
    gated: Mapped[str] = mapped_column(String(8), default="")
    """``auto`` or ``manual``: files are for those who asked and were let in; empty: not gated."""
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    """An administrator has closed it: its files are for nobody."""
    team_id: Mapped[int | None] = mapped_column(
        ForeignKey("teams.id", ondelete="SET NULL"), default=None, index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    created_with: Mapped[int | None] = mapped_column(
        ForeignKey("tokens.id", ondelete="SET NULL"), default=None
    )
    """The token that created it."""
    card: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """The YAML head of README.md at main, kept for listing and search."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What the files at main say, read when main moved: configuration, tensors, sizes."""
    parameters: Mapped[int | None] = mapped_column(BigInteger, default=None)
    """How many numbers its safetensors files hold."""
    head: Mapped[str | None] = mapped_column(String(40), default=None)
    """The commit of main that ``card`` and ``facts`` were read at; git itself has the truth."""
    likes: Mapped[int] = mapped_column(Integer, default=0)
    downloads: Mapped[int] = mapped_column(Integer, default=0)
    """In the last thirty days."""
    downloads_all_time: Mapped[int] = mapped_column(Integer, default=0)
    trending: Mapped[float] = mapped_column(Float, default=0.0)
    next_discussion: Mapped[int] = mapped_column(Integer, default=1)

    namespace: Mapped[Account] = relationship(foreign_keys=[namespace_id], lazy="joined")

    @property
    def full_name(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace.name}/{self.name}"


class RepositoryTag(Base):
    """A tag of a repository's card, for filtering."""

    __tablename__ = "repository_tags"
    __table_args__ = (Index("ix_repository_tags_tag", "tag", "repository_id"),)

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(200), primary_key=True)


class RepositoryRedirect(Base):
    """A name that a repository had before it was moved."""

    __tablename__ = "repository_redirects"

    type: Mapped[str] = mapped_column(String(16), primary_key=True)
    namespace_key: Mapped[str] = mapped_column(String(96), primary_key=True)
    name_key: Mapped[str] = mapped_column(String(96), primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)


class AccessRequest(Base):
    """Somebody who asked for the files of a gated repository, and what became of it."""

    __tablename__ = "access_requests"
    __table_args__ = (UniqueConstraint("repository_id", "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(
        String(24), unique=True, default=lambda: secrets.token_hex(12)
    )
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    """``pending``, ``accepted`` or ``rejected``."""
    fields: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What the card asked them to tell."""
    granted: Mapped[bool] = mapped_column(Boolean, default=False)
    """Let in without having asked: their address is not for the owners to see."""
    reason: Mapped[str] = mapped_column(String(400), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    decided_at: Mapped[datetime | None] = mapped_column(default=None)
    decided_by: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )

    user: Mapped[Account] = relationship(foreign_keys=[user_id], lazy="joined")


class Like(Base):
    """A user who likes a repository."""

    __tablename__ = "likes"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)


class DownloadCount(Base):
    """How often a repository was downloaded on a day."""

    __tablename__ = "download_counts"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    count: Mapped[int] = mapped_column(Integer, default=0)


class Follow(Base):
    """A user who follows a user or an organisation."""

    __tablename__ = "follows"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    account_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)


class Collection(Base):
    """A list of repositories and other collections that somebody put together."""

    __tablename__ = "collections"
    __table_args__ = (UniqueConstraint("namespace_id", "title_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(
        String(24), unique=True, default=lambda: secrets.token_hex(12)
    )
    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), index=True
    )
    title: Mapped[str] = mapped_column(String(120))
    title_key: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(String(400), default="")
    private: Mapped[bool] = mapped_column(Boolean, default=False)
    theme: Mapped[str] = mapped_column(String(16), default="indigo")
    position: Mapped[int] = mapped_column(Integer, default=0)
    upvotes: Mapped[int] = mapped_column(Integer, default=0)
    created_by: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)

    namespace: Mapped[Account] = relationship(foreign_keys=[namespace_id], lazy="joined")


class CollectionItem(Base):
    """Something in a collection."""

    __tablename__ = "collection_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(
        String(24), unique=True, default=lambda: secrets.token_hex(12)
    )
    collection_id: Mapped[int] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), default=None, index=True
    )
    item_type: Mapped[str] = mapped_column(String(16))
    """``model``, ``dataset``, ``space``, ``collection`` or ``paper``."""
    item_id: Mapped[str] = mapped_column(String(200), default="")
    """The slug of a collection or the number of a paper; repositories are named by their row."""
    position: Mapped[int] = mapped_column(Integer, default=0)
    note: Mapped[str] = mapped_column(String(500), default="")
