# SPDX-License-Identifier: Apache-2.0
"""What the hub reads out of cards and writes into them when a merge lands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.cards import Card, dump_card, parse_card
from plait.errors import BadInput

START = "<!-- plait:lineage -->"
END = "<!-- /plait:lineage -->"
"""Between these the hub writes what the model was made from; everything else is people's."""


def read_card(text: str) -> Card | None:
    """Return a card, or None for one whose head cannot be read."""
    try:
        return parse_card(text)
    except BadInput:
        return None


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
