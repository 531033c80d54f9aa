# SPDX-License-Identifier: Apache-2.0
"""Collections: find, read, make, change, put things in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from plait.errors import BadInput, PlaitError
from plait.hub import can
from plait.hub.repositories.collected import CollectedItem
from plait.hub.repositories.collections import THEMES, Collected, resource_of_collection
from plait.web.browse import Listed, listed
from plait.web.new import owners
from plait.web.session import Form
from plait.web.sides import said
from plait.web.visit import Visit, Visitor

PAGE = 24
KINDS = ("model", "dataset", "space", "collection", "paper")
_PREFIX = re.compile(
    r"\A(?:https?://[^/]+)?/?(?:(models|datasets|spaces|collections|papers)/)?(.+)\Z"
)


@dataclass(frozen=True)
class ShownItem:
    """An item of a collection as its page shows it."""

    id: str
    kind: str
    name: str
    href: str
    note: str
    repository: Listed | None
    first: bool
    last: bool


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/collections", listing)
    router.add_api_route("/collections/new", new)
    router.add_api_route("/collections/new", create, methods=["POST"])
    page = "/collections/{ns}/{slug}"
    router.add_api_route(page, show)
    router.add_api_route(page + "/edit", edit)
    router.add_api_route(page + "/edit", save, methods=["POST"])
    router.add_api_route(page + "/delete", delete, methods=["POST"])
    router.add_api_route(page + "/items", add_item, methods=["POST"])
    router.add_api_route(page + "/items/{item}", change_item, methods=["POST"])


def listing(
    visit: Visitor, search: str = "", owner: str = "", sort: str = "", cursor: str = ""
) -> Response:
    """List collections."""
    search, owner = search.strip()[:200], owner.strip()[:96]
    by_votes = sort == "upvotes"
    page = visit.hub.collections.list(
        visit.actor,
        owners=[owner] if owner else [],
        search=search,
        sort="upvotes" if by_votes else "lastModified",
        limit=PAGE,
        cursor=cursor[:1000] or None,
    )
    return visit.render(
        "collections.html",
        items=page.items,
        search=search,
        owner=owner,
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=page.cursor) if page.cursor else None,
    )


def new(visit: Visitor, item: str = "") -> Response:
    """Show the form for a new collection."""
    return _new(visit, {})


def _new(visit: Visit, form: dict[str, str], problem: str = "", code: int = 200) -> Response:
    return visit.render(
        "new_collection.html",
        code=code,
        owners=owners(visit),
        form={"owner": visit.account.name, "visibility": "public"} | form,
        problem=problem,
    )


def create(visit: Visitor, form: Form) -> Response:
    """Make a collection."""
    visit.signed_in()
    try:
        made = visit.hub.collections.create(
            visit.actor,
            form.get("owner", ""),
            form.get("title", ""),
            description=form.get("description", "").strip(),
            private=form.get("visibility") == "private",
        )
    except PlaitError as error:
        told = said(error)
        return _new(visit, form, told["problem"], told["code"])
    return visit.go(f"/collections/{made.slug}", "created")


def _find(visit: Visit, ns: str, slug: str) -> Collected:
    return visit.hub.collections.get(visit.actor, f"{ns}/{slug}"[:300])


def show(visit: Visitor, ns: str, slug: str) -> Response:
    """Show a collection."""
    return _page(visit, _find(visit, ns, slug))


def _page(visit: Visit, found: Collected, **values: Any) -> Response:
    last = len(found.items) - 1
    return visit.render(
        "collection.html",
        code=values.pop("code", 200),
        found=found,
        items=[
            _shown(item, first=number == 0, last=number == last)
            for number, item in enumerate(found.items)
        ],
        may_write=can(visit.actor, "repo.write", resource_of_collection(found.collection)),
        kinds=KINDS,
        **{"problem": "", "form": {}, **values},
    )


def _shown(item: CollectedItem, *, first: bool, last: bool) -> ShownItem:
    repo = listed(item.repository) if item.repository is not None else None
    name, href = item.name, ""
    if repo is not None:
        href = repo.url
    elif item.collection is not None:
        name, href = item.collection.title, f"/collections/{item.name}"
    elif item.item.item_type == "paper":
        href = f"https://arxiv.org/abs/{item.name}"
    return ShownItem(
        item.item.public_id, item.item.item_type, name, href, item.item.note, repo, first, last
    )


def _writable(visit: Visit, ns: str, slug: str) -> Collected:
    visit.signed_in()
    return _find(visit, ns, slug)


def edit(visit: Visitor, ns: str, slug: str) -> Response:
    """Show the form that changes what a collection says of itself."""
    found = _writable(visit, ns, slug)
    collection = found.collection
    form = {
        "title": collection.title,
        "description": collection.description,
        "visibility": "private" if collection.private else "public",
        "theme": collection.theme,
    }
    return visit.render("edit_collection.html", found=found, form=form, themes=THEMES, problem="")


def save(visit: Visitor, ns: str, slug: str, form: Form) -> Response:
    """Change what a collection says of itself."""
    found = _writable(visit, ns, slug)
    try:
        fresh = visit.hub.collections.update(
            visit.actor,
            found.slug,
            title=form.get("title", ""),
            description=form.get("description", "").strip(),
            private=form.get("visibility") == "private",
            theme=form.get("theme") or None,
        )
    except PlaitError as error:
        shown = {"visibility": "public", "theme": "", "title": "", "description": ""} | form
        return visit.render(
            "edit_collection.html", found=found, form=shown, themes=THEMES, **said(error)
        )
    return visit.go(f"/collections/{fresh.slug}", "saved")


def delete(visit: Visitor, ns: str, slug: str, form: Form) -> Response:
    """Delete a collection."""
    found = _writable(visit, ns, slug)
    visit.hub.collections.delete(visit.actor, found.slug)
    return visit.go(f"/{found.collection.namespace.name}?tab=collections", "deleted")


def _what(text: str, kind: str) -> tuple[str, str]:
    """Return the kind and name of what was typed: a name, or a page's address.

    Raises:
        BadInput: nothing was typed.
    """
    match = _PREFIX.match(text.strip()[:300])
    if match is None:
        raise BadInput("Name what to add, such as 'owner/name'.")
    return (match[1].removesuffix("s") if match[1] else kind), match[2].strip("/")


def add_item(visit: Visitor, ns: str, slug: str, form: Form) -> Response:
    """Put something into a collection."""
    found = _writable(visit, ns, slug)
    try:
        kind, name = _what(form.get("name", ""), form.get("kind", "model"))
        visit.hub.collections.add_item(
            visit.actor, found.slug, kind, name, form.get("note", "").strip()
        )
    except PlaitError as error:
        if error.status in (401, 500, 501, 507):
            raise
        return _page(visit, found, problem=error.message, code=error.status, form=form)
    return visit.go(f"/collections/{found.slug}", "saved")


def change_item(visit: Visitor, ns: str, slug: str, item: str, form: Form) -> Response:
    """Move an item, change its note, or take it out."""
    found = _writable(visit, ns, slug)
    collections, actor = visit.hub.collections, visit.actor
    what, item = form.get("do", ""), item[:40]
    place = next((at for at, one in enumerate(found.items) if one.item.public_id == item), None)
    try:
        if what == "remove":
            collections.delete_item(actor, found.slug, item)
        elif what in ("up", "down") and place is not None:
            target = min(max(place + (1 if what == "down" else -1), 0), len(found.items) - 1)
            collections.update_item(actor, found.slug, item, position=target)
        else:
            collections.update_item(actor, found.slug, item, note=form.get("note", "").strip())
    except BadInput as error:
        return _page(visit, found, problem=error.message, code=error.status)
    return visit.go(f"/collections/{found.slug}", "saved")
