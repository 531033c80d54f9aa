# SPDX-License-Identifier: Apache-2.0
"""Collections, as the Hub's clients read and change them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field

from plait.api.context import Caller, HubOf, User
from plait.api.routing import Namespace, decode
from plait.api.wire import date, page
from plait.errors import Unsupported
from plait.hub.repositories.collected import CollectedItem, slug_of
from plait.hub.repositories.collections import (
    Collected,
    CollectionExists,
    CollectionSort,
)

router = APIRouter(tags=["collections"])

Title = Annotated[
    str,
    Path(description="Title and id, as in the collection's address."),
    AfterValidator(decode),
]
ItemId = Annotated[str, Path(description="Id of the item in the collection.", max_length=24)]
Position = Annotated[int | None, Field(ge=0, le=1_000_000)]


class _Item(BaseModel):
    id: str
    type: str


class _New(BaseModel):
    title: str
    namespace: str | None = None
    description: str | None = None
    private: bool = False
    resourceGroupId: str | None = None  # noqa: N815
    item: _Item | None = None


class _Changes(BaseModel):
    title: str | None = None
    description: str | None = None
    private: bool | None = None
    theme: str | None = None
    position: Position = None


class _NewItem(BaseModel):
    item: _Item
    note: str | None = None


class _ItemChanges(BaseModel):
    note: str | None = None
    position: Position = None


@router.get("/api/collections")
def list_collections(
    request: Request,
    hub: HubOf,
    actor: Caller,
    owner: Annotated[list[str] | None, Query(description="Of these users.")] = None,
    item: Annotated[list[str] | None, Query(description="With all of these.")] = None,
    q: Annotated[str, Query(description="Words of the title.")] = "",
    sort: CollectionSort = "lastModified",
    limit: Annotated[int, Query(ge=1)] = 20,
    cursor: str | None = None,
) -> JSONResponse:
    """List collections, each with its first items."""
    found = hub.collections.list(
        actor,
        owners=owner or (),
        items=item or (),
        search=q,
        sort=sort,
        limit=limit,
        cursor=cursor,
    )
    # Clients number the collections of a list themselves and take no second position.
    rows = [{k: v for k, v in _wire(c).items() if k != "position"} for c in found.items]
    return page(request, hub.settings, rows, found.cursor)


@router.post("/api/collections")
def create(hub: HubOf, user: User, body: _New) -> JSONResponse:
    """Make a collection; 409 with its slug if there is one of that title."""
    if body.resourceGroupId:
        raise Unsupported("Collections belong to a whole namespace here: no resource groups.")
    namespace = body.namespace or user.name or ""
    try:
        made = hub.collections.create(
            user,
            namespace,
            body.title,
            description=body.description or "",
            private=body.private,
        )
        if body.item is not None:
            made = hub.collections.add_item(user, made.slug, body.item.type, body.item.id)
    except CollectionExists as exists:
        return JSONResponse(
            {"error": exists.message, "slug": exists.slug},
            exists.status,
            {"X-Error-Code": exists.code},
        )
    return JSONResponse(_wire(made))


@router.get("/api/collections/{namespace}/{title}")
def get(hub: HubOf, actor: Caller, namespace: Namespace, title: Title) -> dict[str, Any]:
    """Describe a collection with all of its items."""
    return _wire(hub.collections.get(actor, f"{namespace}/{title}"))


@router.patch("/api/collections/{namespace}/{title}")
def update(
    hub: HubOf, user: User, namespace: Namespace, title: Title, body: _Changes
) -> dict[str, Any]:
    """Change what a collection says of itself."""
    changed = hub.collections.update(user, f"{namespace}/{title}", **body.model_dump())
    return {"success": True, "data": _wire(changed)}


@router.delete("/api/collections/{namespace}/{title}")
def delete(hub: HubOf, user: User, namespace: Namespace, title: Title) -> dict[str, Any]:
    """Remove a collection."""
    hub.collections.delete(user, f"{namespace}/{title}")
    return {"success": True}


@router.post("/api/collections/{namespace}/{title}/items")
def add_item(
    hub: HubOf, user: User, namespace: Namespace, title: Title, body: _NewItem
) -> dict[str, Any]:
    """Put something into a collection; 409 if it is there already."""
    changed = hub.collections.add_item(
        user, f"{namespace}/{title}", body.item.type, body.item.id, body.note or ""
    )
    return _wire(changed)


@router.patch("/api/collections/{namespace}/{title}/items/{item}")
def update_item(
    hub: HubOf,
    user: User,
    namespace: Namespace,
    title: Title,
    item: ItemId,
    body: _ItemChanges,
) -> dict[str, Any]:
    """Change an item's note or place."""
    changed = hub.collections.update_item(
        user, f"{namespace}/{title}", item, note=body.note, position=body.position
    )
    return {"success": True, "data": _item(changed)}


@router.delete("/api/collections/{namespace}/{title}/items/{item}")
def delete_item(
    hub: HubOf, user: User, namespace: Namespace, title: Title, item: ItemId
) -> dict[str, Any]:
    """Take an item out of a collection."""
    hub.collections.delete_item(user, f"{namespace}/{title}", item)
    return {"success": True}


@router.post("/api/collections/{namespace}/{title}/resource-group")
def resource_group(user: User, namespace: Namespace, title: Title) -> dict[str, Any]:
    """Say that collections belong to no team."""
    raise Unsupported("Collections belong to a whole namespace here: no resource groups.")


def _wire(collected: Collected) -> dict[str, Any]:
    collection = collected.collection
    return {
        "slug": collected.slug,
        "_id": collection.public_id,
        "title": collection.title,
        "description": collection.description,
        "owner": {
            "_id": f"{collection.namespace.id:024x}",
            "type": "user" if collection.namespace.kind == "user" else "org",
            "name": collection.namespace.name,
            "fullname": collection.namespace.fullname or collection.namespace.name,
            "avatarUrl": f"/avatars/{collection.namespace.name}.svg",
        },
        "gating": False,
        "lastUpdated": date(collection.updated_at),
        "position": collection.position,
        "private": collection.private,
        "theme": collection.theme,
        "upvotes": collection.upvotes,
        "isUpvotedByUser": False,
        "items": [_item(item) for item in collected.items],
    }


def _item(collected: CollectedItem) -> dict[str, Any]:
    item = collected.item
    found: dict[str, Any] = {
        "_id": item.public_id,
        "id": collected.name,
        "type": item.item_type,
        "position": collected.position,
    }
    if item.note:
        found["note"] = {"text": item.note}
    if (repo := collected.repository) is not None:
        found |= {
            "author": repo.namespace.name,
            "repoType": repo.type,
            "private": repo.private,
            "gated": repo.gated or False,
            "downloads": repo.downloads,
            "likes": repo.likes,
            "lastModified": date(repo.updated_at),
        }
    if collected.collection is not None:
        found |= {"slug": slug_of(collected.collection), "title": collected.collection.title}
    return found
