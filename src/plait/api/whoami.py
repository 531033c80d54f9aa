# SPDX-License-Identifier: Apache-2.0
"""``whoami`` and what a caller may do with a repository."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from plait.api.context import HubOf, User
from plait.api.wire import date
from plait.hub import Hub, Token
from plait.hub.people.tokens import Grant

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
        "auth": _auth(hub, getattr(request.state, "token", None)),
    }


def _auth(hub: Hub, token: Token | None) -> dict[str, Any]:
    """Describe the token as the Hub does; a contributor's is a fine-grained one of one kind."""
    if token is None:
        return {"type": "session"}
    fine = token.scope in ("fine-grained", "contributor")
    described: dict[str, Any] = {
        "displayName": token.name,
        "role": "fineGrained" if fine else token.scope,
        "createdAt": date(token.created_at),
    }
    if fine:
        grants = hub.tokens.grants_of([token]).get(token.id, ())
        everywhere = [] if grants else _PERMISSIONS["contributor"]
        described["fineGrained"] = {
            "canReadGatedRepos": not grants,
            "global": everywhere,
            "scoped": [
                {"entity": _entity(grant), "permissions": _PERMISSIONS[grant.permission]}
                for grant in grants
            ],
        }
    answer = {"type": "access_token", "accessToken": described}
    if token.expires_at is not None:
        answer["expiresAt"] = date(token.expires_at)
    return answer


_PERMISSIONS: dict[str, list[str]] = {
    "read": ["repo.content.read"],
    "contributor": ["repo.content.read", "discussion.write"],
    "write": ["repo.content.read", "discussion.write", "repo.write"],
}


def _entity(grant: Grant) -> dict[str, str]:
    if grant.repository is not None:
        repo = grant.repository
        return {"_id": f"{repo.id:024x}", "type": repo.type, "name": repo.full_name}
    assert grant.namespace is not None
    kind = "user" if grant.namespace.kind == "user" else "org"
    return {"_id": f"{grant.namespace.id:024x}", "type": kind, "name": grant.namespace.name}
