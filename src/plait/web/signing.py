# SPDX-License-Identifier: Apache-2.0
"""Sign in by pasting a token; sign out."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.hub.tokens import SESSION_COOKIE
from plait.web.session import Form, local_address
from plait.web.visit import Visitor


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/login", show)
    router.add_api_route("/login", sign_in, methods=["POST"])
    router.add_api_route("/logout", sign_out, methods=["POST"])


def show(visit: Visitor, next: str = "/") -> Response:
    """Show the form."""
    return visit.render("login.html", problem=None, next=local_address(next))


def sign_in(visit: Visitor, form: Form) -> Response:
    """Open a browser session that may do what the token may."""
    target = local_address(form.get("next", "/"))
    found = visit.hub.tokens.authenticate(form.get("token", "").strip()[:200])
    if found is None:
        return visit.render("login.html", code=401, problem=visit.t("login.wrong"), next=target)
    response = visit.go(target)
    response.set_cookie(
        SESSION_COOKIE,
        visit.hub.tokens.open_session(found[0]),
        max_age=visit.hub.settings.session_ttl,
        httponly=True,
        samesite="lax",
        secure=visit.is_secure,
    )
    return response


def sign_out(visit: Visitor, form: Form) -> Response:
    """End the browser session."""
    cookie = visit.request.cookies.get(SESSION_COOKIE)
    if cookie:
        visit.hub.tokens.close_session(cookie)
    response = visit.go("/")
    response.delete_cookie(SESSION_COOKIE)
    return response
