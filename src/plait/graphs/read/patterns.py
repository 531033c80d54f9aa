# SPDX-License-Identifier: Apache-2.0
"""Reading without learning: known names, the words of templates, and words that deny.

What a tagger is measured against. Entities are the graph's names, objects numbers, known values or
words with capitals, predicates the phrases of the training's templates; a sentence with a word that
denies says nothing. Which of two names is the subject, the phrase tells: behind "of" or "in" it is,
else in front.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from plait.graphs.lookup.names import key_of
from plait.graphs.read.examples import LABELS
from plait.graphs.read.facts import NUMBERS, Kind
from plait.graphs.read.phrases import number_of
from plait.graphs.read.templates import Template
from plait.recipes.graph import ENTITY

DENIES = frozenset(
    ("not", "no", "never", "neither", "nor", "nobody", "without", "false", "wrong", "denies",
     "until", "once", "former", "formerly", "ceased", "whether", "disputed", "longer", "used")
)  # fmt: skip
LONGEST = 7
"""Tokens of a name."""
_DIGITS = re.compile(r"\d")


class PatternTagger:
    """Tags sentences by dictionary and phrases; see `triples.read_all` for what takes it."""

    labels = LABELS

    def __init__(
        self,
        names: Sequence[str],
        templates: Mapping[str, Sequence[Template]],
        kinds: Mapping[str, Kind],
        values: Sequence[str] = (),
    ) -> None:
        self._names = {key_of(one) for one in names} | {
            key_of(one[4:]) for one in names if one.startswith("The ")
        }
        self._values = {key_of(one) for one in values}
        self._phrases: dict[tuple[str, ...], str] = {}
        for predicate, found in templates.items():
            for template in found:
                for phrase in template.phrases:
                    words = tuple(key_of(phrase).split())
                    if words:
                        self._phrases.setdefault(words, predicate)
        self._kinds = kinds

    def tag(self, sentences: Sequence[Sequence[str]], progress: Any = None) -> list[list[str]]:
        """Return a tag of each token."""
        made = []
        for place, words in enumerate(sentences, start=1):
            made.append(self._tag(list(words)))
            if progress is not None:
                progress(place, len(sentences))
        return made

    def _tag(self, words: list[str]) -> list[str]:
        tags = ["O"] * len(words)
        if DENIES & {word.casefold() for word in words}:
            return tags
        phrase = self._phrase(words)
        if phrase is None:
            return tags
        start, end, predicate = phrase
        taken = set(range(start, end))
        names = self._spans(words, self._names, taken)
        held = self._kinds.get(predicate)
        datatype = held.datatype if held else "string"
        if not names:
            return tags
        behind = words[end - 1].casefold() in ("of", "in", "by") and datatype != ENTITY
        after = [one for one in names if one[0] >= end]
        before = [one for one in names if one[1] <= start]
        ordered = (after + before[::-1]) if behind else (before[::-1] + after)
        subject = ordered[0]
        taken |= set(range(*subject))
        if datatype == ENTITY:
            objects = [one for one in names if one != subject]
        elif datatype in NUMBERS:
            objects = self._numbers(words, taken)[:1]
        else:
            objects = self._spans(words, self._values, taken) or self._capitals(words, taken)
            objects = sorted(objects, key=lambda one: min(abs(one[0] - end), abs(start - one[1])))
            objects = objects[:1]
        if not objects:
            return tags
        for kind, spans in (("P", [(start, end)]), ("S", [subject]), ("O", objects)):
            for first, last in spans:
                for place in range(first, last):
                    tags[place] = f"{'I' if place > first else 'B'}-{kind}"
        return tags

    def _phrase(self, words: list[str]) -> tuple[int, int, str] | None:
        """Return the longest phrase of a template that the words hold."""
        keys = [key_of(word) for word in words]
        for length in range(min(LONGEST, len(keys)), 0, -1):
            for start in range(len(keys) - length + 1):
                predicate = self._phrases.get(tuple(keys[start : start + length]))
                if predicate:
                    return start, start + length, predicate
        return None

    def _spans(self, words: list[str], known: set[str], taken: set[int]) -> list[tuple[int, int]]:
        found, place = [], 0
        while place < len(words):
            for length in range(min(LONGEST, len(words) - place), 0, -1):
                span = range(place, place + length)
                edges = words[place][:1].isalnum() and words[span.stop - 1][:1].isalnum()
                if (
                    edges
                    and not taken & set(span)
                    and key_of(" ".join(words[place : span.stop])) in known
                ):
                    found.append((place, span.stop))
                    place += length - 1
                    break
            place += 1
        return found

    def _numbers(self, words: list[str], taken: set[int]) -> list[tuple[int, int]]:
        found = []
        for place, word in enumerate(words):
            if place in taken or not _DIGITS.match(word):
                continue
            longer = place + 2 <= len(words) and number_of(" ".join(words[place : place + 2]))
            scaled = longer and words[place + 1].isalpha() and longer != number_of(word)
            found.append((place, place + 2 if scaled else place + 1))
        return found

    def _capitals(self, words: list[str], taken: set[int]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for place, word in enumerate(words):
            if (
                place in taken
                or not word[:1].isupper()
                or (place == 0 and len(words) > 1 and word.casefold() in _OPENING)
            ):
                continue  # fmt: skip
            if found and found[-1][1] == place:
                found[-1] = (found[-1][0], place + 1)
            else:
                found.append((place, place + 1))
        return found


_OPENING = frozenset(
    ("the", "in", "a", "an", "with", "to", "from", "at", "as", "on", "since", "after", "when",
     "although", "by", "of")
)  # fmt: skip
