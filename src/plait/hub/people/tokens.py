# SPDX-License-Identifier: Apache-2.0
"""Access tokens and browser sessions; only digests are kept."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, cast, get_args

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from plait.errors import BadInput, Forbidden, NotFound, Unauthorized
from plait.hub.database import (
    Account,
    BrowserSession,
    Repository,
    Token,
    TokenGrant,
    now,
)
from plait.hub.names import check_text
from plait.hub.people.actors import load_actor
from plait.hub.permissions import PERMISSIONS, SYSTEM, Actor, Permission, Scope, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub

SESSION_COOKIE = "plait-session"
"""The cookie that holds a browser's session."""
PREFIX = "plait_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS = 43
_CHECK_DIGITS = 6
_USE_INTERVAL = timedelta(minutes=1)
_SLIDE_INTERVAL = timedelta(minutes=10)
_HINT = 4
MAX_GRANTS = 100
TokenScope = Literal["read", "contributor", "write", "fine-grained"]
SCOPES: tuple[TokenScope, ...] = get_args(TokenScope)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, rest = divmod(number, 62)
        text = _ALPHABET[rest] + text
    return text


_FOREIGN = "hf_"  # the npm client refuses tokens that do not begin with it


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


@dataclass(frozen=True)
class Grant:
    """What a fine-grained token may do, in one repository or in all of a namespace."""

    permission: Permission
    repository: Repository | None = None
    namespace: Account | None = None

    @property
    def place(self) -> str:
        """The repository's or namespace's name."""
        if self.repository is not None:
            return f"{self.repository.type} {self.repository.full_name}"
        assert self.namespace is not None
        return self.namespace.name


