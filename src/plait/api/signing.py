# SPDX-License-Identifier: Apache-2.0
"""Short-lived permissions that travel outside the Authorization header of an account's token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any

from plait.errors import Unauthorized


def sign(secret: bytes, purpose: str, claims: dict[str, Any], seconds: int) -> tuple[str, int]:
    """Write claims that :func:`verify` accepts for ``seconds``; return them and their end.

    ``purpose`` keeps a signature for one thing from passing for another.
    """
    end = int(time.time()) + seconds
    text = json.dumps({**claims, "exp": end}, separators=(",", ":"), sort_keys=True).encode()
    return f"{_encode(text)}.{_encode(_mac(secret, purpose, text))}", end


def verify(secret: bytes, purpose: str, token: str) -> dict[str, Any]:
    """Return the claims of a token from :func:`sign`.

    Raises:
        Unauthorized: it was not signed here for this purpose, or its time is over.
    """
    body, _, mac = token.partition(".")
    try:
        text, given = _decode(body), _decode(mac)
    except (binascii.Error, ValueError):
        raise Unauthorized("This is not a token of this hub. Ask for a new one.") from None
    if not hmac.compare_digest(given, _mac(secret, purpose, text)):
        raise Unauthorized("The signature of the token is wrong. Ask for a new one.")
    claims: dict[str, Any] = json.loads(text)
    if claims["exp"] < time.time():
        raise Unauthorized("The token has expired. Ask for a new one.")
    return claims


def _mac(secret: bytes, purpose: str, text: bytes) -> bytes:
    return hmac.new(secret, purpose.encode() + b"\0" + text, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
