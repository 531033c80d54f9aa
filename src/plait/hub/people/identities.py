# SPDX-License-Identifier: Apache-2.0
"""Who users are at other places: the seam where an OpenID Connect provider is put in.

Plait itself has local accounts. A provider is an object with the two methods of
`IdentityProvider`: one makes the address to which the browser is sent, the other turns what comes
back into checked claims (the ID token's signature, audience, nonce and time are its business).
What remains is here: from issuer and subject to a user, and `hub.tokens.open_session`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import delete, select

from plait.errors import Conflict, Forbidden, Unauthorized
from plait.hub.database import Account, Identity
from plait.hub.names import check_text
from plait.hub.people.actors import load_actor
from plait.hub.permissions import SYSTEM, Actor, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub


@dataclass(frozen=True)
class Claims:
    """What a provider has proved of somebody."""

    issuer: str
    subject: str
    """Stays the same for ever, unlike names and addresses of mail."""
    more: Mapping[str, Any]
    """``preferred_username``, ``name`` and ``email`` are read, if they are there."""


class IdentityProvider(Protocol):
    """Somebody who knows who people are."""

    name: str
    """What the sign-in page calls it."""

    def start(self, state: str, nonce: str, redirect_uri: str) -> str:
        """Return the address at the provider to which the browser is sent."""
        ...

    def finish(self, query: Mapping[str, str], nonce: str, redirect_uri: str) -> Claims:
        """Exchange what the browser brought back for checked claims.

        Raises:
            Unauthorized: the provider did not confirm who it is.
        """
        ...


class Identities:
    """Which of the hub's users is who elsewhere."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def sign_in_with(self, claims: Claims, *, create: bool = False, address: str = "") -> Actor:
        """Return the user's actor who is this at the provider.

        An account is never taken over because a name or an address of mail is the same: those
        can be chosen at the provider. Users link an identity themselves, with `link`.

        Args:
            claims: what the provider proved.
            create: make a user for somebody who is not known yet.
            address: where the browser is.

        Raises:
            Unauthorized: nobody here has that identity, or the account is disabled.
            Conflict: a user was to be made, and their name is taken.
            BadInput: or it is not allowed here.
        """
        hub = self._hub
        user = self._find(claims)
        if user is None and create:
            user = hub.accounts.create_user(
                str(claims.more.get("preferred_username") or ""),
                fullname=str(claims.more.get("name") or "")[:200],
                email=str(claims.more.get("email") or "")[:320],
            )
            self._add(SYSTEM, user, claims)
        if user is None or user.disabled_at is not None:
            raise Unauthorized("No account of this hub is linked to this identity.")
        with hub.session(write=True) as session:
            actor = replace(load_actor(session, user, "write"), address=address)
            hub.events.record(session, actor, "login", account=user, means=claims.issuer)
        return actor

    def link(self, actor: Actor, claims: Claims) -> None:
        """Let the actor's user sign in with an identity from now on.

        Raises:
            Forbidden: the actor's token may not.
            Conflict: the identity is somebody's already.
        """
        if actor.user_id is None or not can(actor, "account.self"):
            raise Forbidden("Sign in with your browser to link an identity.")
        if self._find(claims) is not None:
            raise Conflict("This identity is linked to an account already.")
        user = self._hub.accounts.by_id(actor.user_id)
        assert user is not None
        self._add(actor, user, claims)

    def unlink(self, actor: Actor, issuer: str) -> None:
        """End signing in with a provider for the actor's user.

        Raises:
            Forbidden: the actor's token may not.
        """
        if actor.user_id is None or not can(actor, "account.self"):
            raise Forbidden("Sign in with your browser to unlink an identity.")
        with self._hub.session(write=True) as session:
            session.execute(
                delete(Identity).where(
                    Identity.user_id == actor.user_id, Identity.issuer == issuer[:255]
                )
            )
            user = session.get(Account, actor.user_id)
            self._hub.events.record(session, actor, "identity.unlink", account=user, issuer=issuer)

    def _find(self, claims: Claims) -> Account | None:
        key = (
            check_text(claims.issuer, "The issuer", 255),
            check_text(claims.subject, "The subject", 255),
        )
        with self._hub.session() as session:
            return session.scalar(
                select(Account)
                .join(Identity, Identity.user_id == Account.id)
                .where(Identity.issuer == key[0], Identity.subject == key[1])
            )

    def _add(self, actor: Actor, user: Account, claims: Claims) -> None:
        with self._hub.session(write=True) as session:
            session.add(Identity(issuer=claims.issuer, subject=claims.subject, user_id=user.id))
            self._hub.events.record(
                session, actor, "identity.link", account=user, issuer=claims.issuer
            )
