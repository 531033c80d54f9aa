# SPDX-License-Identifier: Apache-2.0
"""Statements read out of a user's text: sentences, tags, triples, entities, values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled, TooLarge
from plait.evaluation.metrics import Floats
from plait.graphs.align.texts import forms
from plait.graphs.graph import Builder, Graph
from plait.graphs.identity import resolve
from plait.graphs.literals import canonical, equal
from plait.graphs.read.calibrating import Calibrator, given, plain
from plait.graphs.read.facts import NUMBERS, TIMES, Kind, kinds_of
from plait.graphs.read.linking import Link, Linker
from plait.graphs.read.phrases import Phrases, number_of, time_of
from plait.graphs.read.templates import templates_of
from plait.graphs.read.tokens import MAX_TEXT, sentences, tokens
from plait.graphs.read.triples import Found, Reading, assemble, mentions, read_all
from plait.graphs.schema import DEPRECATED
from plait.recipes.extension import LEAST
from plait.recipes.graph import ENTITY, GraphFile, Source

MAX_SENTENCES = 50_000
"""Sentences of one reading."""
MAX_FILES = 10_000
SUFFIXES = (".txt", ".md", ".text")
BLOCK = 256
"""Sentences that are tagged between two looks at whether it was cancelled."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Text:
    """A text and where it is from."""

    name: str
    content: str


@dataclass(frozen=True)
class Statement:
    """What a sentence says, and what of it is known."""

    sentence: str
    text: str
    """The text's name."""
    said: tuple[str, str, str]
    """Subject, predicate and object in the sentence's words."""
    subject: Link
    predicate: str
    object: Link | None
    value: str | None
    reading: float
    """The calibrated probability that the sentence says it, times the likeness of the names."""
    confidence: float
    """The same, given whether the graph says it already; see `calibrating.given`."""
    status: str
    """``new``, ``known``, ``contradicts`` (another value of a functional predicate), or why it
    makes no statement: ``unknown subject``, ``ambiguous object``, ``no value``, …"""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "text": self.text,
            "sentence": self.sentence,
            "said": list(self.said),
            "subject": self.subject.entity,
            "predicate": self.predicate,
            "object": self.object.entity if self.object else None,
            "value": self.value,
            "reading": round(self.reading, 4),
            "confidence": round(self.confidence, 4),
            "status": self.status,
        }


@dataclass(frozen=True)
class Extraction:
    """Everything that was read out of some texts."""

    statements: tuple[Statement, ...]
    sentences: int
    readings: tuple[tuple[str, Reading], ...] = field(default=(), repr=False)

    def of(self, *statuses: str) -> list[Statement]:
        """Return the statements of some statuses."""
        return [one for one in self.statements if one.status in statuses]


