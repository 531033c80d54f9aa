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
from plait.callers import client_address, is_same_origin, read_networks
from plait.errors import Forbidden, Unauthorized
from plait.hub import Hub
from plait.hub.database import Repository
from plait.hub.people.tokens import SESSION_COOKIE
from plait.hub.permissions import ANONYMOUS, Actor


def the_hub(request: Request) -> Hub:
    """The hub that this application serves."""
    hub: Hub = request.app.state.hub
    return hub


HubOf = Annotated[Hub, Depends(the_hub)]


def address_of(request: Request, hub: Hub) -> str:
    """Where a request came from, as far as the proxies that the operator trusts say so."""
    peer = request.client.host if request.client is not None else ""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    return client_address(peer, forwarded, read_networks(hub.settings.trusted_proxies))


def identify(request: Request, hub: HubOf) -> Actor:
    """Find out who calls: a bearer token, git's basic authentication, or a browser's session.

    Raises:
        Unauthorized: a token was sent that is not valid (any more).
        Forbidden: another site made a browser send what it keeps of its user.
        TooManyRequests: too many invalid tokens came from there.
    """
    address = address_of(request, hub)
    actor = Actor(address=address)
    header = request.headers.get("authorization")
    if header:
        if not header.lower().startswith("bearer ") and _from_another_site(request, hub):
            raise Forbidden("Another site sent this request. Send it from a page of this hub.")
        found = hub.tokens.authenticate(_token(header), address)
        if found is None:
            hub.limits.spend("failed-token", address)
            raise Unauthorized(INVALID_TOKEN)
        actor, token = found
        request.state.token = token
    elif (cookie := request.cookies.get(SESSION_COOKIE)) and _may_use_cookie(request, hub):
        actor = hub.tokens.session_actor(cookie, address) or actor
    request.state.actor = actor
    return actor


def _from_another_site(request: Request, hub: Hub) -> bool:
    """Browsers add a password that they were once given, whoever made them send the request."""
    return not _safe(request) and not is_same_origin(request.headers, hub.settings.url, silent=True)


def _may_use_cookie(request: Request, hub: Hub) -> bool:
    """A cookie is enough to read; to change something, one of the hub's pages must be asking."""
    return _safe(request) or is_same_origin(request.headers, hub.settings.url, silent=False)


def _safe(request: Request) -> bool:
    return request.method in ("GET", "HEAD", "OPTIONS")


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
        Unauthorized: the account or its token is gone, or has ended.
    """
    if claims["user"] is None:
        return ANONYMOUS
    actor = hub.tokens.actor_of(claims["user"], claims["token"])
    if actor is None:
        raise Unauthorized(INVALID_TOKEN)
    return actor


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
