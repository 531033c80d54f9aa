# SPDX-License-Identifier: Apache-2.0
"""Put the pages onto a server: templates, static files, errors as pages."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from plait.errors import Moved, NotReady, PlaitError, TooManyRequests
from plait.hub import Hub
from plait.web import (
    access,
    accounts,
    browse,
    card,
    collections,
    comparing,
    conflicts,
    contributions,
    discussions,
    edits,
    foreseen,
    graphs,
    history,
    jobs,
    leaderboards,
    licences,
    likes,
    lineage,
    new,
    notifications,
    organizations,
    own,
    protection,
    pulls,
    queue,
    refs,
    repository_settings,
    signing,
    suggest,
    system,
    tokens,
    training,
    webhooks,
)
from plait.web import files as file_pages
from plait.web.here import GateClosed, Here
from plait.web.session import HEADERS, local_address
from plait.web.visit import Pages, SignInFirst, visit_of

log = logging.getLogger("plait.web")

_STATIC = {
    "plait.css": "text/css; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
    "conflicts.css": "text/css; charset=utf-8",
    "plait.js": "text/javascript; charset=utf-8",
    "graph.js": "text/javascript; charset=utf-8",
    "graphs.css": "text/css; charset=utf-8",
    "knowledge-graph.js": "text/javascript; charset=utf-8",
    "pair-review.js": "text/javascript; charset=utf-8",
    "graph-layout.js": "text/javascript; charset=utf-8",
    "sigma.min.js": "text/javascript; charset=utf-8",
    "graphology.umd.min.js": "text/javascript; charset=utf-8",
    "forceatlas2.js": "text/javascript; charset=utf-8",
    "logo.svg": "image/svg+xml",
}

_VENDORED = ("sigma.min.js", "graphology.umd.min.js", "forceatlas2.js")
"""Libraries as their authors published them, in ``static/vendor`` with their licences."""


class PageRoute(APIRoute):
    """A route whose errors are pages for people, and whose answers carry the pages' headers."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if self.methods and "GET" in self.methods:
            self.methods.add("HEAD")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response = await handler(request)
            except SignInFirst as error:
                response = await run_in_threadpool(_sign_in_first, request, error)
            except Moved as error:
                response = await run_in_threadpool(_moved, request, error)
            except GateClosed as error:
                response = await run_in_threadpool(gate_page, error.at)
            except PlaitError as error:
                response = await run_in_threadpool(error_page, request, error.status, error.message)
                if isinstance(error, TooManyRequests | NotReady):
                    response.headers["Retry-After"] = str(error.retry_after)
            except RequestValidationError:
                response = await run_in_threadpool(error_page, request, 404, "")
            except HTTPException as error:
                response = await run_in_threadpool(
                    error_page, request, error.status_code, str(error.detail)
                )
            except Exception:
                log.exception("%s %s failed", request.method, request.url.path)
                response = await run_in_threadpool(error_page, request, 500, "")
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle


def _sign_in_first(request: Request, error: SignInFirst) -> Response:
    """Ask visitors to sign in, and bring them back to the page that they wanted."""
    if request.method not in ("GET", "HEAD"):
        return error_page(request, error.status, error.message)
    visit = visit_of(request)
    return visit.go(f"/login?{urlencode({'next': visit.here})}")


def _moved(request: Request, error: Moved) -> Response:
    """Lead from a repository's old name to its new one, whatever page of it was asked for."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    kept = rf"(?i)^(/(?:datasets/|spaces/)?){re.escape(error.old_name)}(?=/|\Z)"
    target, changed = re.subn(kept, lambda found: f"{found[1]}{error.new_name}", path)
    if not changed:
        return error_page(request, 404, "")
    query = request.url.query
    return RedirectResponse(f"{target}?{query}" if query else target, 307, dict(HEADERS))


def gate_page(at: Here) -> Response:
    """Say that a repository is gated, and how to be let in."""
    return at.visit.render("gate.html", code=403, repo=at.view)


def error_page(request: Request, status: int, message: str) -> Response:
    """Render an error for people: what is wrong and what to do."""
    visit = visit_of(request)
    tag: str | None = "en"
    if status == 404 or not message:
        tag = None
        message = visit.t("error.404_line" if status == 404 else "error.500_line")
    return visit.render(
        "error.html",
        code=status,
        status=status,
        message=message,
        message_lang=tag,
        back=_came_from(request) if request.method == "POST" else None,
    )


def _came_from(request: Request) -> str | None:
    """Return the page of this hub on which a form was sent, if the browser says so."""
    address = urlsplit(request.headers.get("referer", ""))
    if not address.path or address.netloc != request.headers.get("host", ""):
        return None
    return local_address(address.path)


@cache
def asset(name: str) -> tuple[bytes, str]:
    """Return a static file and the beginning of its hash, by which browsers may keep it."""
    folder = files("plait.web") / "static"
    data = ((folder / "vendor" if name in _VENDORED else folder) / name).read_bytes()
    return data, sha256(data).hexdigest()[:12]


def add_pages(app: FastAPI, hub: Hub) -> None:
    """Add every page to ``app``. Call it after the API's routes: those win where both match."""
    app.state.pages = Pages(hub, lambda name: f"/static/{name}?v={asset(name)[1]}")
    router = APIRouter(
        route_class=PageRoute, include_in_schema=False, default_response_class=Response
    )
    router.add_api_route("/static/{name}", _static)
    signing.add(router)
    jobs.add(router)
    browse.add(router)
    new.add(router)
    organizations.add(router)
    collections.add(router)
    comparing.add(router)
    suggest.add(router)
    notifications.add(router)
    webhooks.add(router)
    own.add(router)
    tokens.add(router)
    system.add(router)
    for prefix in ("/datasets/{ns}/{name}", "/spaces/{ns}/{name}", "/{ns}/{name}"):
        file_pages.add(router, prefix)
        access.add(router, prefix)
        edits.add(router, prefix)
        likes.add(router, prefix)
        history.add(router, prefix)
        refs.add(router, prefix)
        repository_settings.add(router, prefix)
        pulls.add(router, prefix)
        conflicts.add(router, prefix)
        licences.add(router, prefix)
        discussions.add(router, prefix)
        foreseen.add(router, prefix)
        leaderboards.add(router, prefix)
        notifications.add_repository(router, prefix)
        lineage.add(router, prefix)
        contributions.add(router, prefix)
        protection.add(router, prefix)
        queue.add(router, prefix)
        training.add(router, prefix)
        card.add(router, prefix)
    graphs.add(router, "/datasets/{ns}/{name}")
    accounts.add(router)
    router.add_api_route("/{rest:path}", _nothing)
    app.include_router(router)


def _static(name: str, request: Request) -> Response:
    if name not in _STATIC:
        raise HTTPException(404)
    data, version = asset(name)
    headers = {
        "ETag": f'"{version}"',
        "Cache-Control": "public, max-age=31536000, immutable"
        if request.query_params.get("v") == version
        else "no-cache",
    }
    if request.headers.get("if-none-match") == f'"{version}"':
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=_STATIC[name], headers=headers)


def _nothing(rest: str, request: Request) -> Response:
    """Answer for addresses that nothing else takes: a page for browsers, JSON for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return error_page(request, 404, "")
    return Response('{"error":"Not Found"}', 404, media_type="application/json")
