# SPDX-License-Identifier: Apache-2.0
"""The application: every route of the wire protocol over one hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from plait import __version__
from plait.api import (
    access,
    collections,
    commit,
    discussions,
    errors,
    git,
    info,
    jobs,
    lfs,
    likes,
    listing,
    preupload,
    refs,
    repos,
    resolve,
    tags,
    tree,
    webhooks,
    whoami,
    xet,
)
from plait.api.background import Background
from plait.api.bodies import MAX_UPLOADS
from plait.api.context import Caller
from plait.api.routing import WireMiddleware
from plait.errors import NotFound, RepositoryNotFound, Unsupported
from plait.hub import Hub

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_rest = APIRouter()


@_rest.get("/healthz", tags=["operation"])
async def health() -> PlainTextResponse:
    """Answer that the server is up."""
    return PlainTextResponse("ok\n")


@_rest.get("/api/spaces/hardware", include_in_schema=False)
@_rest.get("/api/spaces/templates", include_in_schema=False)
@_rest.get("/api/spaces/semantic-search", include_in_schema=False)
def running_spaces(request: Request) -> JSONResponse:
    """Say that spaces are kept and not run."""
    raise Unsupported(f"Plait keeps spaces and does not run them: no {request.url.path}.")


@_rest.get("/api/{kind:type}/{name}", include_in_schema=False)
@_rest.get("/api/{kind:type}/{name}/revision/{rest:path}", include_in_schema=False)
@_rest.get("/api/{kind:type}/{name}/tree/{rest:path}", include_in_schema=False)
@_rest.head("/{name}/resolve/{rest:path}", include_in_schema=False)
@_rest.get("/{name}/resolve/{rest:path}", include_in_schema=False)
def without_namespace(request: Request, actor: Caller, name: str) -> JSONResponse:
    """Say that a name alone is no repository: the Hub has a few such, from its first days."""
    raise RepositoryNotFound(
        f"There is no repository {name[:100]!a}. Write it as 'namespace/name'."
    )


@_rest.api_route("/api/{rest:path}", methods=_METHODS, include_in_schema=False)
def unsupported(request: Request, rest: str) -> JSONResponse:
    """Say plainly that a part of the Hub's protocol is not here."""
    raise Unsupported(
        f"Plait has no {request.method} /api/{rest[:200]}. "
        "It speaks the part of the Hub's protocol that repositories and pull requests need."
    )


@_rest.api_route("/v1/{rest:path}", methods=_METHODS, include_in_schema=False)
@_rest.api_route("/v2/{rest:path}", methods=_METHODS, include_in_schema=False)
@_rest.api_route(
    "/{repository:path}.git/info/lfs/{rest:path}", methods=_METHODS, include_in_schema=False
)
def optional(request: Request, rest: str) -> JSONResponse:
    """Say 404 where clients know another way: newer Xet routes, global deduplication, locks."""
    raise NotFound(f"Plait does not offer {request.method} {rest[:200]}.")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    hub: Hub = app.state.hub
    background = Background(hub) if hub.settings.background else None
    if background:
        background.start()
    yield
    if background:
        await anyio.to_thread.run_sync(background.stop)


def create_api(hub: Hub) -> FastAPI:
    """Make the application that serves ``hub``; pages may be added to it."""
    app = FastAPI(
        title="Plait",
        version=__version__,
        description="A hub that speaks the Hugging Face Hub's wire protocol.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/plait/openapi.json",
        lifespan=_lifespan,
    )
    app.state.hub = hub
    app.state.uploads = anyio.CapacityLimiter(MAX_UPLOADS)
    app.state.fetches = anyio.CapacityLimiter(git.MAX_FETCHES)
    app.add_middleware(WireMiddleware)
    errors.install(app)
    for module in (
        whoami,
        repos,
        access,
        likes,
        preupload,
        commit,
        git,
        xet,
        lfs,
        listing,
        info,
        tags,
        tree,
        refs,
        discussions,
        jobs,
        collections,
        webhooks,
        resolve,
    ):
        app.include_router(module.router)
    app.include_router(_rest)
    return app
