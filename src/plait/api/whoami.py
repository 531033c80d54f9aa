# SPDX-License-Identifier: Apache-2.0
"""``whoami`` and what a caller may do with a repository."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from plait.api.context import HubOf, User

router = APIRouter(tags=["accounts"])


@router.get("/api/whoami-v2")
def whoami(request: Request, hub: HubOf, user: User) -> dict[str, Any]:
    """Who the token belongs to, and to which organisations that user belongs."""
    assert user.user_id is not None and user.name is not None
    account = hub.accounts.get(user.name)
    organizations = [
        {
            "type": "org",
            "id": f"{organization.id:024x}",
            "name": organization.name,
            "fullname": organization.fullname or organization.name,
            "isEnterprise": False,
            "roleInOrg": role,
        }
        for organization, role in hub.accounts.list_organizations(user.user_id)
    ]
    return {
        "type": "user",
        "id": f"{account.id:024x}",
        "name": account.name,
        "fullname": account.fullname or account.name,
        "email": account.email or None,
        "emailVerified": False,
        "isPro": False,
        "canPay": False,
        "orgs": organizations,
        "auth": {
            "type": "access_token",
            "accessToken": {
                "displayName": getattr(request.state, "token_name", "browser"),
                "role": user.scope,
            },
        },
    }