class Tokens:
    """The tokens and browser sessions of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def issue(
        self,
        actor: Actor,
        *,
        scope: Scope,
        name: str,
        expires_at: datetime | None = None,
        grants: Sequence[Grant] = (),
    ) -> str:
        """Make a token for oneself and return it; it cannot be read again.

        A token can make others, but none that outlives it.

        Raises:
            Forbidden: the actor's own token may not, or the actor may not read what is granted.
            BadInput: as `create`.
            TooManyRequests: too many tokens in an hour.
        """
        if actor.user_id is None or not can(actor, "account.self"):
            raise Forbidden("Only a token of scope 'write' or a signed-in browser makes tokens.")
        self._hub.limits.spend("token", actor)
        with self._hub.session() as session:
            user = session.get(Account, actor.user_id)
            own = session.get(Token, actor.token_id) if actor.token_id is not None else None
        if user is None:
            raise Forbidden("This account is gone.")
        ends = own.expires_at if own is not None else None
        if ends is not None and (expires_at is None or expires_at > ends):
            raise BadInput(
                "A token cannot make one that outlives it. "
                f"Let the new one end before {ends:%Y-%m-%d %H:%M} UTC, or use the browser."
            )
        for grant in grants:
            if grant.repository is not None:
                self._hub.repositories.require(actor, grant.repository, "repo.read")
        return self.create(
            user, scope=scope, name=name, expires_at=expires_at, grants=grants, by=actor
        )

    def create(
        self,
        user: Account,
        *,
        scope: Scope = "write",
        name: str = "",
        expires_at: datetime | None = None,
        grants: Sequence[Grant] = (),
        by: Actor = SYSTEM,
    ) -> str:
        """Make a token and return it; it cannot be read again.

        Raises:
            BadInput: there is no such scope, the account is no user, or the grants do not fit.
            Forbidden: ``by`` is neither the user nor the operator.
        """
        if not can(by, "account.self", user):
            raise Forbidden("Users make their own tokens.")
        if scope not in SCOPES:
            raise BadInput(f"There is no token scope {scope!a}. Use one of: {', '.join(SCOPES)}.")
        if user.kind != "user":
            raise BadInput(f"'{user.name}' is an organisation; tokens belong to users.")
        _check_grants(scope, grants)
        check_text(name, "The token's name", 96)
        secret = new_token()
        with self._hub.session(write=True) as session:
            token = Token(
                user_id=user.id,
                name=name or scope,
                digest=digest(secret),
                hint=secret[-_HINT:],
                scope=scope,
                expires_at=expires_at,
            )
            session.add(token)
            session.flush()
            session.add_all(
                TokenGrant(
                    token_id=token.id,
                    repository_id=grant.repository.id if grant.repository else None,
                    namespace_id=grant.namespace.id if grant.namespace else None,
                    permission=grant.permission,
                )
                for grant in grants
            )
            self._hub.events.record(
                session,
                by,
                "token.create",
                account=user,
                token=token.id,
                name=token.name,
                scope=scope,
                expires_at=expires_at.isoformat() if expires_at else None,
                grants=[{"permission": g.permission, "place": g.place} for g in grants],
            )
        return secret

    def authenticate(self, plaintext: str, address: str = "") -> tuple[Actor, Token] | None:
        """Return who a token stands for, or None if it is unknown, expired or revoked.

        The same token with ``hf_`` before it stands for the same: some clients send no other.
        """
        plaintext = plaintext.removeprefix(_FOREIGN)
        if not looks_like_token(plaintext):
            return None
        with self._hub.session() as session:
            token = session.scalar(select(Token).where(Token.digest == digest(plaintext)))
            actor = self._actor(session, token, address) if token is not None else None
        if token is None or actor is None:
            return None
        self._note_use(token, address)
        return actor, token

    def actor_of(self, user_id: int, token_id: int | None) -> Actor | None:
        """Return who a token's or session's user is now; None if either has ended."""
        with self._hub.session() as session:
            if token_id is not None:
                token = session.get(Token, token_id)
                return self._actor(session, token, "") if token is not None else None
            user = session.get(Account, user_id)
            if user is None or user.disabled_at is not None:
                return None
            return load_actor(session, user, "write")

    def _actor(self, session: Session, token: Token, address: str) -> Actor | None:
        """Return the actor of a token that is still good."""
        if token.revoked_at is not None:
            return None
        if token.expires_at is not None and token.expires_at <= now():
            return None
        user = session.get(Account, token.user_id)
        if user is None or user.disabled_at is not None:
            return None
        actor = load_actor(session, user, cast(Scope, token.scope), token.id)
        return replace(actor, address=address)

    def _note_use(self, token: Token, address: str) -> None:
        moment = now()
        if token.last_used_at is not None and moment - token.last_used_at < _USE_INTERVAL:
            return
        values = {"last_used_at": moment, "last_used_from": address[:64]}
        with self._hub.session(write=True) as session:
            session.execute(update(Token).where(Token.id == token.id).values(**values))
        token.last_used_at, token.last_used_from = moment, address[:64]

    def list(self, user: Account) -> Sequence[Token]:
        """List a user's tokens that are not revoked, newest first."""
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(Token)
                    .where(Token.user_id == user.id, Token.revoked_at.is_(None))
                    .order_by(Token.id.desc())
                    .limit(1000)
                )
            )

    def list_own(self, actor: Actor) -> Sequence[Token]:
        """List the tokens of the actor's user.

        Raises:
            Forbidden: the actor's token may not.
        """
        if actor.user_id is None or not can(actor, "account.self"):
            raise Forbidden("A token of scope 'write' or a signed-in browser is needed.")
        with self._hub.session() as session:
            user = session.get(Account, actor.user_id)
        return self.list(user) if user is not None else ()

    def grants_of(self, tokens: Iterable[Token]) -> dict[int, Sequence[Grant]]:
        """Return what fine-grained tokens were granted, by the token's id.

        Repositories that a token's user cannot read any more are left out.
        """
        users = {token.id: token.user_id for token in tokens if token.scope == "fine-grained"}
        ids = list(users)
        found: dict[int, tuple[Grant, ...]] = dict.fromkeys(ids, ())
        with self._hub.session() as session:
            readers = {
                user.id: load_actor(session, user, "write")
                for user in (session.get(Account, number) for number in set(users.values()))
                if user is not None
            }
            for start in range(0, len(ids), 500):
                rows = session.execute(
                    select(TokenGrant, Repository, Account)
                    .outerjoin(Repository, Repository.id == TokenGrant.repository_id)
                    .outerjoin(Account, Account.id == TokenGrant.namespace_id)
                    .where(TokenGrant.token_id.in_(ids[start : start + 500]))
                    .order_by(TokenGrant.id)
                )
                for row, repository, namespace in rows:
                    reader = readers.get(users[row.token_id])
                    if repository is not None and (
                        reader is None or not can(reader, "repo.read", repository)
                    ):
                        continue
                    permission = cast(Permission, row.permission)
                    found[row.token_id] += (Grant(permission, repository, namespace),)
        return dict(found)

    def revoke(self, token_id: int, *, by: Actor = SYSTEM) -> None:
        """End a token and every browser session opened with it.

        Raises:
            NotFound: there is no such token, or it is not of ``by``.
        """
        missing = NotFound(f"There is no token with id {token_id}.")
        with self._hub.session(write=True) as session:
            token = session.get(Token, token_id)
            user = session.get(Account, token.user_id) if token is not None else None
            if token is None or user is None:
                raise missing
            if not can(by, "account.self", user) and not can(by, "hub.admin"):
                raise missing
            session.execute(delete(BrowserSession).where(BrowserSession.token_id == token_id))
            if token.revoked_at is None:
                token.revoked_at = now()
                self._hub.events.record(
                    session, by, "token.revoke", account=user, token=token.id, name=token.name
                )

    def open_session(self, actor: Actor) -> str:
        """Sign a browser in and return its cookie's value.

        The session may do no more than the token that ``actor`` came with, and ends with it.

        Raises:
            Unauthorized: nobody is signed in.
        """
        if actor.user_id is None:
            raise Unauthorized("Sign in with a token first.")
        cookie = secrets.token_urlsafe(32)
        moment = now()
        with self._hub.session(write=True) as session:
            session.add(
                BrowserSession(
                    digest=digest(cookie),
                    user_id=actor.user_id,
                    token_id=actor.token_id,
                    created_at=moment,
                    expires_at=self._session_end(moment, moment),
                )
            )
        return cookie

    def _session_end(self, opened: datetime, used: datetime) -> datetime:
        settings = self._hub.settings
        return min(
            opened + timedelta(seconds=settings.session_ttl),
            used + timedelta(seconds=settings.session_idle),
        )

    def session_actor(self, cookie: str, address: str = "") -> Actor | None:
        """Return who a browser's cookie stands for, or None if the session has ended."""
        with self._hub.session() as session:
            found = session.get(BrowserSession, digest(cookie[:200]))
            if found is None or found.expires_at <= now():
                return None
        actor = self.actor_of(found.user_id, found.token_id)
        if actor is None:
            return None
        end = self._session_end(found.created_at, now())
        if end - found.expires_at > _SLIDE_INTERVAL:
            with self._hub.session(write=True) as session:
                session.execute(
                    update(BrowserSession)
                    .where(BrowserSession.digest == found.digest)
                    .values(expires_at=end)
                )
        return replace(actor, address=address)

    def close_session(self, cookie: str) -> None:
        """Sign a browser out."""
        with self._hub.session(write=True) as session:
            found = session.get(BrowserSession, digest(cookie[:200]))
            if found is not None:
                user = session.get(Account, found.user_id)
                actor = Actor(found.user_id, user.name if user else None, token_id=found.token_id)
                session.delete(found)
                self._hub.events.record(session, actor, "logout", account=user)

    def sessions(self, actor: Actor) -> Sequence[BrowserSession]:
        """List the browsers in which the actor's user is signed in, newest first.

        Raises:
            Forbidden: the actor's token may not.
        """
        if actor.user_id is None or not can(actor, "account.self"):
            raise Forbidden("A token of scope 'write' or a signed-in browser is needed.")
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(BrowserSession)
                    .where(
                        BrowserSession.user_id == actor.user_id, BrowserSession.expires_at > now()
                    )
                    .order_by(BrowserSession.created_at.desc())
                    .limit(200)
                )
            )

    def end_session(self, actor: Actor, name: str) -> None:
        """Sign one browser of the actor's user out; ``name`` begins its digest.

        Raises:
            Forbidden: the actor's token may not.
            NotFound: there is no such session of theirs.
        """
        found = [one for one in self.sessions(actor) if name and one.digest.startswith(name)]
        if len(found) != 1:
            raise NotFound("There is no such session. It may have ended already.")
        with self._hub.session(write=True) as session:
            user = session.get(Account, actor.user_id)
            session.execute(delete(BrowserSession).where(BrowserSession.digest == found[0].digest))
            self._hub.events.record(session, actor, "logout", account=user)

    def close_sessions(self, actor: Actor) -> None:
        """Sign every browser of a user out.

        Raises:
            Forbidden: the actor's token may not.
        """
        if not can(actor, "account.self"):
            raise Forbidden("A token of scope 'write' or a signed-in browser is needed.")
        with self._hub.session(write=True) as session:
            user = session.get(Account, actor.user_id)
            session.execute(delete(BrowserSession).where(BrowserSession.user_id == actor.user_id))
            self._hub.events.record(session, actor, "logout", account=user, everywhere=True)


def _check_grants(scope: Scope, grants: Sequence[Grant]) -> None:
    if (scope == "fine-grained") != bool(grants):
        raise BadInput(
            "A fine-grained token needs at least one repository or namespace, and only such a "
            "token has any."
        )
    if len(grants) > MAX_GRANTS:
        raise BadInput(f"A token may name at most {MAX_GRANTS} repositories and namespaces.")
    for grant in grants:
        if grant.permission not in PERMISSIONS:
            raise BadInput(f"Grant one of: {', '.join(PERMISSIONS)}; not {grant.permission!a}.")
        if (grant.repository is None) == (grant.namespace is None):
            raise BadInput("A grant names either a repository or a namespace.")
    places = [
        (grant.repository.id if grant.repository else None, grant.namespace and grant.namespace.id)
        for grant in grants
    ]
    if len(set(places)) < len(places):
        raise BadInput("Name each repository and each namespace once.")