class Reader:
    """Reads texts for one graph with one tagger."""

    def __init__(
        self,
        graph: Graph,
        tagger: Any,
        *,
        templates: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.graph = graph
        self.tagger = tagger
        self.kinds: dict[str, Kind] = kinds_of(graph)
        self.linker = Linker.of(graph, self.kinds)
        self.phrases = Phrases.of(
            graph.file, templates_of(graph.file, sorted(self.kinds), templates), self.kinds
        )
        self._ways = _ways(graph.file, self.kinds)
        self._known = _known(graph)
        calibrator: Calibrator | None = getattr(tagger, "calibrator", None)
        self._sure: Callable[[Sequence[Found]], Floats] = calibrator or plain

    def read(
        self,
        texts: Sequence[Text],
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Extraction:
        """Read statements out of texts.

        Raises:
            BadInput: a text is empty or none.
            TooLarge: there are more than `MAX_SENTENCES` sentences.
            Cancelled: `cancelled` says so.
        """
        held = [(text.name, one) for text in texts for one in sentences(text.content, text.name)]
        if not held:
            raise BadInput("There is no text to read.")
        if len(held) > MAX_SENTENCES:
            raise TooLarge(
                f"The texts have {len(held):,} sentences; at most {MAX_SENTENCES:,} are read at "
                "once. Give fewer files."
            )
        words = [tuple(token.text for token in tokens(one)) for _, one in held]
        readings: list[Reading] = []
        for start in range(0, len(words), BLOCK):
            if cancelled is not None and cancelled():
                raise Cancelled("The reading was cancelled; nothing was written.")
            readings += read_all(self.tagger, words[start : start + BLOCK])
            if progress is not None:
                progress(min(start + BLOCK, len(words)), len(words))
        found = [
            assemble(row, mentions(row, reading), self.phrases, self.linker.is_entity)
            for row, reading in zip(words, readings, strict=True)
        ]
        self.linker.learn(
            {one.text for row in found for each in row for one in (each.subject, each.object)}
        )
        made = []
        for (name, sentence), row in zip(held, found, strict=True):
            beside = self._named(row)
            sure = self._sure(row)
            made += [
                self._statement(one, float(value), name, sentence, beside)
                for one, value in zip(row, sure, strict=True)
            ]
        if self._sure is not plain:
            reading = np.array([one.reading for one in made])
            known = np.array([one.status == "known" for one in made], dtype=bool)
            made = [
                replace(one, confidence=float(value))
                for one, value in zip(made, given(reading, known), strict=True)
            ]
        return Extraction(
            tuple(made),
            len(held),
            tuple((sentence, one) for (_, sentence), one in zip(held, readings, strict=True)),
        )

    def _named(self, row: Sequence[Found]) -> set[str]:
        """Return the entities that a sentence names for sure."""
        links = [self.linker.link(one.text) for each in row for one in (each.subject, each.object)]
        return {one.entity for one in links if one.entity is not None}

    def _statement(
        self, one: Found, sure: float, name: str, sentence: str, beside: set[str]
    ) -> Statement:
        kind = self.kinds.get(one.predicate)
        datatype = kind.datatype if kind else "string"
        said = (one.subject.text, one.predicate, one.object.text)
        subject = self.linker.link(one.subject.text, predicate=one.predicate, beside=beside)
        other: Link | None = None
        value: str | None = None
        sure *= subject.score if subject.entity else 1.0
        status = "new"
        if datatype == ENTITY:
            other = self.linker.link(
                one.object.text, predicate=one.predicate, end="object", beside=beside
            )
            sure *= other.score if other.entity else 1.0
            if other.entity is None:
                status = f"{other.why} object"
        else:
            value = self.value(one.predicate, datatype, one.object.text)
            if value is None:
                status = "no value"
        if subject.entity is None:
            status = f"{subject.why} subject"
        elif other is not None and other.entity == subject.entity:
            status = "of itself"
        if status == "new" and subject.entity is not None:
            status = self._status(subject.entity, one.predicate, other, value, datatype)
        return Statement(
            sentence, name, said, subject, one.predicate, other, value, sure, sure, status
        )

    def value(self, predicate: str, datatype: str, text: str) -> str | None:
        """Return the literal that a text writes: a number, a date, a code, the text itself."""
        if datatype in NUMBERS:
            number = number_of(text)
            if number is None or (datatype == "integer" and "." in number):
                return None
            return canonical(number, datatype)
        if datatype in TIMES:
            return time_of(text, datatype)
        ways = self._ways.get(predicate)
        if ways:
            for key in _keys(text):
                if key in ways:
                    return ways[key]
            found = _nearest(text.casefold().removeprefix("the "), ways)
            if found:
                return found
        return text

    def _status(
        self, subject: str, predicate: str, other: Link | None, value: str | None, datatype: str
    ) -> str:
        held = self._known.get((subject, predicate), set())
        said = other.entity if other is not None else value
        known = self.graph.file.predicates.get(predicate)
        if said in held or (
            other is None and any(_same(one, str(value), datatype) for one in held)
        ):
            return "known"
        back = self._known.get((str(said), predicate), set())
        if known is not None and known.symmetric and subject in back:
            return "known"
        if held and known is not None and known.functional:
            return "contradicts"
        return "new"


def to_graph(
    extraction: Extraction,
    graph: Graph,
    *,
    source: str = "text",
    title: str = "",
    recorded: str | None = None,
    least: float = LEAST,
    contradictions: bool = True,
    new_entities: bool = False,
) -> Graph:
    """Return what was read as statements with the sentence as evidence, ready to be merged.

    Args:
        extraction: what was read.
        graph: for which it was read.
        source: the name under which the statements' origin is kept.
        title: of the source, in ``graph.yaml``.
        recorded: the date of the reading, in ISO 8601.
        least: the confidence from which a statement is taken.
        contradictions: whether those are taken that contradict what the graph says; they become
            conflicts that its policy or people decide.
        new_entities: whether subjects and objects that the graph does not know become entities.
    """
    taken = ("new", "contradicts") if contradictions else ("new",)
    sources = {source: Source(title=title or source)}
    file = GraphFile(sources=sources, predicates=graph.file.predicates)
    builder = Builder(file)
    for one in extraction.statements:
        if one.confidence < least:
            continue
        unknown = new_entities and one.status in ("unknown subject", "unknown object")
        if one.status not in taken and not unknown:
            continue
        subject = one.subject.entity or _new(builder, one.said[0], source)
        where: dict[str, Any] = {"value": one.value}
        if one.object is not None:
            if one.object.entity is None and one.object.why != "unknown":
                continue
            where = {"object": one.object.entity or _new(builder, one.said[2], source)}
        if (one.object is None and one.value is None) or where.get("object") == subject:
            continue
        builder.statement(
            subject,
            one.predicate,
            **where,
            source=source,
            confidence=round(one.confidence, 4),
            recorded=recorded,
            evidence=[one.sentence],
        )
    return builder.build()


def texts_of(paths: Sequence[Path]) -> list[Text]:
    """Read texts out of files, and out of folders of them.

    Raises:
        BadInput: a path is none, a folder has no text, a file is not UTF-8.
        TooLarge: a file is too large, or there are too many.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            held = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES)
            if not held:
                raise BadInput(f"{path} holds no text; files end in {', '.join(SUFFIXES)}.")
            files += held
        elif path.is_file():
            files.append(path)
        else:
            raise BadInput(f"There is no file {path}.")
        if len(files) > MAX_FILES:
            raise TooLarge(f"There are more than {MAX_FILES:,} files; give fewer.")
    found = []
    for path in files:
        if path.stat().st_size > 4 * MAX_TEXT:
            raise TooLarge(
                f"{path.name} has {path.stat().st_size:,} bytes; at most {4 * MAX_TEXT:,} are "
                "read at once. Split it."
            )
        try:
            content = path.read_text("utf-8")
        except UnicodeDecodeError:
            raise BadInput(f"{path.name} is not in UTF-8; convert it first.") from None
        if not content.strip():
            raise BadInput(f"{path.name} is empty; give sentences to read.")
        found.append(Text(path.name, content))
    return found


def _new(builder: Builder, name: str, source: str) -> str:
    identifier = "new:" + "-".join(name.casefold().split())
    builder.label(identifier, name, source=source)
    return identifier


def _ways(file: GraphFile, kinds: Mapping[str, Kind]) -> dict[str, dict[str, str]]:
    """Return, of each predicate whose values come again, how each is written."""
    found: dict[str, dict[str, str]] = {}
    for name, kind in kinds.items():
        ways = {one.casefold(): one for one in kind.values}
        known = file.predicates.get(name)
        written = [(value, one) for value, said in (known.values if known else {}).items()
                   for one in said]  # fmt: skip
        for value, one in written:
            ways.setdefault(one.casefold(), value)
        for value, one in [*written, *((one, one) for one in kind.values)]:
            for key in _keys(one):  # also without accents: zloty for złoty
                ways.setdefault(key, value)
        if ways:
            found[name] = ways
    return found


def _keys(text: str) -> tuple[str, ...]:
    """Return the forms that a value is looked up by: as it is, normalised, in Latin letters."""
    own = text.casefold().removeprefix("the ")
    return tuple(dict.fromkeys((own, *(one.removeprefix("the ") for one in forms(text)))))


def _nearest(text: str, ways: Mapping[str, str]) -> str | None:
    """Return the value that is written almost so: ``Danish kroner`` for ``Danish krone``."""
    from rapidfuzz import fuzz, process

    best = process.extractOne(text, list(ways), scorer=fuzz.ratio, score_cutoff=88)
    return ways[best[0]] if best else None


def _known(graph: Graph) -> dict[tuple[str, str], set[str]]:
    """Return what the graph says by subject and predicate; entities that are the same are one."""
    stands = resolve(graph).representative
    found: dict[tuple[str, str], set[str]] = {}
    for row in graph.statements.to_pylist():
        if row["rank"] == DEPRECATED:
            continue
        subject = stands.get(row["subject"], row["subject"])
        other = row["object"]
        said = stands.get(other, other) if other is not None else row["value"]
        found.setdefault((subject, row["predicate"]), set()).add(said)
    return found


def _same(one: str, other: str, datatype: str) -> bool:
    """Tell whether two literals are one; of numbers a hundredth is rounding."""
    if datatype in NUMBERS:
        a, b = float(one), float(other)
        return abs(a - b) <= 0.01 * max(abs(a), abs(b))
    return equal(one, other, datatype) or one.casefold() == other.casefold()
