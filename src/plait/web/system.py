# SPDX-License-Identifier: Apache-2.0
"""The hub's administration: people, repositories, storage, jobs, audit log, settings in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from plait.collaboration import jobs
from plait.errors import BadInput, NotFound, PlaitError
from plait.hub import Account
from plait.hub.repositories import census
from plait.settings import describe, masked
from plait.web.audit import audit_values
from plait.web.browse import listed
from plait.web.session import Form
from plait.web.sides import said, system_page
from plait.web.visit import Visit, Visitor

PAGE = 50
STATES = ("queued", "running", "succeeded", "failed", "cancelled")


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/system", overview)
    router.add_api_route("/system/users", users)
    router.add_api_route("/system/users", change_user, methods=["POST"])
    router.add_api_route("/system/organizations", organizations)
    router.add_api_route("/system/repositories", repositories)
    router.add_api_route("/system/repositories", close_repository, methods=["POST"])
    router.add_api_route("/system/storage", storage)
    router.add_api_route("/system/jobs", job_list)
    router.add_api_route("/system/audit", audit)
    router.add_api_route("/system/settings", settings)


def _administers(visit: Visit) -> None:
    """Hide these pages from everybody else.

    Raises:
        SignInFirst: nobody is signed in.
        NotFound: the visitor does not administer the hub.
    """
    visit.signed_in()
    if not visit.may("hub.admin"):
        raise NotFound("There is no such page.")


def overview(visit: Visitor) -> Response:
    """Show how much the hub holds, and what happened last."""
    _administers(visit)
    return system_page(
        visit,
        "overview",
        census=census.take(visit.hub, visit.actor),
        states=STATES,
        entries=audit_values(visit)["entries"][:10],
    )


def users(visit: Visitor, search: str = "", after: str = "") -> Response:
    """List users."""
    _administers(visit)
    return _users(visit, search.strip()[:96], after[:96])


def _users(visit: Visit, search: str = "", after: str = "", **values: Any) -> Response:
    shown: dict[str, Any] = {"link": "", "invited": "", "form": {}, **values}
    response = system_page(visit, "users", **_accounts(visit, "user", search, after), **shown)
    if shown["link"]:
        response.headers["Cache-Control"] = "no-store"
    return response


def _accounts(visit: Visit, kind: str, search: str, after: str) -> dict[str, Any]:
    found = visit.hub.accounts.list_accounts(kind, search=search, limit=PAGE + 1, after=after)
    accounts = found[:PAGE]
    return {
        "accounts": accounts,
        "search": search,
        "first": visit.link(after=None) if after else None,
        "more": visit.link(after=accounts[-1].name) if len(found) > PAGE else None,
    }


def change_user(visit: Visitor, form: Form) -> Response:
    """Make, invite, disable, enable, promote or demote a user."""
    _administers(visit)
    accounts, actor = visit.hub.accounts, visit.actor
    name = form.get("user", "").strip()[:200]
    what = form.get("do", "")
    try:
        if what == "create":
            user = accounts.create_user(
                name, fullname=form.get("fullname", "").strip(),
                email=form.get("email", "").strip(), by=actor,
            )  # fmt: skip
            return _invited(visit, user)
        user = accounts.get_user(name)
        if what == "invite":
            return _invited(visit, user)
        act: Callable[[], None] | None = {
            "disable": lambda: accounts.disable(user, by=actor),
            "enable": lambda: accounts.enable(user, by=actor),
            "promote": lambda: accounts.set_admin(user, True, by=actor),
            "demote": lambda: accounts.set_admin(user, False, by=actor),
        }.get(what)
        if act is None:
            raise BadInput("Choose what to do.")
        act()
    except PlaitError as error:
        return _users(visit, form=form, **said(error))
    return visit.go("/system/users", "saved")


def _invited(visit: Visit, user: Account) -> Response:
    secret = visit.hub.accounts.invite(user, by=visit.actor)
    link = f"{visit.hub.settings.url}/setup#{secret}"
    return _users(visit, link=link, invited=user.name)


def organizations(visit: Visitor, search: str = "", after: str = "") -> Response:
    """List organisations."""
    _administers(visit)
    return system_page(
        visit,
        "organizations",
        **_accounts(visit, "organization", search.strip()[:96], after[:96]),
    )


def repositories(visit: Visitor, search: str = "", cursor: str = "") -> Response:
    """List all repositories."""
    _administers(visit)
    return _repositories(visit, search.strip()[:200], cursor[:1000])


def _repositories(visit: Visit, search: str = "", cursor: str = "", **values: Any) -> Response:
    page = visit.hub.repositories.list(
        visit.actor, search=search or None, sort="name", limit=PAGE, cursor=cursor or None
    )
    return system_page(
        visit,
        "repositories",
        items=[listed(repo) for repo in page.items],
        search=search,
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=page.cursor) if page.cursor else None,
        **values,
    )


def close_repository(visit: Visitor, form: Form) -> Response:
    """Close a repository, or open it again."""
    _administers(visit)
    hub, actor = visit.hub, visit.actor
    try:
        repo = hub.repositories.get(actor, form.get("type", ""), form.get("name", "")[:200])
        hub.repositories.update(actor, repo, disabled=form.get("disabled") == "yes")
    except PlaitError as error:
        if error.status in (500, 501, 507):
            raise
        return _repositories(visit, problem=error.message, code=error.status)
    return visit.go("/system/repositories", "saved")


def storage(visit: Visitor) -> Response:
    """Show what lies where, and which commands look after it."""
    _administers(visit)
    force = visit.hub.settings
    return system_page(
        visit, "storage", census=census.take(visit.hub, visit.actor), folder=str(force.dir)
    )


def job_list(visit: Visitor, state: str = "", before: int = 0) -> Response:
    """List jobs."""
    _administers(visit)
    state = state if state in STATES else ""
    limit = min(max(before, 0), 2**31) or None
    found = jobs.recent(visit.hub, state=state or None, limit=PAGE + 1, before=limit)
    shown = found[:PAGE]
    return system_page(
        visit,
        "jobs",
        jobs=shown,
        payers=jobs.payers(visit.hub, shown),
        state=state,
        states=STATES,
        first=visit.link(before=None) if before else None,
        more=visit.link(before=shown[-1].id) if len(found) > PAGE else None,
    )


def audit(visit: Visitor, verify: str = "") -> Response:
    """Show the whole audit log; with ``verify`` also whether its chain holds."""
    _administers(visit)
    verdict = visit.hub.audit.verify() if verify else None
    return system_page(visit, "audit", verdict=verdict, **audit_values(visit))


def settings(visit: Visitor) -> Response:
    """Show every setting, its value and its meaning; secrets are masked."""
    _administers(visit)
    force = visit.hub.settings
    rows = [
        {
            "variable": row.variable,
            "value": masked(row.name, getattr(force, row.name)),
            "changed": getattr(force, row.name) != row.default,
            "meaning": row.meaning,
        }
        for row in describe()
    ]
    return system_page(visit, "settings", rows=rows, folder=str(force.dir))
