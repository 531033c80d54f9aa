# SPDX-License-Identifier: Apache-2.0
"""Put the pages onto a server: templates, static files, errors as pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from plait.errors import PlaitError
from plait.hub import Hub
from plait.web import discussions, jobs, lineage, pulls, repositories, signing
from plait.web import files as file_pages
from plait.web.session import HEADERS, local_address
from plait.web.visit import Pages, visit_of

log = logging.getLogger("plait.web")

_STATIC = {
    "plait.css": "text/css; charset=utf-8",
    "plait.js": "text/javascript; charset=utf-8",
    "logo.svg": "image/svg+xml",
}


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
            except PlaitError as error:
                response = await run_in_threadpool(error_page, request, error.status, error.message)
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
    data = (files("plait.web") / "static" / name).read_bytes()
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
    repositories.add_listings(router)
    for prefix in ("/datasets/{ns}/{name}", "/spaces/{ns}/{name}", "/{ns}/{name}"):
        file_pages.add(router, prefix)
        pulls.add(router, prefix)
        discussions.add(router, prefix)
        lineage.add(router, prefix)
        repositories.add(router, prefix)
    repositories.add_namespace(router)
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
