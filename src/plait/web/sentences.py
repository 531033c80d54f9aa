# SPDX-License-Identifier: Apache-2.0
"""Sentences that the hub writes into reports, put into the reader's language.

Reports are kept and sent as they were written, in English. Their sentences come from a fixed set,
which ``locale/sentences.json`` lists with a translation of each; what was filled in is read off and
filled in again. A text that holds any other sentence is shown as it is.

In a sentence ``{n…}`` stands for a number, ``{p…}`` for a number that may be of points, ``{w…}``
for a word and ``{a…}`` for anything; ``{<name>}`` is one of the named fragments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

LONGEST = 4_000
"""Characters of a text that is read; reports' reasons are shorter."""
_ANY = 300
_NUMBER = re.compile(r"[+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")
_POINTS = re.compile(r"([+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)( points)?")
_WORD = re.compile(r"\S+")
_FIELD = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class Said:
    """A text as it is shown, and whether it is in the reader's language."""

    text: str
    translated: bool


@dataclass(frozen=True)
class _Sentence:
    """One sentence: its pieces, alternately fixed text and fields, and its translation."""

    pieces: tuple[str, ...]
    other: str


@dataclass(frozen=True)
class Grammar:
    """All sentences of one language, and the fragments that they are made of."""

    sentences: tuple[_Sentence, ...]
    fragments: Mapping[str, tuple[_Sentence, ...]]
    points: str


@cache
def grammar(language: str) -> Grammar:
    """Return the sentences with their translations into a language."""
    found = json.loads(
        (files("plait.web") / "locale" / "sentences.json").read_text(encoding="utf-8")
    )

    def read(rows: Sequence[Mapping[str, str]]) -> tuple[_Sentence, ...]:
        return tuple(_Sentence(tuple(_FIELD.split(row["en"])), row[language]) for row in rows)

    return Grammar(
        read(found["sentences"]),
        {name: read(rows) for name, rows in found["fragments"].items()},
        str(found["points"][language]),
    )


@lru_cache(maxsize=4096)
def translate(text: str, language: str) -> Said:
    """Put a report's text into a language; one that holds an unknown sentence stays as it is."""
    if language == "en" or not text.strip():
        return Said(text, True)
    if len(text) > LONGEST:
        return Said(text, False)
    known = grammar(language)
    made: list[str] = []
    place = 0
    while place < len(text):
        best = max(
            (found for one in known.sentences for found in _whole(known, one, text, place)),
            key=lambda found: found[0],
            default=None,
        )
        if best is None:
            return Said(text, False)
        place, told = best
        made.append(told)
        while place < len(text) and text[place].isspace():
            place += 1
    return Said("".join(made), True)


def _whole(known: Grammar, sentence: _Sentence, text: str, place: int) -> Iterator[tuple[int, str]]:
    """Yield where a sentence ends that begins here, if it stands for itself, and what it says."""
    for end, filled in _match(known, sentence.pieces, 0, text, place, start=True):
        if end == len(text) or text[end].isspace():
            yield end, sentence.other.format(**filled)
            return


def _match(
    known: Grammar,
    pieces: tuple[str, ...],
    index: int,
    text: str,
    place: int,
    *,
    start: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    if index == len(pieces):
        yield place, {}
        return
    piece = pieces[index]
    if index % 2 == 0:
        there = text[place : place + len(piece)]
        # A reason begins with a capital where the sentence stood behind others.
        same = there == piece or (start and there[:1].lower() + there[1:] == piece)
        if same:
            yield from _match(known, pieces, index + 1, text, place + len(piece))
        return
    for end, value in _field(known, piece, text, place):
        for last, filled in _match(known, pieces, index + 1, text, end):
            yield last, {_name(piece): value, **filled}


def _field(known: Grammar, field: str, text: str, place: int) -> Iterator[tuple[int, str]]:
    if field.startswith("<"):
        for one in known.fragments[field[1:-1]]:
            for end, filled in _match(known, one.pieces, 0, text, place):
                yield end, one.other.format(**filled)
        return
    if field[0] == "a":
        for end in range(place + 1, min(len(text), place + _ANY) + 1):
            yield end, text[place:end]
        return
    pattern = {"n": _NUMBER, "p": _POINTS, "w": _WORD}[field[0]]
    found = pattern.match(text, place)
    if found is None:
        return
    if field[0] == "w":
        word = found[0]
        while word:  # a word in brackets, or at a sentence's end, ends before the mark
            yield place + len(word), word
            word = word[:-1] if word[-1] in ").,;:'`" else ""
    elif field[0] == "p":
        yield found.end(), found[1] + (known.points if found[2] else "")
    else:
        yield found.end(), found[0]


def _name(field: str) -> str:
    return field.strip("<>")
