# SPDX-License-Identifier: Apache-2.0
"""Licences on the cards of the models to fuse, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plait.cards import read_head
from plait.errors import PlaitError
from plait.licences import judge, table
from plait.licences.cards import stated_licence

MAX_CARD = 2_000_000


def licence_of(folder: Path) -> str | None:
    """Return the licence that a model's card states; None without one."""
    path = folder / "README.md"
    try:
        if path.stat().st_size > MAX_CARD:
            return None
        stated = stated_licence(read_head(path.read_text("utf-8", "replace")))
    except (OSError, PlaitError):
        return None
    return stated.lower() if stated and " " not in stated else stated


def licence_notes(licences: Mapping[str, str | None]) -> list[str]:
    """Return what to know of the licences together; nothing here is legal advice."""
    different = set(licences.values())
    terms = table().get(different.pop() or "") if len(different) == 1 else None
    if terms is not None and terms.free:
        return []  # all alike, and nothing new to do
    return judge(licences).sentences()
