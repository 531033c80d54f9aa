# SPDX-License-Identifier: Apache-2.0
"""Users and organisations as the Hub's clients read them, and following them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator

from plait.api.context import Caller, HubOf, User
from plait.api.routing import decode
from plait.api.wire import date, page
from plait.errors import BadInput, NotFound
from plait.hub import Account
from plait.hub.names import check_name
from plait.hub.people.avatars import draw_avatar
from plait.hub.people.social import AccountPage, Overview

router = APIRouter(tags=["accounts"])

UserName = Annotated[str, Path(description="Name of a user."), AfterValidator(decode)]
OrganizationName = Annotated[
    str, Path(description="Name of an organisation."), AfterValidator(decode)
]
Limit = Annotated[int, Query(ge=1, description="Page size.")]


@router.get("/api/users/{username}/overview")
def user_overview(hub: HubOf, actor: Caller, username: UserName) -> dict[str, Any]:
    """Describe a user; numbers count what the caller may read."""
    found = hub.social.overview(actor, username, "user")
    return {
        **_user(found.account),
        **_numbers(found),
        "numDiscussions": found.discussions,
        "numPapers": 0,
        "numUpvotes": 0,
        "numLikes": found.likes,
        "numFollowing": found.following,
        "details": found.account.about,
        "createdAt": date(found.account.created_at),
        "orgs": [_organization(organization) for organization in found.organizations],
    }


@router.get("/api/users/{username}/followers")
def user_followers(
    request: Request,
    hub: HubOf,
    actor: Caller,
    username: UserName,
    limit: Limit = 100,
    cursor: str | None = None,
) -> JSONResponse:
    """List the users who follow a user."""
    found = hub.social.followers(actor, username, "user", limit=limit, cursor=cursor)
    return _page(request, hub, found)


@router.get("/api/users/{username}/following")
def user_following(
    request: Request,
    hub: HubOf,
    actor: Caller,
    username: UserName,
    limit: Limit = 100,
    cursor: str | None = None,
) -> JSONResponse:
    """List the users and organisations that a user follows."""
    found = hub.social.following(actor, username, limit=limit, cursor=cursor)
    return _page(request, hub, found)


@router.get("/api/organizations/{organization}/overview")
def organization_overview(
    hub: HubOf, actor: Caller, organization: OrganizationName
) -> dict[str, Any]:
    """Describe an organisation; numbers count what the caller may read."""
    found = hub.social.overview(actor, organization, "organization")
    described = {
        **_organization(found.account),
        **_numbers(found),
        "details": found.account.about,
        "isVerified": False,
        "numPapers": 0,
    }
    # How many members it has is told to those who may know who they are.
    return described if found.members is None else {**described, "numUsers": found.members}


@router.get("/api/organizations/{organization}/members")
def organization_members(
    request: Request,
    hub: HubOf,
    actor: Caller,
    organization: OrganizationName,
    limit: Limit = 100,
    cursor: str | None = None,
) -> JSONResponse:
    """List an organisation's members, for its members; for others there are none."""
    found = hub.social.members(actor, organization, limit=limit, cursor=cursor)
    return _page(request, hub, found)


@router.get("/api/organizations/{organization}/followers")
def organization_followers(
    request: Request,
    hub: HubOf,
    actor: Caller,
    organization: OrganizationName,
    limit: Limit = 100,
    cursor: str | None = None,
) -> JSONResponse:
    """List the users who follow an organisation."""
    found = hub.social.followers(actor, organization, "organization", limit=limit, cursor=cursor)
    return _page(request, hub, found)


@router.post("/api/users/{username}/follow")
def follow_user(hub: HubOf, user: User, username: UserName) -> dict[str, Any]:
    """Follow a user."""
    hub.social.follow(user, username, "user")
    return {"success": True}


@router.delete("/api/users/{username}/follow")
def unfollow_user(hub: HubOf, user: User, username: UserName) -> dict[str, Any]:
    """Stop following a user."""
    hub.social.unfollow(user, username, "user")
    return {"success": True}


@router.post("/api/organizations/{organization}/follow")
def follow_organization(hub: HubOf, user: User, organization: OrganizationName) -> dict[str, Any]:
    """Follow an organisation."""
    hub.social.follow(user, organization, "organization")
    return {"success": True}


@router.delete("/api/organizations/{organization}/follow")
def unfollow_organization(hub: HubOf, user: User, organization: OrganizationName) -> dict[str, Any]:
    """Stop following an organisation."""
    hub.social.unfollow(user, organization, "organization")
    return {"success": True}


@router.get("/avatars/{name}.svg", response_class=Response)
def avatar(name: Annotated[str, Path(description="Name of an account.")]) -> Response:
    """Draw the picture of an account."""
    try:
        check_name(name, "account")
    except BadInput:
        raise NotFound("There is no such picture.") from None
    return Response(
        draw_avatar(name),
        media_type="image/svg+xml",
        headers={
            "Cache-Control": "public, max-age=86400",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _user(account: Account) -> dict[str, Any]:
    return {
        "_id": f"{account.id:024x}",
        "user": account.name,
        "fullname": account.fullname or account.name,
        "avatarUrl": f"/avatars/{account.name}.svg",
        "type": "user",
        "isPro": False,
    }


def _organization(account: Account) -> dict[str, Any]:
    return {
        "_id": f"{account.id:024x}",
        "name": account.name,
        "fullname": account.fullname or account.name,
        "avatarUrl": f"/avatars/{account.name}.svg",
        "type": "org",
    }


def _numbers(found: Overview) -> dict[str, Any]:
    return {
        "numModels": found.repositories.get("model", 0),
        "numDatasets": found.repositories.get("dataset", 0),
        "numSpaces": found.repositories.get("space", 0),
        "numFollowers": found.followers,
        "isFollowing": found.is_following,
    }


def _page(request: Request, hub: HubOf, found: AccountPage) -> JSONResponse:
    rows = [
        # Clients read everybody in these lists as users, by the key 'user'.
        _user(account)
        if account.kind == "user"
        else _organization(account) | {"user": account.name}
        for account in found.items
    ]
    return page(request, hub.settings, rows, found.cursor)
