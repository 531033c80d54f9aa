# SPDX-License-Identifier: Apache-2.0
"""The page of a user or an organisation: who they are and what of theirs the visitor may see."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.collaboration import budgets
from plait.hub import Account
from plait.web import markdown
from plait.web.browse import Listed, listed
from plait.web.credit import account_credit
from plait.web.session import Form
from plait.web.visit import Visit, Visitor

PAGE = 24
SHELF = 6
KINDS = ("model", "dataset", "space")


def add(router: APIRouter) -> None:
    """Add the routes; they take every address of one part, so they come last."""
    router.add_api_route("/{ns}", show)
    router.add_api_route("/{ns}/follow", follow, methods=["POST"])


def show(visit: Visitor, ns: str, tab: str = "", cursor: str = "") -> Response:
    """Show an account."""
    actor = visit.actor
    seen = visit.hub.social.overview(actor, ns)
    account = seen.account
    counts = {f"{kind}s": seen.repositories.get(kind, 0) for kind in KINDS}
    hidden = ["followers"]
    tabs = ["", *(f"{kind}s" for kind in KINDS), "collections"]
    if account.kind == "user":
        tabs.append("likes")
        hidden.append("following")
    elif seen.members is not None:
        tabs.append("members")
        counts["members"] = seen.members
    tab = tab if tab in (*tabs, *hidden) else ""
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
        "organizations": seen.organizations,
        "credit": account_credit(visit, account) if not tab else ((), ""),
        "costs": _costs(visit, account) if not tab else None,
        "social": {
            "followers": seen.followers,
            "following": seen.following,
            "follows": seen.is_following,
        },
    }
    values |= _content(visit, account, tab, cursor[:1000] or None)
    return visit.render("namespace.html", **values)


def follow(visit: Visitor, ns: str, form: Form) -> Response:
    """Follow an account, or follow it no more."""
    visit.signed_in()
    social = visit.hub.social
    (social.follow if form.get("follow") == "yes" else social.unfollow)(visit.actor, ns)
    return visit.go(f"/{visit.hub.accounts.get(ns).name}")


def _costs(visit: Visit, account: Account) -> dict[str, Any] | None:
    """Return what the account's jobs cost, for those who belong to it; None if it had none."""
    if not budgets.may_see(visit.actor, account):
        return None
    kinds = budgets.by_kind(visit.hub, account)
    if not kinds:
        return None
    return {"kinds": kinds, "whole": budgets.usage(visit.hub, account)[0]}


def _about(account: Account) -> Markup | None:
    if not account.about.strip():
        return None
    return Markup(markdown.render(account.about, top=2))  # noqa: S704 - sanitised


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
        members = hub.accounts.members(account, limit=PAGE * 4 + 1, after=(cursor or "")[:96])
        shown = members[: PAGE * 4]
        after = shown[-1][0].name if len(members) > len(shown) else None
        return {"people": shown, **_more(visit, after)}
    if tab in ("followers", "following"):
        ask = hub.social.followers if tab == "followers" else hub.social.following
        people = ask(actor, account.name, limit=PAGE * 4, cursor=cursor)
        return {"people": [(one, "") for one in people.items], **_more(visit, people.cursor)}
    groups: list[tuple[str, list[Listed]]] = []
    for kind in KINDS:
        found_here = hub.repositories.list(actor, kind, namespace=account.name, limit=SHELF)
        if found_here.items:
            groups.append((kind, [listed(repo) for repo in found_here.items]))
    collections = hub.collections.list(actor, owners=[account.name], limit=4)
    return {"groups": groups, "collections": collections.items}


def _more(visit: Visit, cursor: str | None) -> dict[str, str | None]:
    return {"more": visit.link(cursor=cursor) if cursor else None}
