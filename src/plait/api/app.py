# SPDX-License-Identifier: Apache-2.0
"""The application: every route of the wire protocol over one hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse

from plait import __version__
from plait.api import (
    access,
    accounts,
    collections,
    commit,
    conflicts,
    contributions,
    costs,
    credit,
    discussions,
    errors,
    git,
    graphs,
    hidden,
    info,
    jobs,
    largefiles,
    leaderboards,
    lfs,
    licences,
    likes,
    lineage,
    listing,
    notifications,
    preupload,
    protection,
    queue,
    raw,
    refs,
    repos,
    resolve,
    suggest,
    tags,
    tokens,
    training,
    tree,
    unsupported,
    usage,
    users,
    webhooks,
    whoami,
    xet,
)
from plait.api.background import Background
from plait.api.bodies import MAX_UPLOADS
from plait.api.routing import WireMiddleware
from plait.hub import Hub

_rest = APIRouter()


@_rest.get("/healthz", tags=["operation"], response_class=PlainTextResponse)
async def health() -> PlainTextResponse:
    """Answer that the server is up."""
    return PlainTextResponse("ok\n")


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
        unsupported,
        whoami,
        tokens,
        accounts,
        repos,
        access,
        likes,
        preupload,
        commit,
        git,
        xet,
        lfs,
        largefiles,
        listing,
        info,
        tags,
        tree,
        refs,
        discussions,
        costs,
        jobs,
        conflicts,
        contributions,
        protection,
        queue,
        lineage,
        hidden,
        graphs,
        licences,
        credit,
        leaderboards,
        notifications,
        suggest,
        training,
        collections,
        webhooks,
        users,
        usage,
        resolve,
        raw,
    ):
        app.include_router(module.router)
    app.include_router(_rest)
    app.include_router(unsupported.rest)
    return app
