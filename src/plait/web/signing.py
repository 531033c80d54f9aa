# SPDX-License-Identifier: Apache-2.0
"""Sign in with a name and password or with a token; use a one-time link; sign out."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.errors import BadInput, TooManyRequests, Unauthorized
from plait.hub import Actor
from plait.hub.people.tokens import SESSION_COOKIE
from plait.web.session import Form, local_address
from plait.web.visit import Visit, Visitor


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/login", show)
    router.add_api_route("/login", sign_in, methods=["POST"])
    router.add_api_route("/logout", sign_out, methods=["POST"])
    router.add_api_route("/setup", setup)
    router.add_api_route("/setup", use_link, methods=["POST"])


def show(visit: Visitor, next: str = "/") -> Response:
    """Show the form."""
    return _form(visit, local_address(next))


def _form(visit: Visit, target: str, *, name: str = "", code: int = 200, **values: str) -> Response:
    shown = {"problem": "", "wrong": "", **values}
    return visit.render("login.html", code=code, next=target, name=name, **shown)


def sign_in(visit: Visitor, form: Form) -> Response:
    """Open a browser session that may do what the token, or the user, may."""
    target = local_address(form.get("next", "/"))
    accounts, token = visit.hub.accounts, form.get("token", "").strip()[:200]
    name = form.get("name", "").strip()[:96]
    try:
        if token:
            actor = accounts.sign_in_with_token(token, visit.address)
        else:
            actor = accounts.sign_in(name, form.get("password", "")[:1024], visit.address)
    except Unauthorized:
        problem = visit.t("login.wrong" if token else "login.wrong_password")
        wrong = "token" if token else "password"
        return _form(visit, target, name=name, code=401, problem=problem, wrong=wrong)
    except TooManyRequests as error:
        problem = visit.t("error.429_line", n=error.retry_after)
        response = _form(visit, target, name=name, code=429, problem=problem)
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    return enter(visit, actor, target)


def enter(visit: Visit, actor: Actor, target: str, done: str = "") -> Response:
    """Give the browser a new session and send it to ``target``."""
    response = visit.go(target, done)
    response.set_cookie(
        SESSION_COOKIE,
        visit.hub.tokens.open_session(actor),
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


def setup(visit: Visitor) -> Response:
    """Show the form of a one-time link: choose a password.

    The secret stands behind the address's ``#``, which browsers do not send: no log holds it. The
    page's script puts it into the form; without scripts it is pasted.
    """
    return visit.render("setup.html", secret="", problem="")


def use_link(visit: Visitor, form: Form) -> Response:
    """Set the password of the one-time link's user, and sign them in."""
    secret, password = form.get("secret", "").strip()[:200], form.get("password", "")[:1024]
    try:
        if password != form.get("again", "")[:1024]:
            raise BadInput(visit.t("password.differ"))
        actor = visit.hub.accounts.use_secret(secret, password, visit.address)
    except (BadInput, Unauthorized) as error:
        return visit.render("setup.html", code=error.status, secret=secret, problem=error.message)
    return enter(visit, actor, "/", "welcome")
