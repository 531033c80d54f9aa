# SPDX-License-Identifier: Apache-2.0
"""Which repositories exist for somebody, as a condition for the database."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, or_, true

from plait.hub.database import Repository
from plait.hub.permissions import Actor


def readable(actor: Actor) -> ColumnElement[bool]:
    """Return the condition that holds for exactly those with ``can(actor, "repo.read", …)``.

    Every list, count and search asks with it, so that what may not be read is in none of them.
    """
    if actor.is_system:
        return true()
    if actor.disabled:
        return false()
    public = Repository.private.is_(False)
    if not actor.signed_in or actor.scope == "none":
        return public
    own = true() if actor.is_admin else _by_role(actor)
    if actor.scope == "fine-grained":
        own = and_(own, _by_grant(actor))
    return or_(public, own)


def _by_role(actor: Actor) -> ColumnElement[bool]:
    administered = [o for o, role in actor.roles.items() if role == "admin"]
    others = [o for o, role in actor.roles.items() if role != "admin"]
    conditions: list[ColumnElement[bool]] = [
        Repository.namespace_id.in_([actor.user_id, *administered])
    ]
    if others:
        team: ColumnElement[bool] = Repository.team_id.is_(None)
        if actor.teams:
            team = or_(team, Repository.team_id.in_(list(actor.teams)))
        conditions.append(and_(Repository.namespace_id.in_(others), team))
    return or_(*conditions)


def _by_grant(actor: Actor) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if actor.repository_grants:
        conditions.append(Repository.id.in_(list(actor.repository_grants)))
    if actor.namespace_grants:
        conditions.append(Repository.namespace_id.in_(list(actor.namespace_grants)))
    return or_(*conditions) if conditions else false()
