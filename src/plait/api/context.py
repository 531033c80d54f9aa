# SPDX-License-Identifier: Apache-2.0
"""Who calls, on which hub, about which repository: what every route begins with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from plait.api.errors import INVALID_TOKEN
from plait.api.routing import Name, Namespace, Type
from plait.errors import Unauthorized
from plait.hub import Hub
from plait.hub.database import Account, Repository, Token
from plait.hub.permissions import ANONYMOUS, Actor
from plait.hub.tokens import SESSION_COOKIE


def the_hub(request: Request) -> Hub:
    """The hub that this application serves."""
    hub: Hub = request.app.state.hub
    return hub


HubOf = Annotated[Hub, Depends(the_hub)]


def identify(request: Request, hub: HubOf) -> Actor:
    """Find out who calls: a bearer token, git's basic authentication, or a browser's session.

    Raises:
        Unauthorized: a token was sent that is not valid (any more).
    """
    actor = ANONYMOUS
    header = request.headers.get("authorization")
    if header:
        found = hub.tokens.authenticate(_token(header))
        if found is None:
            raise Unauthorized(INVALID_TOKEN)
        actor, token = found
        request.state.token_name = token.name
    # A cookie counts for reading only, so that no other site can act through it.
    elif request.method in ("GET", "HEAD") and (cookie := request.cookies.get(SESSION_COOKIE)):
        actor = hub.tokens.session_actor(cookie) or ANONYMOUS
    request.state.actor = actor
    return actor


Caller = Annotated[Actor, Depends(identify)]


def identify_user(actor: Caller) -> Actor:
    """Find out who calls, and insist on somebody.

    Raises:
        Unauthorized: nobody is signed in.
    """
    if not actor.signed_in:
        raise Unauthorized("This needs a token. Log in with `hf auth login` or set HF_TOKEN.")
    return actor


User = Annotated[Actor, Depends(identify_user)]


def _readable(
    hub: HubOf, actor: Caller, kind: Type, namespace: Namespace, name: Name
) -> Repository:
    return hub.repositories.get(actor, kind, f"{namespace}/{name}")


Readable = Annotated[Repository, Depends(_readable)]
"""The repository of the path, which the caller may read."""


def _writable(
    hub: HubOf, actor: Caller, kind: Type, namespace: Namespace, name: Name
) -> Repository:
    return hub.repositories.get(actor, kind, f"{namespace}/{name}", "repo.write")


Writable = Annotated[Repository, Depends(_writable)]
"""The repository of the path, which the caller may write to."""


def claims_of(actor: Actor) -> dict[str, int | None]:
    """What a signed permission keeps of the caller, for :func:`actor_of`."""
    return {"user": actor.user_id, "token": actor.token_id}


def actor_of(hub: Hub, claims: Mapping[str, Any]) -> Actor:
    """Who a signed permission was given to, with the rights that this caller has now.

    Raises:
        Unauthorized: the account or its token is gone.
    """
    if claims["user"] is None:
        return ANONYMOUS
    with hub.session() as session:
        user = session.get(Account, claims["user"])
        token = session.get(Token, claims["token"]) if claims["token"] else None
    if user is None or token is None or token.revoked_at is not None:
        raise Unauthorized(INVALID_TOKEN)
    return hub.accounts.actor_for(user, "write" if token.scope == "write" else "read", token.id)


def bearer(request: Request) -> str:
    """The token of the Authorization header, empty without one."""
    return _token(request.headers.get("authorization", ""))


def _token(header: str) -> str:
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        # git sends the token as the password, some tools as the user.
        return password or user
    return ""
