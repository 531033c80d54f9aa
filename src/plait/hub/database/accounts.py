# SPDX-License-Identifier: Apache-2.0
"""Tables of people, organisations, teams, tokens and sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class Account(Base):
    """A user or an organisation: both own a namespace."""

    __tablename__ = "accounts"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(96))
    name_key: Mapped[str] = mapped_column(String(96), unique=True)
    """The name in lower case: two names may not differ by case alone."""
    kind: Mapped[str] = mapped_column(String(16))
    """``user`` or ``organization``."""
    fullname: Mapped[str] = mapped_column(String(200), default="")
    email: Mapped[str] = mapped_column(String(320), default="")
    about: Mapped[str] = mapped_column(String(2000), default="")
    """What the account's page says of it, Markdown."""
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False)
    password: Mapped[str | None] = mapped_column(String(255), default=None)
    """Argon2id hash in PHC form; None: signs in with tokens or elsewhere only."""
    disabled_at: Mapped[datetime | None] = mapped_column(default=None)
    """Since when the account may not sign in and its tokens do nothing."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class Identity(Base):
    """Who a user is at an OpenID Connect provider."""

    __tablename__ = "identities"

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Membership(Base):
    """A user's role in an organisation: ``read``, ``contributor``, ``write`` or ``admin``."""

    __tablename__ = "memberships"

    organization_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Team(Base):
    """A team of an organisation: some of its members around some of its repositories.

    A private repository that belongs to a team is there for the team and the organisation's
    admins only, with the role that the team gives (the Hub calls this a resource group).
    """

    __tablename__ = "teams"
    __table_args__ = (
        UniqueConstraint("organization_id", "name_key"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(96))
    name_key: Mapped[str] = mapped_column(String(96))
    description: Mapped[str] = mapped_column(String(400), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class TeamMember(Base):
    """A user's role in a team: the same four as in an organisation."""

    __tablename__ = "team_members"

    team_id: Mapped[int] = mapped_column(
        ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(16))


class Token(Base):
    """An access token; only its SHA-256 is kept."""

    __tablename__ = "tokens"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(96))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(8), default="")
    """The token's last characters, by which its owner tells it from others."""
    scope: Mapped[str] = mapped_column(String(16))
    """``read``, ``contributor``, ``write`` or ``fine-grained``."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    last_used_from: Mapped[str] = mapped_column(String(64), default="")
    expires_at: Mapped[datetime | None] = mapped_column(default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)


class TokenGrant(Base):
    """What a fine-grained token may do, and where: one repository, or all of one namespace."""

    __tablename__ = "token_grants"
    __table_args__ = (UniqueConstraint("token_id", "repository_id", "namespace_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("tokens.id", ondelete="CASCADE"), index=True)
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), default=None
    )
    namespace_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), default=None
    )
    permission: Mapped[str] = mapped_column(String(16))
    """``read``, ``contributor`` (read and open pull requests) or ``write``."""


class BrowserSession(Base):
    """A signed-in browser; only the SHA-256 of its cookie is kept."""

    __tablename__ = "sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    token_id: Mapped[int | None] = mapped_column(
        ForeignKey("tokens.id", ondelete="CASCADE"), default=None
    )
    """The token that it was opened with: the session may do no more, and ends with it."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column()


class OneTimeSecret(Base):
    """A secret that works once: to become the first administrator, or to set a password."""

    __tablename__ = "one_time_secrets"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column()


class RateCount(Base):
    """How often something that is limited was done in a window of time, over all processes."""

    __tablename__ = "rate_counts"

    key: Mapped[str] = mapped_column(String(160), primary_key=True)
    """What is limited and for whom, as ``login:203.0.113.7``."""
    window: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Start of the window, seconds since 1970."""
    count: Mapped[int] = mapped_column(Integer, default=0)
