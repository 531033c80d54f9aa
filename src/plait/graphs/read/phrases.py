# SPDX-License-Identifier: Apache-2.0
"""Which predicate some words say: by the words of its templates, and by what the object can be."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plait.graphs.read.facts import MONTHS, NUMBERS, TIMES, Kind
from plait.graphs.read.templates import Template, key_of, label_of
from plait.recipes.graph import ENTITY, GraphFile

LEAST = 0.3
"""The score from which words are taken for a predicate's."""
NEAR = 4
"""Words around predicate and object that are looked at too, with less weight."""
_WORD = re.compile(r"[^\W\d_]+|²")
_DIGIT = re.compile(r"\d")
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


@dataclass(frozen=True)
class Phrases:
    """The words of each predicate, weighed by how few predicates have them."""

    words: Mapping[str, frozenset[str]]
    """Of each predicate, the words of its phrases."""
    around: Mapping[str, frozenset[str]]
    """Of each predicate, all words of its templates."""
    weight: Mapping[str, float]
    datatypes: Mapping[str, str]
    values: Mapping[str, frozenset[str]]
    """Of each predicate, words that its values are written with."""

    @classmethod
    def of(
        cls,
        file: GraphFile,
        templates: Mapping[str, Sequence[Template]],
        kinds: Mapping[str, Kind],
    ) -> Phrases:
        """Gather the words of predicates.

        Args:
            file: the graph's.
            templates: of each predicate; those without are known by their label alone.
            kinds: what `facts.kinds_of` tells of the graph's predicates.
        """
        words, around = {}, {}
        for predicate, found in templates.items():
            said = [label_of(predicate, file.predicates.get(predicate)), key_of(predicate)]
            words[predicate] = _stems(" ".join([*said, *(p for t in found for p in t.phrases)]))
            around[predicate] = words[predicate] | _stems(
                " ".join(part for t in found for parts in t.wordings for part in parts
                         if not part.startswith("{"))
            )  # fmt: skip
        often = Counter(word for held in words.values() for word in held)
        count = max(2, len(words))
        weight = {word: max(0.02, 1.0 - math.log(often[word]) / math.log(count)) for word in often}
        values = {
            name: _stems(" ".join([*held.values, *_written(file, name)]))
            for name, held in kinds.items()
        }
        datatypes = {name: kinds[name].datatype for name in words if name in kinds}
        return cls(words, around, weight, datatypes, values)

    def predicate(
        self,
        said: str,
        near: str,
        object_: str,
        *,
        entity: bool | None = None,
    ) -> tuple[str, float]:
        """Return the predicate that words say best and how well; an empty one below `LEAST`.

        Args:
            said: the words tagged as predicate.
            near: the words around them and the object.
            object_: the words tagged as object.
            entity: whether the object is a known entity's name; None: not known.
        """
        spoken, beside = _stems(said), _stems(near)
        best, most = "", 0.0
        for predicate in self.words:
            fit = self.fit(predicate, object_, entity)
            if fit <= 0:
                continue
            score = fit * (
                self._share(spoken, self.words[predicate])
                + 0.35 * self._share(beside, self.around[predicate])
            )
            score += 0.5 * (len(_stems(object_) & self.values.get(predicate, frozenset())) > 0)
            if score > most:
                best, most = predicate, score
        return (best, most) if most >= LEAST else ("", most)

    def _share(self, said: frozenset[str], known: frozenset[str]) -> float:
        """Return the weight of what was said that the predicate has; its heaviest word counts."""
        heavy = [self.weight.get(word, 0.0) for word in said & known]
        if not heavy:
            return 0.0
        total = sum(self.weight.get(word, 0.3) for word in said)
        return 0.5 * max(heavy) + 0.5 * sum(heavy) / max(total, 1e-9)

    def fit(self, predicate: str, object_: str, entity: bool | None) -> float:
        """Return how well an object can be of the predicate's datatype, from 0 to 1."""
        datatype = self.datatypes.get(predicate, "string")
        if datatype in NUMBERS:
            return 1.0 if number_of(object_) is not None else 0.0
        if datatype in TIMES:
            return 1.0 if time_of(object_, datatype) is not None else 0.0
        if number_of(object_) is not None:
            return 0.0
        known = bool(_stems(object_) & self.values.get(predicate, frozenset()))
        if datatype == ENTITY:
            if object_.islower() and not entity:  # where letters have capitals, names have one
                return 0.0
            return {True: 1.0, False: 0.5, None: 0.9}[entity]
        return 1.0 if known or not entity else 0.6


def number_of(text: str) -> str | None:
    """Return the number that a text writes: ``1,234.5``, ``5.5 million``; None for no number."""
    found = re.search(r"\d[\d,.' ]*", text)
    if not found:
        return None
    rest = text[found.end() :].split()
    if text[: found.start()].strip(" ~<>±−-"):
        return None
    digits = found.group().strip(" .,'").replace(" ", "").replace("'", "")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", digits):
        digits = digits.replace(".", "").replace(",", ".")
    else:
        return None
    from decimal import Decimal

    number = Decimal(digits)
    if rest:
        scale = SCALES.get(rest[0].casefold())
        if scale is None:
            return digits if len(rest) <= 2 else None
        number *= scale
    return f"{number.normalize():f}"


def time_of(text: str, datatype: str) -> str | None:
    """Return the date or year that a text writes, in its lexical form; None for none."""
    year = re.search(r"\b(\d{4})\b", text)
    if datatype == "gYear":
        return year.group(1) if year and len(text.split()) <= 3 else None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return text
    month = next((k for k, name in enumerate(MONTHS, 1) if name.casefold() in text.casefold()), 0)
    day = re.search(r"\b(\d{1,2})\b", text)
    if not (year and month and day):
        return None
    return f"{year.group(1)}-{month:02}-{int(day.group(1)):02}"


def _written(file: GraphFile, predicate: str) -> list[str]:
    known = file.predicates.get(predicate)
    return [" ".join(said) for said in known.values.values()] if known else []


def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in _WORD.findall(text.casefold()))


def _stem(word: str) -> str:
    """Cut the endings that inflect English words; both sides are cut alike, so roughly will do."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word
