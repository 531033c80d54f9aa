# SPDX-License-Identifier: Apache-2.0
"""The merge driver of cards: ``README.md`` by its YAML keys and its text; the hub's own part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from plait.collaboration.merging.text import merge_lines

MAX_HEAD = 256_000
START = "<!-- plait:lineage -->"
END = "<!-- /plait:lineage -->"
"""Between these the hub writes what the model was made from; everything else is people's."""

_HEAD = re.compile(
    r"\A---[ \t]*\r?\n(.*?)(?:\r?\n)?^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_MISSING = object()


def split_card(text: str) -> tuple[dict[str, Any], str] | None:
    """Return a card's YAML head and its text, or None for a head that is not readable YAML."""
    match = _HEAD.match(text)
    if match is None:
        return {}, text
    if len(match[1]) > MAX_HEAD:
        return None
    try:
        head = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if head is None:
        head = {}
    if not isinstance(head, dict):
        return None
    return head, text[match.end() :]


def join_card(head: Mapping[str, Any], body: str) -> str:
    """Write a card from its head and its text."""
    if not head:
        return body
    dumped = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{dumped}---\n{body}"


def merge_cards(base: str, ours: str, theirs: str) -> str | None:
    """Return both sides' changes to a card, key by key and line by line, or None in a conflict."""
    plain = merge_lines(base, ours, theirs)
    if plain is not None and base:
        parsed = split_card(plain)
        if parsed is not None:
            return plain
    parts = [split_card(text) for text in (base, ours, theirs)]
    if any(part is None for part in parts):
        return None
    (base_head, base_body), (our_head, our_body), (their_head, their_body) = (
        part for part in parts if part is not None
    )
    head = _merge_values(base_head, our_head, their_head)
    body = merge_lines(base_body, our_body, their_body)
    if head is _MISSING or not isinstance(head, dict) or body is None:
        return None
    return join_card(head, body)


def update_card(
    text: str, values: Mapping[str, Any], results: Sequence[Mapping[str, Any]], section: str
) -> str:
    """Write the hub's part into a card: head values, the results, and what it was merged from.

    A head value that is already there is kept, but for the results, which are the new model's.
    A card whose head cannot be read gets the section alone.
    """
    parsed = split_card(text)
    if parsed is None:
        return _with_section(text, section)
    head, body = parsed
    for key, value in values.items():
        head.setdefault(key, value)
    if results:
        head["model-index"] = [dict(result) for result in results]
    return join_card(head, _with_section(body, section))


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
