# SPDX-License-Identifier: Apache-2.0
"""Who visits, in which language; what a form may send; the headers of every page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from plait.callers import is_same_origin
from plait.errors import BadInput, Forbidden, TooLarge

LARGEST_FORM = 512 * 1024
"""Bytes of one form; a comment is text, not a file."""
LARGEST_EDIT = 3 * 2**20
"""Bytes of a form with a whole text file in it: its percent signs make it up to three times."""
LARGEST_UPLOAD = 64 * 2**20
"""Bytes of all files that a browser sends at once; larger ones are for the client."""
MOST_FIELDS = 200
MOST_FILES = 100

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def _refuse_others(request: Request) -> None:
    url = request.app.state.pages.hub.settings.url
    # Programs send neither header; no browser that another site could have tricked is like that.
    if not is_same_origin(request.headers, url, silent=True):
        raise Forbidden("This form was sent by another site. Open the page on this hub and retry.")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request, largest: int) -> dict[str, str]:
    _refuse_others(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise TooLarge(f"A form may hold at most {largest // 1024} kB.")
    if body and _kind(request) != "application/x-www-form-urlencoded":
        raise BadInput("Send the form as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadInput("The form could not be read. Send it again from the page.") from None
    return dict(pairs)


async def read_form(request: Request) -> dict[str, str]:
    """Read a form of one of this hub's own pages.

    Raises:
        Forbidden: another site sent it.
        TooLarge: it is larger than any form here.
        BadInput: it is not a form.
    """
    return await _read(request, LARGEST_FORM)


async def read_edit(request: Request) -> dict[str, str]:
    """Read a form that holds a text file; raises as `read_form`."""
    return await _read(request, LARGEST_EDIT)


@dataclass(frozen=True)
class Upload:
    """A form with files: its fields, and each file's name and bytes."""

    fields: Mapping[str, str]
    files: tuple[tuple[str, bytes], ...]


async def read_upload(request: Request) -> Upload:
    """Read a form with files; raises as `read_form`."""
    _refuse_others(request)
    length = request.headers.get("content-length", "")
    # The length is asked for first: files are only spooled once it is known to be bearable.
    if not length.isdigit():
        raise BadInput("Say how long the form is (Content-Length).")
    if int(length) > LARGEST_UPLOAD:
        raise TooLarge(
            f"A browser may send {LARGEST_UPLOAD // 2**20} MiB at once. "
            "Use the client for more: hf upload."
        )
    if _kind(request) != "multipart/form-data":
        raise BadInput("Send the form as multipart/form-data.")
    try:
        form = await request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS)
    except MultiPartException as error:
        raise BadInput(f"The form could not be read: {error.message}") from None
    fields: dict[str, str] = {}
    files = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                files.append((value.filename, await value.read()))
        else:
            fields[name] = value
    await form.close()
    return Upload(fields, tuple(files))


async def read_either(request: Request) -> Upload:
    """Read a form with or without files; raises as `read_form`."""
    if _kind(request) == "multipart/form-data":
        return await read_upload(request)
    return Upload(await read_form(request), ())


Form = Annotated[dict[str, str], Depends(read_form)]
EditForm = Annotated[dict[str, str], Depends(read_edit)]
UploadForm = Annotated[Upload, Depends(read_upload)]


def local_address(address: str) -> str:
    """Return ``address`` if it is a path on this hub, otherwise ``/``."""
    if not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/"
    if any(ord(letter) < 0x20 or letter == "\\" for letter in address):
        return "/"
    return address
