# SPDX-License-Identifier: Apache-2.0
"""How a receiver knows that a message comes from the hub and is not an old one sent again."""

from __future__ import annotations

import hashlib
import hmac
import time

SIGNATURE_HEADER = "X-Plait-Signature"
"""``t=<seconds since 1970>,v1=<hex HMAC-SHA256>``, keyed with the webhook's secret, over the time
as it stands there, a dot, and the body's bytes."""
TOLERANCE = 300
"""Seconds after which a message is too old to be believed."""


def sign_message(secret: str, body: bytes, moment: int | None = None) -> str:
    """Return the value of the signature header for ``body``."""
    moment = int(time.time()) if moment is None else moment
    digest = hmac.new(secret.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def verify_message(
    secret: str, body: bytes, header: str, *, tolerance: int = TOLERANCE, moment: int | None = None
) -> bool:
    """Tell whether ``header`` signs ``body`` with ``secret`` and is not older than ``tolerance``.

    This is what a receiver written in Python can use.
    """
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    sent = parts.get("t", "")
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 12):
        return False
    moment = int(time.time()) if moment is None else moment
    if abs(moment - int(sent)) > tolerance:
        return False
    expected = sign_message(secret, body, int(sent))
    return hmac.compare_digest(expected.encode(), header.encode())
