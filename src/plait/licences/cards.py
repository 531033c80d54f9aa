# SPDX-License-Identifier: Apache-2.0
"""What a card's head says of its licence: ``license``, ``license_name`` and ``license_link``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.licences.expressions import NOT_STATED
from plait.licences.table import table

MAX = 96
"""Characters of a licence that are kept."""


def stated_licence(head: Mapping[str, Any]) -> str | None:
    """Return the licence that a card states, None if it states none.

    ``license: other`` is explained by ``license_name`` or, where that names none that is known, by
    the address in ``license_link``. Several licences in a list all hold.
    """
    found = head.get("license")
    if isinstance(found, list):
        names = [name.strip() for name in found if isinstance(name, str) and name.strip()]
        return " AND ".join(dict.fromkeys(names))[:MAX] or None
    text = found.strip() if isinstance(found, str) else ""
    if text.lower() not in NOT_STATED:
        return text[:MAX]
    name = head.get("license_name")
    own = name.strip() if isinstance(name, str) else ""
    if own.lower() in table():
        return own.lower()
    linked = _by_address(head.get("license_link"))
    return linked or own[:MAX] or text[:MAX] or None


def licence_head(licence: str) -> dict[str, str]:
    """Return how a card's head states a licence or an expression of several."""
    known = table().get(licence.lower())
    if known is not None:
        return {"license": known.id}
    return {"license": "other", "license_name": licence}


def _by_address(link: object) -> str | None:
    if not isinstance(link, str):
        return None
    wanted = _plain(link)
    for name, terms in table().items():
        if wanted and wanted == _plain(terms.url):
            return name
    return None


def _plain(address: str) -> str:
    return address.strip().lower().removeprefix("https://").removeprefix("http://").rstrip("/")
