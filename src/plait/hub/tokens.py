# SPDX-License-Identifier: Apache-2.0
"""Access tokens and browser sessions; only digests are kept."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from plait.errors import BadInput, NotFound, Unauthorized
from plait.hub.accounts import load_actor
from plait.hub.database import Account, BrowserSession, Token, now
from plait.hub.permissions import Actor, Scope

if TYPE_CHECKING:
    from plait.hub.facade import Hub

SESSION_COOKIE = "plait-session"
"""The cookie that holds a browser's session."""
PREFIX = "plait_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS = 43
_CHECK_DIGITS = 6
_USE_INTERVAL = timedelta(minutes=1)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, rest = divmod(number, 62)
        text = _ALPHABET[rest] + text
    return text


def new_token() -> str:
    """Make a token: a prefix that secret scanners know, 32 random bytes, a checksum."""
    body = PREFIX + _base62(int.from_bytes(secrets.token_bytes(32)), _SECRET_DIGITS)
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_DIGITS)


def looks_like_token(text: str) -> bool:
    """Tell whether the text has a token's form and checksum, without asking the database."""
    return (
        text.startswith(PREFIX)
        and len(text) == len(PREFIX) + _SECRET_DIGITS + _CHECK_DIGITS
        and text.isascii()
        and _checksum(text[:-_CHECK_DIGITS]) == text[-_CHECK_DIGITS:]
    )


def digest(secret: str) -> str:
    """Return what is kept of a secret. It is random, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens and browser sessions of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create(
        self,
        user: Account,
        *,
        scope: Scope = "write",
        name: str = "",
        expires_at: datetime | None = None,
    ) -> str:
        """Make a token and return it; it cannot be read again.

        Raises:
            BadInput: the scope is neither ``read`` nor ``write``, or the account no user.
        """
        if scope not in ("read", "write"):
            raise BadInput(f"There is no token scope {scope!a}. Use 'read' or 'write'.")
        if user.kind != "user":
            raise BadInput(f"'{user.name}' is an organisation; tokens belong to users.")
        secret = new_token()
        with self._hub.session(write=True) as session:
            session.add(
                Token(
                    user_id=user.id,
                    name=(name or scope)[:96],
                    digest=digest(secret),
                    scope=scope,
                    expires_at=expires_at,
                )
            )
        return secret

    def authenticate(self, plaintext: str) -> tuple[Actor, Token] | None:
        """Return who a token stands for, or None if it is unknown, expired or revoked."""
        if not looks_like_token(plaintext):
            return None
        with self._hub.session() as session:
            token = session.scalar(select(Token).where(Token.digest == digest(plaintext)))
            actor = self._actor(session, token) if token is not None else None
        if token is None or actor is None:
            return None
        self._note_use(token)
        return actor, token

    def _actor(self, session: Session, token: Token) -> Actor | None:
        """Return the actor of a token that is still good."""
        if token.revoked_at is not None:
            return None
        if token.expires_at is not None and token.expires_at <= now():
            return None
        user = session.get(Account, token.user_id)
        if user is None:
            return None
        return load_actor(session, user, cast(Scope, token.scope), token.id)

    def _note_use(self, token: Token) -> None:
        moment = now()
        if token.last_used_at is not None and moment - token.last_used_at < _USE_INTERVAL:
            return
        with self._hub.session(write=True) as session:
            session.execute(update(Token).where(Token.id == token.id).values(last_used_at=moment))
        token.last_used_at = moment

    def list(self, user: Account) -> list[Token]:
        """List a user's tokens that are not revoked, newest first."""
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(Token)
                    .where(Token.user_id == user.id, Token.revoked_at.is_(None))
                    .order_by(Token.id.desc())
                )
            )

    def revoke(self, token_id: int) -> None:
        """End a token and every browser session opened with it.

        Raises:
            NotFound: there is no such token.
        """
        with self._hub.session(write=True) as session:
            token = session.get(Token, token_id)
            if token is None:
                raise NotFound(f"There is no token with id {token_id}.")
            token.revoked_at = token.revoked_at or now()
            session.execute(delete(BrowserSession).where(BrowserSession.token_id == token_id))

    def open_session(self, actor: Actor) -> str:
        """Sign a browser in and return its cookie's value.

        The session may do no more than the token that ``actor`` came with, and ends with it.

        Raises:
            Unauthorized: nobody is signed in.
        """
        if actor.user_id is None:
            raise Unauthorized("Sign in with a token first.")
        cookie = secrets.token_urlsafe(32)
        with self._hub.session(write=True) as session:
            session.add(
                BrowserSession(
                    digest=digest(cookie),
                    user_id=actor.user_id,
                    token_id=actor.token_id,
                    expires_at=now() + timedelta(seconds=self._hub.settings.session_ttl),
                )
            )
        return cookie

    def session_actor(self, cookie: str) -> Actor | None:
        """Return who a browser's cookie stands for, or None if the session has ended."""
        with self._hub.session() as session:
            found = session.get(BrowserSession, digest(cookie[:200]))
            if found is None or found.expires_at <= now():
                return None
            if found.token_id is not None:
                token = session.get(Token, found.token_id)
                return self._actor(session, token) if token is not None else None
            user = session.get(Account, found.user_id)
            return load_actor(session, user, "write") if user is not None else None

    def close_session(self, cookie: str) -> None:
        """Sign a browser out."""
        with self._hub.session(write=True) as session:
            session.execute(
                delete(BrowserSession).where(BrowserSession.digest == digest(cookie[:200]))
            )
