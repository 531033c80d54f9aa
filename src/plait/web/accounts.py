# SPDX-License-Identifier: Apache-2.0
"""The page of a user or an organisation: who they are and what of theirs the visitor may see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.errors import NotFound
from plait.hub import Account
from plait.web import markdown
from plait.web.browse import Listed, listed
from plait.web.visit import Visit, Visitor

PAGE = 24
SHELF = 6
KINDS = ("model", "dataset", "space")


def add(router: APIRouter) -> None:
    """Add the routes; they take every address of one part, so they come last."""
    router.add_api_route("/{ns}", show)


def show(visit: Visitor, ns: str, tab: str = "", cursor: str = "") -> Response:
    """Show an account."""
    account = visit.hub.accounts.find(ns)
    if account is None:
        raise NotFound(f"There is nobody called {ns[:96]!a} here.")
    hub, actor = visit.hub, visit.actor
    counts = {
        f"{kind}s": hub.repositories.count(actor, kind, namespace=account.name) for kind in KINDS
    }
    tabs = ["", *(f"{kind}s" for kind in KINDS), "collections"]
    if account.kind == "user":
        tabs.append("likes")
    elif visit.may("namespace.read", account):
        tabs.append("members")
    tab = tab if tab in tabs else ""
    values: dict[str, Any] = {
        "account": account,
        "about": _about(account),
        "tab": tab,
        "tabs": tabs,
        "counts": counts,
        "groups": (),
        "items": (),
        "people": (),
        "collections": (),
        "first": visit.link(cursor=None) if cursor else None,
        "more": None,
        "own": actor.user_id == account.id,
        "runs": account.kind == "organization" and visit.may("namespace.admin", account),
        "organizations": _organizations(visit, account),
        "social": None,
    }
    values |= _content(visit, account, tab, cursor[:1000] or None)
    return visit.render("namespace.html", **values)


def _about(account: Account) -> Markup | None:
    if not account.about.strip():
        return None
    return Markup(markdown.render(account.about, top=2))  # noqa: S704 - sanitised


def _organizations(visit: Visit, account: Account) -> Sequence[Account]:
    # Who belongs where is shown to those concerned, not to everyone who passes.
    if account.kind != "user" or visit.actor.user_id != account.id:
        return ()
    return [found for found, _ in visit.hub.accounts.list_organizations(account)]


def _content(visit: Visit, account: Account, tab: str, cursor: str | None) -> dict[str, Any]:
    hub, actor = visit.hub, visit.actor
    if tab in [f"{kind}s" for kind in KINDS]:
        page = hub.repositories.list(
            actor, tab[:-1], namespace=account.name, limit=PAGE, cursor=cursor
        )
        return {"items": [listed(repo) for repo in page.items], **_more(visit, page.cursor)}
    if tab == "likes":
        liked = hub.likes.liked_by(actor, account, limit=PAGE, cursor=cursor)
        items = [listed(repo) for repo, _ in liked.items]
        return {"items": items, **_more(visit, liked.cursor)}
    if tab == "collections":
        found = hub.collections.list(actor, owners=[account.name], limit=PAGE, cursor=cursor)
        return {"collections": found.items, **_more(visit, found.cursor)}
    if tab == "members":
        return {"people": hub.accounts.members(account)}
    groups: list[tuple[str, list[Listed]]] = []
    for kind in KINDS:
        found_here = hub.repositories.list(actor, kind, namespace=account.name, limit=SHELF)
        if found_here.items:
            groups.append((kind, [listed(repo) for repo in found_here.items]))
    collections = hub.collections.list(actor, owners=[account.name], limit=4)
    return {"groups": groups, "collections": collections.items}


def _more(visit: Visit, cursor: str | None) -> dict[str, str | None]:
    return {"more": visit.link(cursor=cursor) if cursor else None}
