# SPDX-License-Identifier: Apache-2.0
"""Texts cut into sentences, and sentences into tokens that know where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from plait.errors import BadInput, TooLarge

MAX_TEXT = 4_000_000
"""Characters of one text."""
MAX_SENTENCE = 2_000
"""Characters of a sentence; a longer one is cut between words."""

_DENSE = "\u2e80-\u9fff\uf900-\ufaff\u3040-\u30ff"
_TOKEN = re.compile(
    rf"\d+(?:[.,]\d+)*|[{_DENSE}]|['’]s\b|(?:[A-Z]\.){{2,}}|[^\W\d_{_DENSE}]+(?:-[^\W_]+|['’](?!s\b)[^\W\d_]+)*|\w+|[^\w\s]"
)
_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[\"'“‘(\[]?[A-Z0-9À-ÞΑ-ΩА-Я])|[。！？]+[」』”]*")
_SHORT = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Mt|Ft|No|vs|cf|ca|approx|est|etc|e\.g|i\.e|Inc|Ltd"
    r"|Co|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.$"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a sign, and where it stands in its text."""

    text: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Cut a text into words, numbers and signs; in scripts without spaces each letter is one.

    A possessive ``'s`` stands alone, so that a name is the same token with and without it.
    """
    return [Token(one.group(), one.start(), one.end()) for one in _TOKEN.finditer(text)]


def sentences(text: str, origin: str = "The text") -> list[str]:
    """Cut a text into sentences: at stops, at empty lines, never behind a known abbreviation.

    Raises:
        BadInput: there is nothing to read.
        TooLarge: the text has more than `MAX_TEXT` characters.
    """
    if len(text) > MAX_TEXT:
        raise TooLarge(
            f"{origin} has {len(text):,} characters; at most {MAX_TEXT:,} are read at once. "
            "Split it."
        )
    if "\0" in text:
        raise BadInput(f"{origin} holds zero bytes: it is no text. Give plain text in UTF-8.")
    found = [
        one
        for paragraph in re.split(r"\n\s*\n", text)
        for one in _within(" ".join(paragraph.split()))
    ]
    if not found:
        raise BadInput(f"{origin} is empty; give sentences to read.")
    return found


def _within(paragraph: str) -> list[str]:
    found, start = [], 0
    for stop in _END.finditer(paragraph):
        part = paragraph[start : stop.end()]
        if stop.group().startswith(".") and _SHORT.search(part):
            continue
        found.append(part)
        start = stop.end()
    found.append(paragraph[start:])
    return [piece for one in found if one.strip() for piece in _cut(one.strip())]


def _cut(sentence: str) -> list[str]:
    made = []
    while len(sentence) > MAX_SENTENCE:
        space = sentence.rfind(" ", 1, MAX_SENTENCE)
        at = space if space > 0 else MAX_SENTENCE
        made.append(sentence[:at].strip())
        sentence = sentence[at:].strip()
    return [*made, sentence] if sentence else made
