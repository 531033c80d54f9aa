# SPDX-License-Identifier: Apache-2.0
"""Context for a language model: what a graph says about a question, as text with its sources.

As retrieval over graphs does it (GraphRAG, Edge et al. 2024, in its local form): the question's
entities, what stands around them, most telling first, until the budget is full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.graphs.lookup.index import Entity, Filters, Index, Statement
from plait.graphs.lookup.names import key_of, mentions
from plait.graphs.lookup.neighbourhood import neighbourhood
from plait.graphs.schema import NORMAL, PREFERRED

MOST_STATEMENTS = 2_000
"""Statements that are weighed for one context."""
MAX_TOKENS = 32_000


@dataclass(frozen=True)
class Context:
    """What a graph says: `text` for the prompt, and each of its statements with its source."""

    text: str
    tokens: int
    entities: tuple[Entity, ...]
    """Those that the question names."""
    statements: tuple[Mapping[str, Any], ...]
    """In the order of the text; `line` is the number that their line begins with."""
    truncated: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "text": self.text,
            "tokens": self.tokens,
            "entities": [one.to_json() for one in self.entities],
            "statements": list(self.statements),
            "truncated": self.truncated,
        }


def count_tokens(text: str) -> int:
    """Estimate a text's tokens without a model's tokenizer: bytes of UTF-8 divided by three.

    English has about four letters a token in the usual vocabularies, Chinese about one of three
    bytes: the estimate keeps a budget rather than fills it.
    """
    return math.ceil(len(text.encode()) / 3)


def context_of(
    index: Index,
    question: str = "",
    entities: Sequence[str] = (),
    *,
    tokens: int = 2_000,
    depth: int = 2,
    filters: Filters | None = None,
) -> Context:
    """Gather what a graph says about a question, or about some entities, within a budget of tokens.

    What is deprecated is left out, and what another value is preferred to.

    Args:
        entities: identifiers; beside those that the question names.
        tokens: of the whole text, as `count_tokens` estimates them.
    """
    starts = {one.no: one for one in index.find(entities)}
    starts |= {one.no: one for one in index.mentioned(_longest(mentions(question)))}
    found = neighbourhood(
        index, list(starts.values()), depth=depth, filters=filters, limit=MOST_STATEMENTS
    )
    best = {(one.subject, one.predicate) for one in found.statements if one.rank == PREFERRED}
    held = [
        one
        for one in found.statements
        if one.rank == PREFERRED
        or (one.rank == NORMAL and (one.subject, one.predicate) not in best)
    ]
    words = _stems(question)
    counts = index.counts["predicates"]

    def worth(one: Statement) -> tuple[Any, ...]:
        ends = [end for end in (one.subject, one.object) if end is not None]
        near = min(found.distance[end] for end in ends)
        both = len(ends) == 2 and all(end in starts for end in ends)
        said = _stems(_label(index, one.predicate))
        return (
            not both,
            near,
            -len(said & words),
            -(1.0 if one.confidence is None else one.confidence) * index.file.trust(one.source),
            counts.get(one.predicate, 0),
            one.subject not in starts,
            one.id,
        )

    # What several sources say alike is one line that names them all.
    same: dict[tuple[Any, ...], list[Statement]] = {}
    for one in sorted(held, key=worth):
        same.setdefault(_said(index, one), []).append(one)
    lines: list[str] = []
    taken: list[Mapping[str, Any]] = []
    spent, truncated = 0, found.truncated
    for alike in same.values():
        line = _line(index, found.entities, alike, len(lines) + 1)
        cost = count_tokens(line + "\n")
        if spent + cost > tokens:
            truncated = True
            break
        spent += cost
        lines.append(line)
        taken += [{"line": len(lines), **one.to_json(found.entities)} for one in alike]
    text = "\n".join(lines)
    return Context(text, count_tokens(text), tuple(starts.values()), tuple(taken), truncated)


def _said(index: Index, one: Statement) -> tuple[Any, ...]:
    """Return what is said, of when, whoever says it."""
    known = index.file.predicates.get(one.predicate)
    ends: tuple[Any, ...] = (one.subject, one.object)
    if known is not None and known.symmetric and one.object is not None:
        ends = tuple(sorted((one.subject, one.object)))
    return (*ends, one.predicate, one.value, one.language, one.valid_from, one.valid_to)


def _stems(text: str) -> set[str]:
    """Return the beginnings of words, so that `border` is found in `borders`."""
    return {word[:5] for word in key_of(text).replace("_", " ").split() if len(word) > 3}


def _longest(keys: Sequence[str]) -> list[str]:
    """Keep function words and single signs from being taken for names."""
    return [key for key in keys if len(key) > 2 or any(ord(letter) > 0x2E80 for letter in key)]


def _label(index: Index, predicate: str) -> str:
    known = index.file.predicates.get(predicate)
    found = known.label.get("en") if known is not None else None
    return found or predicate


def _line(
    index: Index, entities: Mapping[int, Entity], alike: Sequence[Statement], number: int
) -> str:
    one = alike[0]
    subject = entities[one.subject].name
    said = entities[one.object].name if one.object is not None else str(one.value)
    when = ""
    if one.valid_from or one.valid_to:
        when = f" ({one.valid_from or ''}–{one.valid_to or ''})"
    sources = ", ".join(dict.fromkeys(each.source for each in alike))
    line = f"[{number}] {subject} — {_label(index, one.predicate)}: {said}{when} ({sources})"
    # A graph's texts must not look like further lines of the context.
    return " ".join(line.split())
