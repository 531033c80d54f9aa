# SPDX-License-Identifier: Apache-2.0
"""Where a listing goes on: the sort keys of the last row shown, as opaque text."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from plait.errors import BadInput

MAX_CURSOR = 1000
_LARGEST = 2**62


def write_cursor(values: Sequence[str | int | float | datetime]) -> str:
    """Return the text that asks for the rows after the one with these sort keys."""
    plain = [
        value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for value in values
    ]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type) -> list[Any]:
    """Return the sort keys, each of its kind (``str``, ``int``, ``float`` or ``datetime``).

    Raises:
        BadInput: it is not a cursor of this listing.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor[:MAX_CURSOR] + "=="))
        if isinstance(values, list) and len(values) == len(kinds):
            return [_typed(value, kind) for value, kind in zip(values, kinds, strict=True)]
    except (ValueError, RecursionError, OverflowError):
        pass
    raise BadInput("The cursor of this listing is not one that the hub gave. Start again.")


def _typed(value: Any, kind: type) -> Any:
    if kind is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    elif kind is float and type(value) in (int, float) and abs(value) < _LARGEST:
        return float(value)
    elif kind is int and type(value) is int and abs(value) < _LARGEST:
        return value
    elif kind is str and isinstance(value, str) and "\0" not in value:
        value.encode()
        return value
    raise ValueError
