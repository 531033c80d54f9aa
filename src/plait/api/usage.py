# SPDX-License-Identifier: Apache-2.0
"""What the repositories of a namespace take in the store, for those who belong to it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator

from plait.api.context import HubOf, User
from plait.api.routing import decode
from plait.api.wire import date, page
from plait.errors import NotFound
from plait.hub import Actor, Hub
from plait.hub.permissions import can
from plait.hub.repositories.relations import Relations

router = APIRouter(tags=["accounts"])

Limit = Annotated[int, Query(ge=1, description="Page size.")]


@router.get("/api/settings/repositories")
def own_repositories(
    request: Request, hub: HubOf, actor: User, limit: Limit = 100, cursor: str | None = None
) -> JSONResponse:
    """List the caller's own repositories of every type with what each keeps in the store."""
    return _repositories(request, hub, actor, actor.name or "", limit, cursor)


@router.get("/api/organizations/{organization}/settings/repositories")
def organization_repositories(
    request: Request,
    hub: HubOf,
    actor: User,
    organization: Annotated[str, Path(description="Its name."), AfterValidator(decode)],
    limit: Limit = 100,
    cursor: str | None = None,
) -> JSONResponse:
    """List an organisation's repositories with what each keeps in the store, for its members."""
    found = hub.accounts.find(organization)
    if found is None or not can(actor, "namespace.read", found):
        raise NotFound(f"There is no organisation {organization[:100]!a} that you belong to.")
    return _repositories(request, hub, actor, found.name, limit, cursor)


def _repositories(
    request: Request, hub: Hub, actor: Actor, namespace: str, limit: int, cursor: str | None
) -> JSONResponse:
    found = hub.repositories.list(
        actor, namespace=namespace, sort="name", limit=min(limit, 1000), cursor=cursor
    )
    relations = Relations(hub, actor)
    relations.prepare(found.items, frozenset({"usedStorage"}))
    rows = [
        {
            "id": repo.full_name,
            "type": repo.type,
            "updatedAt": date(repo.updated_at),
            "visibility": "private" if repo.private else "public",
            "storage": relations.storage(repo),
        }
        for repo in found.items
    ]
    return page(request, hub.settings, rows, found.cursor)
