# SPDX-License-Identifier: Apache-2.0
"""One's own account over HTTP: profile, password, tokens, sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from plait.api.context import HubOf, User
from plait.api.wire import date
from plait.errors import BadInput
from plait.hub import Actor, Hub, Token
from plait.hub.names import REPOSITORY_TYPES
from plait.hub.people.tokens import MAX_GRANTS, Grant, TokenScope
from plait.hub.permissions import Permission

router = APIRouter(prefix="/api/plait", tags=["accounts"])


class Profile(BaseModel):
    """What an account says of itself."""

    fullname: Annotated[str, Field(max_length=200)] | None = None
    email: Annotated[str, Field(max_length=320)] | None = None
    about: Annotated[str, Field(max_length=2000)] | None = None


class PasswordChange(BaseModel):
    """The password of now and the new one."""

    old: Annotated[str, Field(max_length=1024)]
    new: Annotated[str, Field(max_length=1024)]


class Place(BaseModel):
    """A repository, or all of a namespace, and what a fine-grained token may do there."""

    permission: Permission
    type: Literal["model", "dataset", "space", "namespace"]
    name: Annotated[str, Field(max_length=200)]


class NewToken(BaseModel):
    """A token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=96)]
    scope: TokenScope
    expires_at: AwareDatetime | None = None
    grants: Annotated[list[Place], Field(max_length=MAX_GRANTS)] = []


class ShownToken(BaseModel):
    """What can be read of a token: never the token itself."""

    id: int
    name: str
    scope: str
    hint: str
    created_at: str
    last_used_at: str | None
    last_used_from: str
    expires_at: str | None
    grants: list[Place]


class MadeToken(BaseModel):
    """A token, shown this once."""

    token: str


class Done(BaseModel):
    """It was done."""

    ok: bool = True


@router.patch("/me")
def update_me(hub: HubOf, user: User, body: Profile) -> Done:
    """Change one's own profile."""
    assert user.name is not None
    hub.accounts.update_profile(user, hub.accounts.get(user.name), **body.model_dump())
    return Done()


@router.post("/me/password")
def change_password(hub: HubOf, user: User, body: PasswordChange) -> Done:
    """Change one's own password; every browser is signed out."""
    hub.accounts.change_password(user, body.old, body.new)
    return Done()


@router.delete("/me/sessions")
def sign_out_everywhere(hub: HubOf, user: User) -> Done:
    """Sign every browser of one's own out."""
    hub.tokens.close_sessions(user)
    return Done()


@router.get("/tokens")
def list_tokens(hub: HubOf, user: User) -> list[ShownToken]:
    """List one's own tokens, newest first."""
    assert user.name is not None
    tokens = hub.tokens.list_own(user)
    grants = hub.tokens.grants_of(tokens)
    return [_shown(token, grants.get(token.id, ())) for token in tokens]


@router.post("/tokens", status_code=201)
def make_token(hub: HubOf, user: User, body: NewToken) -> MadeToken:
    """Make a token; it is shown this once."""
    return MadeToken(
        token=hub.tokens.issue(
            user,
            scope=body.scope,
            name=body.name,
            expires_at=_bounded(body.expires_at),
            grants=[_grant(hub, user, place) for place in body.grants],
        )
    )


@router.delete("/tokens/{token_id}")
def revoke_token(hub: HubOf, user: User, token_id: Annotated[int, Field(ge=1, le=2**31)]) -> Done:
    """End one of one's own tokens; an administrator of the hub may end anybody's."""
    hub.tokens.revoke(token_id, by=user)
    return Done()


def _bounded(moment: datetime | None) -> datetime | None:
    if moment is not None and not 2000 <= moment.year <= 9000:
        raise BadInput("The token must end in a year that databases know.")
    return moment


def _grant(hub: Hub, actor: Actor, place: Place) -> Grant:
    if place.type in REPOSITORY_TYPES:
        repo = hub.repositories.get(actor, place.type, place.name)
        return Grant(place.permission, repository=repo)
    return Grant(place.permission, namespace=hub.accounts.get(place.name))


def _shown(token: Token, grants: Any) -> ShownToken:
    return ShownToken(
        id=token.id,
        name=token.name,
        scope=token.scope,
        hint=token.hint,
        created_at=date(token.created_at),
        last_used_at=date(token.last_used_at) if token.last_used_at else None,
        last_used_from=token.last_used_from,
        expires_at=date(token.expires_at) if token.expires_at else None,
        grants=[
            Place(
                permission=grant.permission,
                type=grant.repository.type if grant.repository else "namespace",
                name=grant.repository.full_name if grant.repository else grant.namespace.name,
            )
            for grant in grants
        ],
    )
