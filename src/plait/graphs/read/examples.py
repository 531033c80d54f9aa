# SPDX-License-Identifier: Apache-2.0
"""Sentences whose facts are known: tokens, their tags, the triples; and such as people marked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plait.errors import BadInput, TooLarge
from plait.graphs.read.tokens import tokens

KINDS = ("S", "P", "O")
"""What is tagged: a statement's subject, the words of its predicate, its object."""
LABELS = ("O", *(f"{where}-{kind}" for kind in KINDS for where in "BI"))
TYPED = ":"
"""Between P and the predicate, in the tags that a tagger learns: ``B-P:capital``."""
MAX_FILE = 16_000_000
_MARK = re.compile(r"\[([^\[\]|]+)\|([SPO])([0-9]+)(?:=([^\]]+))?\]")

Triple = tuple[str, str, str]
"""Subject and object in the words of the sentence, and the predicate between them."""


@dataclass(frozen=True)
class Example:
    """A sentence whose facts are known."""

    text: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    triples: frozenset[Triple]
    typed: tuple[str, ...] = ()
    """The tags with the predicate behind P."""
    kind: str = "plain"
    """``plain``, ``complex``, ``negated`` (a fact denied) or ``none``."""
    template: str = ""
    group: str = ""
    """Sentences of one group (a subject, a document) are not independent."""


@dataclass(frozen=True)
class Piece:
    """Some words, maybe with a mark: what they are, of which facts, and which predicate's."""

    text: str
    kind: str = ""
    facts: tuple[int, ...] = ()
    predicate: str = ""


def example(
    pieces: Iterable[Piece],
    symmetric: Collection[str] = (),
    *,
    kind: str = "plain",
    template: str = "",
    group: str = "",
) -> Example:
    """Put pieces together: tag their tokens, and make a triple of each subject and object."""
    held = list(pieces)
    text = "".join(piece.text for piece in held)
    spans, at = [], 0
    for piece in held:
        if piece.kind:
            spans.append((at, at + len(piece.text), piece))
        at += len(piece.text)
    words = tokens(text)
    tags, typed = ["O"] * len(words), ["O"] * len(words)
    for start, end, piece in spans:
        inside = [k for k, word in enumerate(words) if word.start < end and word.end > start]
        for place, k in enumerate(inside):
            tags[k] = typed[k] = f"{'I' if place else 'B'}-{piece.kind}"
            if piece.predicate:
                typed[k] += f"{TYPED}{piece.predicate}"
    ends: dict[tuple[str, int], list[str]] = defaultdict(list)
    predicates: dict[int, str] = {}
    for _, _, piece in spans:
        for fact in piece.facts:
            if piece.kind != "P":
                ends[piece.kind, fact].append(" ".join(one.text for one in tokens(piece.text)))
            if piece.predicate:
                predicates[fact] = piece.predicate
    triples = frozenset(
        ordered((subject, name, object_), symmetric)
        for fact, name in predicates.items()
        for subject in ends["S", fact]
        for object_ in ends["O", fact]
    )
    return Example(
        text, tuple(word.text for word in words), tuple(tags), triples, tuple(typed), kind,
        template, group,
    )  # fmt: skip


def labels_of(predicates: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that a tagger of some predicates gives."""
    typed = [f"{where}-P{TYPED}{name}" for name in sorted(set(predicates)) for where in "BI"]
    return ("O", "B-S", "I-S", "B-O", "I-O", *typed)


def ordered(triple: Triple, symmetric: Collection[str]) -> Triple:
    """Return a triple with its ends in one order, where the predicate has no direction."""
    subject, predicate, object_ = triple
    if predicate in symmetric and object_ < subject:
        return object_, predicate, subject
    return triple


def read_marked(
    path: Path, symmetric: Collection[str] = (), *, kinds: Sequence[str] | None = None
) -> list[Example]:
    """Read sentences that people marked: a kind, a tab, the sentence with its facts.

    ``[Bhutan|S1]`` is the subject of fact 1, ``[capital is|P1=capital]`` what says its predicate,
    ``[Thimphu|O1]`` an object. ``S12`` is the subject of facts 1 and 2; lines that begin with
    ``#`` are left out. Each sentence is a group of its own.

    Raises:
        BadInput: naming the line and what is wrong with it.
        TooLarge: the file is larger than `MAX_FILE`.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise TooLarge(f"{path.name} is larger than {MAX_FILE:,} bytes; split it.")
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path.name} is not in UTF-8.") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path.name}, line {number}"
        kind, tab, marked = line.partition("\t")
        if not tab or not marked.strip():
            raise BadInput(f"{where}: a kind, a tab and a sentence are wanted.")
        if kinds is None or kind in kinds:
            found.append(parse_marked(marked.strip(), symmetric, where, kind=kind))
    if not found:
        raise BadInput(f"{path.name} holds no sentence.")
    return found


def parse_marked(
    marked: str, symmetric: Collection[str] = (), where: str = "The sentence", *, kind: str = ""
) -> Example:
    """Read one marked sentence; see `read_marked`.

    Raises:
        BadInput: a fact lacks its subject, its predicate or its object, or a bracket is left over.
    """
    pieces, at = [], 0
    has: dict[int, set[str]] = defaultdict(set)
    for mark in _MARK.finditer(marked):
        words, letter, digits, predicate = mark.groups()
        facts = tuple(int(one) for one in digits)
        pieces += [Piece(marked[at : mark.start()]), Piece(words, letter, facts, predicate or "")]
        for fact in facts:
            has[fact].add(letter)
            if letter == "P" and predicate:
                has[fact].add("name")
        at = mark.end()
    rest = [*(piece.text for piece in pieces if not piece.kind), marked[at:]]
    if any("[" in one or "]" in one for one in rest):
        raise BadInput(f"{where}: a bracket is no mark; write [words|S1], [words|P1=predicate].")
    for fact, parts in has.items():
        for part, named in (("S", "subject"), ("P", "predicate"), ("O", "object")):
            if part not in parts:
                raise BadInput(f"{where}: fact {fact} has no {named} ({part}{fact}).")
        if "name" not in parts:
            raise BadInput(f"{where}: fact {fact} does not name its predicate (P{fact}=…).")
    made = example([*pieces, Piece(marked[at:])], symmetric, kind=kind)
    return replace(made, kind=kind or "plain", group=made.text)
