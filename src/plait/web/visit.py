# SPDX-License-Identifier: Apache-2.0
"""One visit to a page: the hub, who looks, in which language, and how the page is rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from plait.callers import client_address, read_networks
from plait.errors import Unauthorized
from plait.hub import ANONYMOUS, Account, Actor, Hub, Repository
from plait.hub.people.tokens import SESSION_COOKIE
from plait.hub.permissions import Action, can
from plait.web import language
from plait.web.figures import quantity, size
from plait.web.session import HEADERS

PREFIXES: Mapping[str, str] = {"model": "", "dataset": "/datasets", "space": "/spaces"}
"""Where the pages of each repository type begin."""


def repository_url(repo_type: str, full_name: str) -> str:
    """Return the address of a repository's page."""
    return f"{PREFIXES[repo_type]}/{full_name}"


class SignInFirst(Unauthorized):
    """The page is for people who are signed in."""


class _Given(dict[str, str]):
    """What a form was filled in with; what was not is empty."""

    def __missing__(self, name: str) -> str:
        return ""


class Pages:
    """What all pages of one server share."""

    def __init__(self, hub: Hub, static: Callable[[str], str]) -> None:
        self.hub = hub
        self.templates = Environment(
            loader=PackageLoader("plait.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals.update(
            static=static, languages=language.LANGUAGES, language_tags=language.TAGS
        )
        self.templates.filters["revision"] = lambda name: quote(name, safe="")
        self.templates.filters["path"] = quote
        self.templates.filters["list_pair"] = lambda value: (value, value)
        self.templates.filters["size"] = size
        self.templates.filters["number"] = quantity


@dataclass(frozen=True)
class Visit:
    """One request for a page."""

    request: Request
    hub: Hub
    actor: Actor
    t: language.Translator

    @property
    def here(self) -> str:
        """Path and query of this page."""
        query = self.request.url.query
        return quote(self.request.url.path) + (f"?{query}" if query else "")

    @property
    def is_secure(self) -> bool:
        """Tell whether browsers reach this hub over TLS, perhaps through a proxy."""
        return "https" in (self.request.url.scheme, self.hub.settings.url.split(":", 1)[0])

    @property
    def address(self) -> str:
        """Where the visitor's request came from."""
        return address_of(self.request, self.hub)

    def repository(
        self, repo_type: str, ns: str, name: str, action: Action = "repo.read"
    ) -> Repository:
        """Return a repository that this visitor may see.

        Raises:
            RepositoryNotFound, Forbidden: as the hub says.
        """
        return self.hub.repositories.get(self.actor, repo_type, f"{ns}/{name}", action)

    def may(self, action: Action, resource: Repository | Account | None = None) -> bool:
        """Tell whether this visitor may do something; gates are asked about elsewhere."""
        return can(self.actor, action, resource)

    def signed_in(self) -> None:
        """Send visitors who are nobody to the page where they sign in.

        Raises:
            SignInFirst: nobody is signed in.
        """
        if not self.actor.signed_in:
            raise SignInFirst("Sign in first.")

    @cached_property
    def account(self) -> Account:
        """The visitor's own account.

        Raises:
            SignInFirst: nobody is signed in.
        """
        self.signed_in()
        assert self.actor.user_id is not None
        found = self.hub.accounts.by_id(self.actor.user_id)
        if found is None:
            raise SignInFirst("Sign in again: this account is gone.")
        return found

    def link(self, **changes: Any) -> str:
        """Return this page's address with some of its query changed; None removes."""
        values = dict(parse_qsl(self.request.url.query))
        values.update({key: str(value) for key, value in changes.items() if value is not None})
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
        return "?" + urlencode(values) if values else self.request.url.path

    def render(self, template: str, *, code: int = 200, **values: Any) -> Response:
        """Render a page."""
        pages: Pages = self.request.app.state.pages
        if "form" in values:
            values["form"] = _Given(values["form"])
        done = self.request.query_params.get("done", "")[:40]
        html = pages.templates.get_template(template).render(
            t=self.t,
            viewer=self.actor.name if self.actor.signed_in else None,
            runs_hub=can(self.actor, "hub.admin"),
            here=self.here,
            notices=self.hub.notifications.unread(self.actor),
            done=self.t.known("done", done) if self.t.has(f"done.{done}") else "",
            language_link=lambda code: self.link(lang=code),
            **values,
        )
        response = HTMLResponse(html, code, headers=dict(HEADERS))
        # What a page shows depends on who asks; nothing between may keep it for others.
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["Vary"] = "Cookie, Accept-Language"
        response.headers["Content-Language"] = self.t.tag
        if self.request.query_params.get("lang") in language.LANGUAGES:
            response.set_cookie(
                language.COOKIE, self.t.language, max_age=365 * 86400, samesite="lax",
                secure=self.is_secure,
            )  # fmt: skip
        return response

    def go(self, address: str, done: str = "") -> Response:
        """Send the browser to another page after a form; ``done`` names what it says there."""
        if done:
            path, mark, anchor = address.partition("#")
            address = f"{path}{'&' if '?' in path else '?'}done={done}{mark}{anchor}"
        return RedirectResponse(address, 303, headers=dict(HEADERS))


def address_of(request: Request, hub: Hub) -> str:
    """Return the address that a request came from, through proxies that are believed."""
    peer = request.client.host if request.client else ""
    trusted = read_networks(hub.settings.trusted_proxies)
    return client_address(peer, request.headers.get("x-forwarded-for", ""), trusted)


def visit_of(request: Request) -> Visit:
    """Find out who visits, in which language."""
    hub: Hub = request.app.state.pages.hub
    cookie = request.cookies.get(SESSION_COOKIE)
    actor = hub.tokens.session_actor(cookie) if cookie else None
    code = language.choose(
        request.query_params.get("lang"),
        request.cookies.get(language.COOKIE),
        request.headers.get("accept-language"),
    )
    actor = replace(actor or ANONYMOUS, address=address_of(request, hub))
    return Visit(request, hub, actor, language.Translator(code))


Visitor = Annotated[Visit, Depends(visit_of)]
