# SPDX-License-Identifier: Apache-2.0
"""Who visits, in which language; what a form may send; the headers of every page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request

from plait.errors import BadInput, Forbidden, TooLarge

LARGEST_FORM = 512 * 1024
"""Bytes of one form; a comment is text, not a file."""

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


def is_same_origin(request: Request, public_url: str) -> bool:
    """Tell whether a form was sent by one of this hub's own pages.

    Browsers say so in ``Sec-Fetch-Site``; older ones in ``Origin``. A request with neither does
    not come from a browser that another site could have tricked.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc in {request.headers.get("host", ""), urlsplit(public_url).netloc}


async def read_form(request: Request) -> dict[str, str]:
    """Read a form of one of this hub's own pages.

    Raises:
        Forbidden: another site sent it.
        TooLarge: it is larger than any form here.
        BadInput: it is not a form.
    """
    if not is_same_origin(request, request.app.state.pages.hub.settings.url):
        raise Forbidden("This form was sent by another site. Open the page on this hub and retry.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise TooLarge(f"A form may hold at most {LARGEST_FORM // 1024} kB.")
    if body and kind != "application/x-www-form-urlencoded":
        raise BadInput("Send the form as application/x-www-form-urlencoded.")
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise BadInput("The form could not be read. Send it again from the page.") from None


Form = Annotated[dict[str, str], Depends(read_form)]


def local_address(address: str) -> str:
    """Return ``address`` if it is a path on this hub, otherwise ``/``."""
    if not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/"
    if any(ord(letter) < 0x20 or letter == "\\" for letter in address):
        return "/"
    return address
