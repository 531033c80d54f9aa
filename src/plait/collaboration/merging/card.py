# SPDX-License-Identifier: Apache-2.0
"""The merge driver of cards: ``README.md`` by its YAML keys and its text; the hub's own part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.cards import Card, dump_card, parse_card
from plait.collaboration.merging.text import merge_lines
from plait.errors import BadInput

START = "<!-- plait:lineage -->"
END = "<!-- /plait:lineage -->"
"""Between these the hub writes what the model was made from; everything else is people's."""

_MISSING = object()


def read_card(text: str) -> Card | None:
    """Return a card, or None for one whose head cannot be read."""
    try:
        return parse_card(text)
    except BadInput:
        return None


def merge_cards(base: str, ours: str, theirs: str) -> str | None:
    """Return both sides' changes to a card, key by key and line by line, or None in a conflict."""
    plain = merge_lines(base, ours, theirs)
    if plain is not None and base and read_card(plain) is not None:
        return plain
    before, left, right = (read_card(text) for text in (base, ours, theirs))
    if before is None or left is None or right is None:
        return None
    head = _merge_values(before.data, left.data, right.data)
    body = merge_lines(before.text, left.text, right.text)
    if head is _MISSING or body is None:
        return None
    return dump_card(head, body)


def update_card(
    text: str, values: Mapping[str, Any], results: Sequence[Mapping[str, Any]], section: str
) -> str:
    """Write the hub's part into a card: head values, the results, and what it was merged from.

    A head value that is already there is kept, but for the results, which are the new model's.
    A card whose head cannot be read gets the section alone.
    """
    card = read_card(text)
    if card is None:
        return _with_section(text, section)
    head = {**values, **card.data}
    if results:
        head["model-index"] = [dict(result) for result in results]
    return dump_card(head, _with_section(card.text, section))


def _with_section(body: str, section: str) -> str:
    block = f"{START}\n{section.strip()}\n{END}\n"
    start, end = body.find(START), body.find(END)
    if 0 <= start < end:
        return body[:start] + block + body[end + len(END) :].lstrip("\n")
    return f"{body.rstrip()}\n\n{block}" if body.strip() else block


def _merge_values(base: Any, ours: Any, theirs: Any) -> Any:
    """Merge three values; ``_MISSING`` as the result marks a contradiction."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return _merge_mappings(base if isinstance(base, dict) else {}, ours, theirs)
    if isinstance(ours, list) and isinstance(theirs, list):
        return _merge_lists(base if isinstance(base, list) else [], ours, theirs)
    return _MISSING


def _merge_mappings(base: dict[Any, Any], ours: dict[Any, Any], theirs: dict[Any, Any]) -> Any:
    merged: dict[Any, Any] = {}
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        before, left, right = (side.get(key, _MISSING) for side in (base, ours, theirs))
        if left is _MISSING or right is _MISSING:
            kept = right if left is _MISSING else left
            if before is _MISSING:
                merged[key] = kept
            elif kept != before:
                return _MISSING  # one side removed what the other changed
            continue
        value = _merge_values(None if before is _MISSING else before, left, right)
        if value is _MISSING:
            return _MISSING
        merged[key] = value
    return merged


def _merge_lists(base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any]:
    removed = [item for item in base if item not in theirs]
    kept = [item for item in ours if item not in removed]
    return kept + [item for item in theirs if item not in base and item not in ours]
