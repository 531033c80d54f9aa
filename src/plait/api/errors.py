# SPDX-License-Identifier: Apache-2.0
"""The one place where errors become answers."""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from plait.errors import (
    BadInput,
    EntryNotFound,
    GatedRepository,
    Moved,
    NotReady,
    PlaitError,
    RepositoryNotFound,
    TooManyRequests,
    Unauthorized,
    Unsupported,
)
from plait.hub.permissions import ANONYMOUS

log = logging.getLogger("plait.api")

INVALID_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105
"""The Hub's own words: clients tell a bad token from a missing repository by them."""

GIT_PATH = re.compile(r"/info/refs$|/git-upload-pack$|/git-receive-pack$|\.git/info/lfs/")
"""Where git and git-lfs ask."""


def answer(request: Request, error: PlaitError) -> JSONResponse:
    """Turn an error into the JSON and headers that the Hub's clients understand."""
    status = error.status
    if isinstance(error, RepositoryNotFound | GatedRepository) and _anonymous(request):
        # As the Hub does: whoever has not signed in is told to, whether the thing exists or not.
        status = 401
    for_git = GIT_PATH.search(request.url.path) is not None
    if for_git and status == 403 and _anonymous(request):
        status = 401
    headers = {"X-Error-Code": error.code, "X-Error-Message": _one_line(error.message)}
    if isinstance(error, Moved):
        location = _moved(request, error)
        if location is None:
            # The name came in the body, where no redirect can change it.
            status, headers["X-Error-Code"] = 404, RepositoryNotFound.code
        else:
            headers["Location"] = location
    if isinstance(error, NotReady):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TooManyRequests):
        # As huggingface_hub reads them: draft-ietf-httpapi-ratelimit-headers-09.
        headers["Retry-After"] = str(error.retry_after)
        headers["RateLimit"] = f'"plait";r=0;t={error.retry_after}'
        headers["RateLimit-Policy"] = f'"fixed window";"plait";q={error.limit};w={error.window}'
    if isinstance(error, EntryNotFound) and error.commit:
        headers["X-Repo-Commit"] = error.commit
    if status == 401 and for_git:
        # git and git-lfs ask for a password only when they are told that one helps.
        headers["WWW-Authenticate"] = headers["LFS-Authenticate"] = 'Basic realm="plait"'
    elif isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="plait"'
    return JSONResponse({"error": error.message}, status, headers)


def install(app: FastAPI) -> None:
    """Make every error of ``app`` an answer with a status, a code and a sentence."""

    @app.exception_handler(PlaitError)
    async def _known(request: Request, error: PlaitError) -> JSONResponse:
        if error.status >= 500 and error.status != Unsupported.status:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        parts = [
            f"{'.'.join(str(part) for part in problem['loc'][1:]) or 'body'}: {problem['msg']}"
            for problem in error.errors()[:3]
        ]
        return answer(request, BadInput(f"The request cannot be read: {'; '.join(parts)}."))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = {**(error.headers or {}), "X-Error-Message": _one_line(str(error.detail))}
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers)

    @app.exception_handler(ClientDisconnect)
    async def _gone(request: Request, error: ClientDisconnect) -> Response:
        # Nobody reads this; it ends the request without noise.
        return Response(status_code=400)

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> JSONResponse:
        request_id = request.scope.get("plait.request_id", "")
        log.error("%s: %s %s failed", request_id, request.method, request.url.path, exc_info=error)
        found = answer(
            request,
            PlaitError(
                "Something broke inside the hub. Ask its operator to look into the log "
                f"({request_id})."
            ),
        )
        # This answer is made outside the middleware that would add the header.
        found.headers["X-Request-Id"] = request_id
        return found


def _moved(request: Request, error: Moved) -> str | None:
    """Return this request's address with the repository's new name, as a path of this hub.

    None if the address does not hold the old name.
    """
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    parts = raw.partition(b"?")[0].decode("latin-1").split("/")
    old = error.old_name.lower().split("/")
    for place in range(1, len(parts) - 1):
        namespace, name = (unquote(part).lower() for part in parts[place : place + 2])
        if namespace == old[0] and name in (old[1], f"{old[1]}.git"):
            end = ".git" if name != old[1] else ""
            parts[place : place + 2] = [f"{error.new_name}{end}"]
            break
    else:
        return None
    query = request.scope.get("query_string", b"").decode("latin-1")
    # One slash at the start: two would name another host.
    return f"/{'/'.join(parts).lstrip('/')}" + (f"?{query}" if query else "")


def _anonymous(request: Request) -> bool:
    return not getattr(request.state, "actor", ANONYMOUS).signed_in


def _one_line(text: str) -> str:
    """Make text fit into a header: one line of ASCII of a readable length."""
    return " ".join(text.split()).encode("ascii", "replace").decode()[:500]
