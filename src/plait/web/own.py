# SPDX-License-Identifier: Apache-2.0
"""One's own settings: profile, password, signed-in browsers, organisations."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.errors import BadInput, PlaitError, Unauthorized
from plait.hub.people.tokens import SESSION_COOKIE, digest
from plait.web.session import Form
from plait.web.sides import own_page, said
from plait.web.signing import enter
from plait.web.visit import Visitor

_SHORT = 16
"""Digits of a session's digest that name it on the page."""


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/settings", first)
    router.add_api_route("/settings/profile", profile)
    router.add_api_route("/settings/profile", save_profile, methods=["POST"])
    router.add_api_route("/settings/password", password)
    router.add_api_route("/settings/password", change_password, methods=["POST"])
    router.add_api_route("/settings/sessions", sessions)
    router.add_api_route("/settings/sessions", end_sessions, methods=["POST"])
    router.add_api_route("/settings/organizations", organizations)
    router.add_api_route("/settings/organizations", leave, methods=["POST"])


def first(visit: Visitor) -> Response:
    """Lead to the first page of the settings."""
    visit.signed_in()
    return visit.go("/settings/profile")


def profile(visit: Visitor) -> Response:
    """Show what the visitor's page says of them."""
    account = visit.account
    form = {"fullname": account.fullname, "email": account.email, "about": account.about}
    return own_page(visit, "profile", form=form)


def save_profile(visit: Visitor, form: Form) -> Response:
    """Change it."""
    try:
        visit.hub.accounts.update_profile(
            visit.actor,
            visit.account,
            fullname=form.get("fullname", "").strip(),
            email=form.get("email", "").strip(),
            about=form.get("about", "").replace("\r\n", "\n").strip(),
        )
    except PlaitError as error:
        shown = {"fullname": "", "email": "", "about": "", **form}
        return own_page(visit, "profile", form=shown, **said(error))
    return visit.go("/settings/profile", "saved")


def password(visit: Visitor) -> Response:
    """Show the form for another password."""
    return own_page(visit, "password", has_password=visit.account.password is not None)


def change_password(visit: Visitor, form: Form) -> Response:
    """Change the password; every other browser is signed out."""
    account = visit.account
    new = form.get("password", "")[:1024]
    try:
        if new != form.get("again", "")[:1024]:
            raise BadInput(visit.t("password.differ"))
        visit.hub.accounts.change_password(visit.actor, form.get("old", "")[:1024], new)
    except Unauthorized as error:
        return own_page(visit, "password", has_password=True, problem=error.message, code=401)
    except PlaitError as error:
        has_password = account.password is not None
        return own_page(visit, "password", has_password=has_password, **said(error))
    # The change ended every session; this browser goes on with a new one.
    return enter(visit, visit.hub.accounts.actor_for(account), "/settings/password", "saved")


def sessions(visit: Visitor) -> Response:
    """List the browsers in which the visitor is signed in."""
    visit.signed_in()
    current = digest(visit.request.cookies.get(SESSION_COOKIE, "")[:200])
    found = visit.hub.tokens.sessions(visit.actor)
    return own_page(
        visit,
        "sessions",
        sessions=[(one.digest[:_SHORT], one, one.digest == current) for one in found],
    )


def end_sessions(visit: Visitor, form: Form) -> Response:
    """Sign one browser out, or all."""
    visit.signed_in()
    if form.get("session") == "all":
        visit.hub.tokens.close_sessions(visit.actor)
        return visit.go("/login")
    visit.hub.tokens.end_session(visit.actor, form.get("session", "")[:_SHORT])
    return visit.go("/settings/sessions", "saved")


def organizations(visit: Visitor) -> Response:
    """List the visitor's organisations and their role in each."""
    found = visit.hub.accounts.list_organizations(visit.account)
    return own_page(visit, "organizations", organizations=found)


def leave(visit: Visitor, form: Form) -> Response:
    """Leave an organisation."""
    account, accounts = visit.account, visit.hub.accounts
    try:
        organization = accounts.get_organization(form.get("organization", "")[:96])
        accounts.remove_member(organization, account, by=visit.actor)
    except PlaitError as error:
        found = accounts.list_organizations(account)
        return own_page(visit, "organizations", organizations=found, **said(error))
    return visit.go("/settings/organizations", "saved")
