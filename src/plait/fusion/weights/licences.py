# SPDX-License-Identifier: Apache-2.0
"""Licences on the cards of the models to fuse, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plait.cards import read_head
from plait.errors import PlaitError

MAX_CARD = 2_000_000
_SHARE_ALIKE = ("gpl", "agpl", "lgpl", "-sa-", "odbl", "cdla-sharing", "osl", "eupl")
_NOTHING_DERIVED = ("-nd-",)
_NOT_COMMERCIAL = ("-nc-", "noncommercial", "research")


def licence_of(folder: Path) -> str | None:
    """Return the licence that a model's card states; None without one."""
    path = folder / "README.md"
    try:
        if path.stat().st_size > MAX_CARD:
            return None
        stated = read_head(path.read_text("utf-8", "replace")).get("license")
    except (OSError, PlaitError):
        return None
    if isinstance(stated, list):
        stated = stated[0] if len(stated) == 1 else None
    return stated.lower() if isinstance(stated, str) and stated.strip() else None


def licence_notes(licences: Mapping[str, str | None]) -> list[str]:
    """Return what to know of the licences together; nothing here is legal advice."""
    notes = []
    lacking = [r for r, stated in licences.items() if stated in (None, "unknown")]
    if lacking:
        notes.append(f"No licence is stated by {_list(lacking)}; ask before the result is shared.")
    for reference, stated in licences.items():
        if stated and any(part in f"{stated}-" for part in _NOTHING_DERIVED):
            notes.append(f"'{reference}' ({stated}) does not allow changed versions to be shared.")
    limited = {s for s in licences.values() if s and any(p in f"{s}-" for p in _NOT_COMMERCIAL)}
    free = {s for s in licences.values() if s} - limited
    if limited and free:
        notes.append(f"{_list(sorted(limited))} allows no commercial use: nor may the result.")
    alike = {s for s in licences.values() if s and any(p in f"{s}-" for p in _SHARE_ALIKE)}
    if len(alike) > 1:
        notes.append(f"{_list(sorted(alike))} each ask for themselves alone; choose one of them.")
    elif alike and free - alike:
        notes.append(f"The result has to be shared under {_list(sorted(alike))}.")
    return notes


def _list(words: list[str]) -> str:
    return ", ".join(words)
