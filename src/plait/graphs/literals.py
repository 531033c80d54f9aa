# SPDX-License-Identifier: Apache-2.0
"""Literals: whether a text is one of its datatype, and its canonical form.

By W3C XSD 1.1 part 2, but for calendars: a date is one that Python's proleptic calendar has.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from plait.errors import BadInput

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\Z")
_DOUBLE = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_YEAR = re.compile(r"-?[0-9]{4,9}\Z")
TIME = r"^(-?[0-9]{4,9})(-[0-9]{2}(-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?\z"
"""A date or time in ISO 8601, maybe partial; in RE2's syntax."""
_TIME = re.compile(TIME.replace("\\z", "\\Z"))
_DIGITS = 4096
"""A number of more characters is refused before it is computed with."""


def canonical(value: str, datatype: str) -> str:
    """Return a literal's canonical lexical form: `01.50` and `1.5` are one decimal.

    Raises:
        BadInput: the text is no value of the datatype.
    """
    wrong = BadInput(f"'{value[:60]}' is no {datatype}.")
    if datatype in ("string", "langString", "anyURI"):
        return value
    text = value.strip()
    if len(text) > _DIGITS:
        raise wrong
    if datatype == "boolean":
        if text not in ("true", "false", "1", "0"):
            raise wrong
        return "true" if text in ("true", "1") else "false"
    if datatype == "integer":
        if not _INTEGER.match(text):
            raise wrong
        return _whole(text)
    if datatype == "decimal":
        if not _DECIMAL.match(text):
            raise wrong
        return _decimal(text)
    if datatype == "double":
        if text in ("INF", "-INF", "NaN"):
            return text
        if not _DOUBLE.match(text):
            raise wrong
        return repr(float(text) + 0.0).replace("inf", "INF")
    if datatype == "gYear":
        if not _YEAR.match(text):
            raise wrong
        return text
    try:
        if datatype == "date":
            return date.fromisoformat(text).isoformat()
        if datatype == "dateTime":
            return datetime.fromisoformat(text.replace("Z", "+00:00")).isoformat()
    except ValueError:
        raise wrong from None
    raise BadInput(f"'{datatype}' is no datatype that Plait knows.")


def check_time(value: str) -> str:
    """Return an ISO 8601 date or time, maybe partial (`2024`, `2024-05`).

    Raises:
        BadInput: it is none.
    """
    if not _TIME.match(value):
        raise BadInput(f"'{value[:60]}' is no date; write it as 2024, 2024-05 or 2024-05-31.")
    return value


def numeric(value: str, datatype: str) -> str | None:
    """Return a number's value in one form for integers, decimals and doubles; None for no number.

    What is infinite or no number at all is none.
    """
    if datatype not in ("integer", "decimal", "double") or len(value) > _DIGITS:
        return None
    try:
        sign, digits, exponent = Decimal(value.strip()).as_tuple()
    except InvalidOperation:
        return None
    if not isinstance(exponent, int):
        return None
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    if not kept:
        return "0"
    return f"{'-' * sign}{kept}e{exponent + len(text) - len(kept)}"


def equal(a: str, b: str, datatype: str) -> bool:
    """Tell whether two literals of a datatype have the same value."""
    try:
        return canonical(a, datatype) == canonical(b, datatype)
    except BadInput:
        return a == b


def _whole(text: str) -> str:
    digits = text.lstrip("+-").lstrip("0")
    return ("-" if text.startswith("-") else "") + digits if digits else "0"


def _decimal(text: str) -> str:
    whole, _, rest = text.partition(".")
    rest = rest.rstrip("0")
    if not rest:
        return _whole(whole)
    digits = whole.lstrip("+-").lstrip("0") or "0"
    return f"{'-' if whole.startswith('-') else ''}{digits}.{rest}"
