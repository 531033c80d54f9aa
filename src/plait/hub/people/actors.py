# SPDX-License-Identifier: Apache-2.0
"""From a user's record to an `Actor`, with the rights of this moment."""

from __future__ import annotations

from types import MappingProxyType
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from plait.hub.database import Account, Membership, TeamMember, TokenGrant
from plait.hub.permissions import Actor, Permission, Role, Scope


def load_actor(session: Session, user: Account, scope: Scope, token_id: int | None = None) -> Actor:
    """Build an `Actor` inside an open session, with the rights that the user has now."""
    roles = session.execute(
        select(Membership.organization_id, Membership.role).where(Membership.user_id == user.id)
    )
    teams = session.execute(
        select(TeamMember.team_id, TeamMember.role).where(TeamMember.user_id == user.id)
    )
    repositories: dict[int, Permission] = {}
    namespaces: dict[int, Permission] = {}
    if scope == "fine-grained":
        for grant in session.scalars(select(TokenGrant).where(TokenGrant.token_id == token_id)):
            permission = cast(Permission, grant.permission)
            if grant.repository_id is not None:
                repositories[grant.repository_id] = permission
            elif grant.namespace_id is not None:
                namespaces[grant.namespace_id] = permission
    return Actor(
        user_id=user.id,
        name=user.name,
        is_admin=user.is_admin,
        scope=scope,
        roles=MappingProxyType({o: cast(Role, role) for o, role in roles}),
        token_id=token_id,
        teams=MappingProxyType({t: cast(Role, role) for t, role in teams}),
        repository_grants=MappingProxyType(repositories),
        namespace_grants=MappingProxyType(namespaces),
        disabled=user.disabled_at is not None,
    )
