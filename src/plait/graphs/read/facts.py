# SPDX-License-Identifier: Apache-2.0
"""A graph's statements in words: names of the subject, ways to say the object."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np

from plait.errors import BadInput
from plait.graphs.graph import Graph
from plait.graphs.view import collapsed, truthy
from plait.recipes.graph import ENTITY, GraphFile, Predicate

LANGUAGES = {"en": ("", "en", "eng"), "zh": ("", "zh", "zho", "chi", "cmn")}
"""Codes of labels that a language's sentences may use."""
MAX_NAME = 80
"""Characters of a name that sentences are made with."""
NUMBERS = ("integer", "decimal", "double")
TIMES = ("date", "dateTime", "gYear")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A statement in words."""

    subject: str
    """The entity's identifier."""
    names: tuple[str, ...]
    predicate: str
    object: str
    """The entity's identifier, or the literal."""
    said: tuple[str, ...]
    """Ways to say the object."""
    datatype: str


def names_of(graph: Graph, language: str = "en") -> dict[str, tuple[str, ...]]:
    """Return each entity's names in a language, main ones first; entities without one are out."""
    wanted = LANGUAGES.get(language, ("", language))
    found = {}
    for row in graph.entities.to_pylist():
        held = sorted(
            (not one["main"], place, one["text"])
            for place, one in enumerate(row["labels"])
            if one["language"].partition("-")[0] in wanted and len(one["text"]) <= MAX_NAME
        )
        names = tuple(dict.fromkeys(text for _, _, text in held if text.strip(" []{}()|")))
        if names:
            found[row["id"]] = names
    return found


def facts_of(
    graph: Graph,
    *,
    predicates: Collection[str] | None = None,
    language: str = "en",
    random: np.random.Generator | None = None,
) -> list[Fact]:
    """Return what a graph says, as it is seen: of conflicts the preferred, equal entities one.

    Args:
        predicates: those that are wanted; None: all.
        language: of the names.
        random: draws how numbers are written.

    Raises:
        BadInput: no statement can be said in words.
    """
    random = random or np.random.default_rng(0)
    view = truthy(collapsed(graph))
    names = names_of(view, language)
    found: dict[tuple[str, str, str], Fact] = {}
    for row in view.statements.to_pylist():
        predicate = row["predicate"]
        if predicates is not None and predicate not in predicates:
            continue
        subject, other = row["subject"], row["object"]
        if subject not in names or (other is not None and other not in names):
            continue
        known = graph.file.predicates.get(predicate)
        value = other if other is not None else row["value"]
        datatype = row["datatype"]
        said = names[other] if other is not None else ways(value, datatype, known, random)
        if said and (subject != other):
            fact = Fact(subject, names[subject], predicate, value, said, datatype)
            found.setdefault((subject, predicate, value), fact)
    if not found:
        asked = f" with the predicates {', '.join(sorted(predicates))}" if predicates else ""
        raise BadInput(
            f"The graph has no statement{asked} whose entities have names in the language "
            f"'{language}'; sentences are made of names."
        )
    return list(found.values())


def ways(
    value: str, datatype: str, known: Predicate | None, random: np.random.Generator
) -> tuple[str, ...]:
    """Return how a literal is said in a sentence; nothing for one that no sentence would hold."""
    if known is not None and value in known.values:
        return known.values[value]
    if datatype in NUMBERS:
        return numbers(value)
    if datatype == "gYear":
        return (value,)
    if datatype in ("date", "dateTime"):
        try:
            day = date.fromisoformat(value[:10])
        except ValueError:
            return ()
        month = MONTHS[day.month - 1]
        return (f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}")
    if datatype in ("boolean", "anyURI", ENTITY) or len(value) > MAX_NAME or not value.strip():
        return ()
    return (value,)


def numbers(value: str) -> tuple[str, ...]:
    """Return how a number is written: with separators, rounded, in thousands and millions."""
    number = Decimal(value)
    if not number.is_finite() or abs(number) >= 10**15:
        return ()
    whole = int(number)
    if number != whole:
        return (f"{number:,f}", f"{number:,.1f}")
    made = [f"{whole:,}"]
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if abs(whole) >= size:
            made += [f"{whole / size:.1f}".removesuffix(".0") + f" {word}"]
            if abs(whole) >= 10 * size:
                made.append(f"{round(whole / size)} {word}")
            break
    if 10_000 <= abs(whole) < 10**6:
        made.append(f"{round(whole, -3):,}")
    return tuple(dict.fromkeys(made))


def predicates_of(facts: Sequence[Fact]) -> list[str]:
    """Return the predicates of some facts, each once, in the alphabet's order."""
    return sorted({fact.predicate for fact in facts})


def symmetric(file: GraphFile) -> frozenset[str]:
    """Return the predicates that say the same from both ends."""
    return frozenset(name for name, one in file.predicates.items() if one.symmetric)


@dataclass(frozen=True)
class Kind:
    """What a graph's own statements tell of a predicate."""

    datatype: str
    """The most frequent."""
    subjects: frozenset[str]
    """Types of its subjects; `objects` of its objects."""
    objects: frozenset[str]
    values: tuple[str, ...]
    """Literals, where they come again and again: the names of a few continents, of currencies."""


def kinds_of(graph: Graph) -> dict[str, Kind]:
    """Return what a graph's statements tell of its predicates, and of those of ``graph.yaml``."""
    types = {row["id"]: frozenset(row["types"]) for row in graph.entities.to_pylist()}
    datatypes: dict[str, Counter[str]] = defaultdict(Counter)
    values: dict[str, Counter[str]] = defaultdict(Counter)
    ends: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in graph.statements.select(
        ["subject", "predicate", "object", "value", "datatype"]
    ).to_pylist():
        name = row["predicate"]
        datatypes[name][row["datatype"]] += 1
        ends[name, "subject"] |= types.get(row["subject"], frozenset())
        if row["object"] is not None:
            ends[name, "object"] |= types.get(row["object"], frozenset())
        elif row["datatype"] == "string" and len(row["value"]) <= MAX_NAME:
            values[name][row["value"]] += 1
    found = {}
    for name in sorted({*datatypes, *graph.file.predicates}):
        known = graph.file.predicates.get(name)
        often = values[name]
        repeated = sum(often.values()) > 3 * len(often)
        found[name] = Kind(
            known.datatype if known and known.datatype
            else max(sorted(datatypes[name]), key=datatypes[name].__getitem__, default="string"),
            frozenset(ends[name, "subject"]),
            frozenset(ends[name, "object"]),
            tuple(sorted(often)) if repeated else (),
        )  # fmt: skip
    return found
