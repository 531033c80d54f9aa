# SPDX-License-Identifier: Apache-2.0
"""Sending bytes: ranges, conditions, and headers that keep a stranger's file harmless."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from plait.errors import RangeNotSatisfiable
from plait.hub import Hub

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_SHOWN = {"image/png", "image/jpeg", "image/gif", "image/webp", "application/json"}
"""What a browser may show; text of any kind is sent as plain text, the rest is saved."""
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
        media = "application/octet-stream" if guessed.startswith("text/") else guessed
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
    """Send a blob, or the part of it that is asked for, in pieces of a megabyte."""
    part, status, headers = _part(request, size, headers or file_headers(sha256))
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces: Iterator[bytes] = hub.blobs.read_range(sha256, part.start, part.stop)
    return StreamingResponse(pieces, status, headers)


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
