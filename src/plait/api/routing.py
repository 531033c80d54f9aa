# SPDX-License-Identifier: Apache-2.0
"""Paths as the Hub's clients write them: percent-encoded slashes inside a segment must survive.

A revision such as ``refs/pr/1`` arrives as one segment, ``refs%2Fpr%2F1``. The server would decode
it before matching, so the wire protocol's routes match the raw path and decode each part once.
"""

from __future__ import annotations

import re
import secrets
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Path
from pydantic import AfterValidator
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plait.errors import BadInput

MAX_JSON_BODY = 8 * 2**20
"""A request whose body is read whole into memory may have at most this many bytes."""

_GIT = rb"/(?:info/refs|git-upload-pack|git-receive-pack)\Z"
_RAW = re.compile(
    rb"/api/|/v[12]/"
    rb"|/(?:(?:datasets|spaces)/)?[^/]+/[^/]+(?:/resolve/|/raw/|\.git/info/lfs/|%b)" % _GIT
)
_STREAMED = re.compile(
    rb"/api/[^/]+/[^/]+/[^/]+/commit/|/api/plait/datasets/[^/]+/[^/]+/hidden/|/v1/"
    rb"|/(?:[^/]+/){2,3}git-(?:upload|receive)-pack\Z"
)
"""Bodies that go to disk as they come, with bounds of their own."""


class _RepositoryType(Convertor[str]):
    """``models``, ``datasets`` or ``spaces``, as the type of repository."""

    regex = "models|datasets|spaces"

    def convert(self, value: str) -> str:
        return value.removesuffix("s")

    def to_string(self, value: str) -> str:
        return f"{value}s"


class _WebPrefix(_RepositoryType):
    """What stands before the names of data sets and spaces, and never before a model's."""

    regex = "datasets|spaces"


register_url_convertor("type", _RepositoryType())
register_url_convertor("prefix", _WebPrefix())


def decode(value: str) -> str:
    """Undo percent-encoding, once.

    Raises:
        BadInput: the bytes are not UTF-8.
    """
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise BadInput("The address is not UTF-8 once decoded.") from None


Type = Annotated[str, Path(description="The type of repository.")]
Namespace = Annotated[str, Path(description="User or organisation."), AfterValidator(decode)]
Name = Annotated[str, Path(description="Name in the namespace."), AfterValidator(decode)]
Revision = Annotated[
    str, Path(description="Branch, tag, refs/pr/N or commit."), AfterValidator(decode)
]
FilePath = Annotated[str, Path(description="Path in the repository."), AfterValidator(decode)]
Number = Annotated[int, Path(description="Number of the discussion.", ge=1, le=2**31 - 1)]


class WireMiddleware:
    """Gives each request an id, the wire protocol its raw paths, and memory its bound."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"Root=1-{secrets.token_hex(12)}"
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        raw = raw.partition(b"?")[0]
        scope["plait.request_id"] = request_id
        if _RAW.match(raw):
            scope["path"] = raw.decode("latin-1")

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_headers(request_id)]}
            await send(message)

        if not _STREAMED.match(raw):
            receive = _bounded(receive)
        await self.app(scope, receive, send_with_id)


def _headers(request_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", request_id.encode())]


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_JSON_BODY:
            raise HTTPException(413, f"The body of this request may have {MAX_JSON_BODY} bytes.")
        return message

    return bounded
