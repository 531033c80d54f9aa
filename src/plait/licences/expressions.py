# SPDX-License-Identifier: Apache-2.0
"""Licences as cards state them: one name, or an SPDX expression of several."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from plait.errors import BadInput
from plait.licences.table import table

MAX_LENGTH = 500
MAX_CHOICES = 64
NOT_STATED = ("", "unknown", "other", "none", "noassertion")


def choices(stated: str) -> tuple[frozenset[str], ...]:
    """Return the sets of licences that an expression lets one choose between.

    `(MIT OR GPL-3.0-only) AND CC-BY-4.0` gives {mit, cc-by-4.0} and {gpl-3.0, cc-by-4.0}. Names are
    those of cards where Plait knows the licence, else as stated. An exception (`WITH`) permits
    more than its licence alone and is left out.

    Raises:
        BadInput: if it is not an expression, or has more than 64 choices.
    """
    text = stated.strip()
    if len(text) > MAX_LENGTH:
        raise BadInput(f"A licence expression of {len(text):,} characters is too long.")
    if text.lower() in _names():
        return (frozenset([_names()[text.lower()]]),)
    from license_expression import ExpressionError, ParseError

    try:
        return tuple(dict.fromkeys(_choices(_licensing().parse(text))))
    except _TooMany:
        raise BadInput(f"'{text[:80]}' has more than {MAX_CHOICES} choices.") from None
    except (ExpressionError, ParseError, ValueError, TypeError, IndexError, RecursionError):
        raise BadInput(
            f"'{text[:80]}' is not a licence's name and not an SPDX expression like "
            "'MIT OR Apache-2.0'."
        ) from None


class _TooMany(ValueError):
    pass


@cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@cache
def _names() -> dict[str, str]:
    """Return every way to write a licence that is known, in lower case, to its name on cards."""
    found = {name: name for name in table()}
    for name, terms in table().items():
        if terms.spdx:
            found[terms.spdx.lower()] = name
    # deprecated names of SPDX, which cards keep using
    found |= {"gpl-2.0+": "gpl-2.0-or-later", "gpl-3.0+": "gpl-3.0-or-later"}
    return found


def _choices(parsed: Any) -> list[frozenset[str]]:
    from license_expression import LicenseWithExceptionSymbol

    if parsed is None:
        raise ValueError("nothing stated")
    operator = getattr(parsed, "operator", "").strip()
    if operator == "OR":
        return _bounded(choice for part in parsed.args for choice in _choices(part))
    if operator == "AND":
        combined = [frozenset[str]()]
        for part in parsed.args:
            own = _choices(part)
            combined = _bounded(one | other for one in combined for other in own)
        return combined
    if isinstance(parsed, LicenseWithExceptionSymbol):
        parsed = parsed.license_symbol
    key = str(parsed.key)
    return [frozenset([_names().get(key.lower(), key)])]


def _bounded(found: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    kept: dict[frozenset[str], None] = {}
    for choice in found:
        kept[choice] = None
        if len(kept) > MAX_CHOICES:
            raise _TooMany
    return list(kept)
