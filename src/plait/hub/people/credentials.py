# SPDX-License-Identifier: Apache-2.0
"""Signing in, setting passwords, one-time links, and the first administrator."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import Conflict, Forbidden, Unauthorized
from plait.hub.database import Account, BrowserSession, OneTimeSecret, now
from plait.hub.people.actors import load_actor
from plait.hub.people.passwords import check_password, hash_password, needs_rehash, verify_password
from plait.hub.people.tokens import digest
from plait.hub.permissions import SYSTEM, Actor, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub

FIRST_ADMINISTRATOR = "administrator"
WRONG = "The name or the password is wrong, or the account has none. Try again or use a token."
SPENT = "This link has been used, or its time is over. Ask an administrator for a new one."


@dataclass(frozen=True)
class FirstRun:
    """The administrator of a new hub, and the secret with which they set their password."""

    name: str
    secret: str


class Credentials:
    """How the users of one hub show who they are; part of `plait.hub.people.accounts.Accounts`."""

    _hub: Hub

    def sign_in(self, name: str, password: str, address: str = "") -> Actor:
        """Return the user's actor if this is their password.

        Raises:
            Unauthorized: it is not, or there is no such user; nobody is told which.
            TooManyRequests: too many attempts from that address, or for that name.
        """
        hub = self._hub
        hub.limits.spend("login", address)
        hub.limits.spend("login", f"name {name[:96].lower()}")
        with hub.session() as session:
            user = _user(session, name)
        right = verify_password(user.password if user is not None else None, password)
        if user is None or not right or user.disabled_at is not None:
            self._refused(user, address, "password")
            raise Unauthorized(WRONG)
        again = hash_password(password) if needs_rehash(user.password or "") else None
        with hub.session(write=True) as session:
            fresh = session.get(Account, user.id)
            if fresh is None or fresh.disabled_at is not None or fresh.password != user.password:
                raise Unauthorized(WRONG)
            fresh.password = again or fresh.password
            return self._signed_in(session, fresh, address, "password")

    def sign_in_with_token(self, plaintext: str, address: str = "") -> Actor:
        """Return the actor of a token with which somebody opens a browser session.

        Raises:
            Unauthorized: it is unknown, expired or revoked.
            TooManyRequests: too many attempts from that address.
        """
        hub = self._hub
        hub.limits.spend("login", address)
        found = hub.tokens.authenticate(plaintext, address)
        if found is None:
            self._refused(None, address, "token")
            raise Unauthorized("This token is unknown, expired or revoked. Use another.")
        actor = found[0]
        with hub.session(write=True) as session:
            account = session.get(Account, actor.user_id)
            hub.events.record(session, actor, "login", account=account, means="token")
        return actor

    def change_password(self, actor: Actor, old: str, new: str) -> None:
        """Set one's own password and end every browser session; open a new one afterwards.

        Raises:
            Unauthorized: the old password is wrong.
            Forbidden: the actor's token may not, or the account has no password yet.
            BadInput: the new one is not good enough.
            TooManyRequests: too many attempts.
        """
        if not can(actor, "account.self"):
            raise Forbidden("Sign in with your password to change it.")
        hub = self._hub
        with hub.session() as session:
            user = session.get(Account, actor.user_id)
        if user is None or user.password is None:
            raise Forbidden(
                "This account has no password yet. Ask an administrator for a one-time link."
            )
        hub.limits.spend("login", f"name {user.name_key}")
        if not verify_password(user.password, old):
            raise Unauthorized("The old password is wrong. Try again.")
        hashed = hash_password(check_password(new, user.name))
        with hub.session(write=True) as session:
            fresh = session.get(Account, user.id, with_for_update={"of": Account})
            if fresh is None or fresh.password != user.password:
                raise Conflict("The password was changed meanwhile. Sign in again.")
            self._set_password(session, fresh, hashed)
            hub.events.record(session, actor, "password.change", account=fresh)

    def invite(self, user: Account, *, by: Actor = SYSTEM) -> str:
        """Make a one-time secret with which a user sets their password; earlier ones end.

        Raises:
            Forbidden: only the hub's administrators invite.
            Conflict: the account is disabled, or an organisation.
        """
        if not can(by, "hub.admin"):
            raise Forbidden("Only administrators of the hub may invite.")
        if user.kind != "user" or user.disabled_at is not None:
            raise Conflict(f"'{user.name}' is not a user who may sign in.")
        with self._hub.session(write=True) as session:
            self._hub.events.record(session, by, "user.invite", account=user)
            return self._secret(session, user)

    def first_run(self) -> FirstRun | None:
        """Make the administrator of a hub without any account; None if there are accounts.

        There is no default password: whoever has the secret, printed once, chooses one.
        """
        try:
            with self._hub.session(write=True) as session:
                if session.scalar(select(func.count()).select_from(Account)):
                    return None
                user = Account(
                    name=FIRST_ADMINISTRATOR,
                    name_key=FIRST_ADMINISTRATOR,
                    kind="user",
                    is_admin=True,
                )
                session.add(user)
                session.flush()
                self._hub.events.record(session, SYSTEM, "user.create", account=user, admin=True)
                return FirstRun(user.name, self._secret(session, user))
        except IntegrityError:
            # Another process made the same hub at this moment, and prints the secret.
            return None

    def use_secret(self, secret: str, password: str, address: str = "") -> Actor:
        """Set a password with a one-time secret, and return the user's actor.

        Raises:
            Unauthorized: the secret is unknown, used or too old.
            BadInput: the password is not good enough; the secret stays good.
            TooManyRequests: too many attempts from that address.
        """
        hub = self._hub
        hub.limits.spend("secret", address)
        name = digest(secret.strip()[:200])
        with hub.session() as session:
            found = session.get(OneTimeSecret, name)
            user = session.get(Account, found.user_id) if found is not None else None
        if found is None or user is None or found.expires_at <= now():
            self._refused(user, address, "one-time link")
            raise Unauthorized(SPENT)
        hashed = hash_password(check_password(password, user.name))
        with hub.session(write=True) as session:
            used = cast(
                CursorResult[Any],
                session.execute(delete(OneTimeSecret).where(OneTimeSecret.digest == name)),
            )
            fresh = session.get(Account, user.id, with_for_update={"of": Account})
            if used.rowcount != 1 or fresh is None or fresh.disabled_at is not None:
                raise Unauthorized(SPENT)
            self._set_password(session, fresh, hashed)
            actor = self._signed_in(session, fresh, address, "one-time link")
            hub.events.record(session, actor, "password.change", account=fresh)
            return actor

    def _set_password(self, session: Session, user: Account, hashed: str) -> None:
        user.password = hashed
        for table in (BrowserSession, OneTimeSecret):
            session.execute(delete(table).where(table.user_id == user.id))

    def _secret(self, session: Session, user: Account) -> str:
        secret = secrets.token_urlsafe(32)
        session.execute(
            delete(OneTimeSecret).where(
                (OneTimeSecret.user_id == user.id) | (OneTimeSecret.expires_at <= now())
            )
        )
        ends = now() + timedelta(seconds=self._hub.settings.invitation_ttl)
        session.add(OneTimeSecret(digest=digest(secret), user_id=user.id, expires_at=ends))
        return secret

    def _signed_in(self, session: Session, user: Account, address: str, means: str) -> Actor:
        actor = replace(load_actor(session, user, "write"), address=address)
        self._hub.events.record(session, actor, "login", account=user, means=means)
        return actor

    def _refused(self, user: Account | None, address: str, means: str) -> None:
        # A name that is none may be a password in the wrong field: it is not kept.
        with self._hub.session(write=True) as session:
            self._hub.events.record(
                session, Actor(address=address), "login.failed", account=user, means=means
            )


def _user(session: Session, name: str) -> Account | None:
    if not (name.isascii() and name.isprintable()):
        return None
    return session.scalar(
        select(Account).where(Account.name_key == name[:96].lower(), Account.kind == "user")
    )
