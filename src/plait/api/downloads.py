# SPDX-License-Identifier: Apache-2.0
"""Sending bytes: ranges, conditions, and headers that keep a stranger's file harmless."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
from fastapi import Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from plait.errors import NotFound, RangeNotSatisfiable
from plait.hub import Hub

FILE_EXTENSION = "plait.response.file"
"""A message by which a server sends a part of an open file itself."""
_PIECE = 2**20
_OF_THE_FILE: tuple[str, ...] = ("Content-Type", "Content-Disposition")

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_SHOWN = {"image/png", "image/jpeg", "image/gif", "image/webp", "application/json"}
"""What a browser may show; text of any kind is sent as plain text, the rest is saved."""
_HARMLESS = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip")
"""What may be called by its own name: pages show images, and programs know what they save."""
_TEXT = {".md", ".txt", ".yaml", ".yml", ".jsonl", ".csv", ".py", ".toml", ".cfg", ".gitattributes"}


@dataclass(frozen=True)
class Range:
    """Bytes ``start`` to ``stop`` (exclusive)."""

    start: int
    stop: int


def wanted_range(header: str | None, size: int) -> Range | None:
    """Read a Range header; None means the whole file, also for forms that are not understood.

    Raises:
        RangeNotSatisfiable: it asks for bytes beyond the end.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(f"Bytes {first}-{last} lie outside the file of {size} bytes.")
    return Range(start, stop)


def matches(header: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match header names the file's ETag."""
    if header is None:
        return False
    names = [name.strip().removeprefix("W/").strip('"') for name in header.split(",")]
    return "*" in names or etag in names


def file_headers(path: str) -> dict[str, str]:
    """Headers for a file of a stranger: never run, never sniffed, saved unless known harmless."""
    name = path.rsplit("/", 1)[-1]
    suffix = f".{name.rsplit('.', 1)[-1].lower()}" if "." in name else ""
    guessed = mimetypes.types_map.get(suffix, "application/octet-stream")
    if suffix in _TEXT:
        media, disposition = "text/plain; charset=utf-8", "inline"
    elif guessed in _SHOWN:
        media, disposition = guessed, "inline"
    else:
        # Under another name, no browser takes a file for a script, a style or a page.
        media = guessed if guessed.startswith(_HARMLESS) else "application/octet-stream"
        disposition = "attachment"
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    names = f"filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
    return {
        "Content-Type": media,
        "Content-Disposition": f"{disposition}; {names}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def send_bytes(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """Send a file that is in memory, or the part of it that is asked for."""
    part, status, headers = _part(request, len(data), headers)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return Response(data[part.start : part.stop], status, headers)


def send_blob(
    request: Request, hub: Hub, sha256: str, size: int, headers: dict[str, str] | None = None
) -> Response:
    """Send a blob, or the part of it that is asked for.

    A large one comes from the store itself by a redirect, if the store signs addresses; a file of
    this machine from nginx, if it is in front; all else in pieces of a megabyte.
    """
    headers = headers or file_headers(sha256)
    if request.method == "GET":
        url = blob_url(hub, sha256, size, headers)
        if url is not None:
            kept = {k: v for k, v in headers.items() if k not in ("Content-Type", "ETag")}
            return RedirectResponse(url, 302, {**kept, "Cache-Control": "no-store"})
    part, status, answer = _part(request, size, headers)
    if request.method == "HEAD":
        return Response(status_code=status, headers=answer)
    path = hub.blobs.local_path(sha256)
    if path is not None and hub.settings.accel_redirect:
        # nginx reads the Range header itself.
        inner = f"{hub.settings.accel_redirect.rstrip('/')}/{sha256[:2]}/{sha256[2:4]}/{sha256}"
        return Response(headers={**headers, "X-Accel-Redirect": inner})
    if path is not None and size:
        return StoredFileResponse(path, part, status, answer)
    pieces = hub.blobs.read_range(sha256, part.start, part.stop)
    return StreamingResponse(pieces, status, answer)


def blob_url(hub: Hub, sha256: str, size: int, headers: dict[str, str]) -> str | None:
    """Return a signed address of a flat blob in the store, where downloads go to it."""
    least = hub.settings.redirect_downloads
    if least < 0 or size < least:
        return None
    shown = {name: headers[name] for name in _OF_THE_FILE if name in headers}
    return hub.blobs.signed_url(sha256, hub.settings.download_ttl, shown)


class StoredFileResponse(Response):
    """A part of a file of this machine.

    Handed to the server where it can send files itself (:data:`FILE_EXTENSION`), else read in
    large pieces.
    """

    def __init__(self, path: Path, part: Range, status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers)
        self._path = path
        self._range = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            stream = await anyio.to_thread.run_sync(self._path.open, "rb")
        except FileNotFoundError:
            raise NotFound("The file is gone. Look it up again.") from None
        try:
            await send(start)
            if FILE_EXTENSION in scope.get("extensions", {}):
                await send(
                    {
                        "type": FILE_EXTENSION,
                        "file": stream,
                        "offset": self._range.start,
                        "count": self._range.stop - self._range.start,
                    }
                )
                return
            stream.seek(self._range.start)
            left = self._range.stop - self._range.start
            while left > 0:
                data = await anyio.to_thread.run_sync(stream.read, min(left, _PIECE))
                if not data:
                    raise NotFound("The file is shorter than it should be. Run `plait fsck`.")
                left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": left > 0})
        finally:
            stream.close()


def _part(
    request: Request, size: int, headers: dict[str, str]
) -> tuple[Range, int, dict[str, str]]:
    condition = request.headers.get("if-range")
    header = request.headers.get("range")
    if condition is not None and condition != headers.get("ETag"):
        header = None
    part = wanted_range(header, size)
    headers = {**headers, "Accept-Ranges": "bytes"}
    if part is None:
        return Range(0, size), 200, {**headers, "Content-Length": str(size)}
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return part, 206, {**headers, "Content-Length": str(part.stop - part.start)}
