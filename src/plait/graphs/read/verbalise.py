# SPDX-License-Identifier: Apache-2.0
"""Statements as sentences with tagged words, and sentences that say no statement or deny one.

Templates alone flatter, so sentences vary in what does not matter: asides that name others, lists
of objects, two facts in one sentence, names exchanged for others or for invented ones (a tagger
shall learn from the context what is a subject, not which names are), numbers written in several
ways. What is denied, or was so once, looks like a fact and is tagged with nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from plait.errors import BadInput
from plait.graphs.read import builtin
from plait.graphs.read.examples import Example, Piece, example
from plait.graphs.read.facts import NUMBERS, TIMES, Fact, numbers
from plait.graphs.read.templates import Template
from plait.recipes.graph import ENTITY

T = TypeVar("T")
SHARES = {"plain": 0.45, "complex": 0.23, "negated": 0.16, "none": 0.16}
"""Of the sentences of each kind."""
LISTED = 0.4
"""How often a predicate with several objects names them in a list."""
EXCHANGED = 0.4
"""How often names are exchanged."""
ASIDE = 0.2
"""How often each place for an aside has one."""
_ARTICLE = re.compile(
    r"^(United|Union|Czech Rep|Central African|Dominican Rep|Democratic)|"
    r"(Republic|Kingdom|Islands|States|Emirates|Federation|Isles)$"
)
_SYLLABLES = ("ba", "ro", "len", "ti", "mar", "ka", "vo", "sin", "du", "pel", "os", "gra", "ni",
              "tha", "jo", "quin", "es", "ul", "wen", "zo", "fa", "li", "mor", "he")  # fmt: skip
_THIRD = re.compile(r"^(\x01) (\w+[^s\W]s|has|lies) ")
_BASE = {"has": "have", "lies": "lie", "is": "be"}


@dataclass(frozen=True)
class Material:
    """What sentences are made of: one split's own templates, facts, denials and neutral words."""

    facts: Sequence[Fact]
    templates: Mapping[str, Sequence[Template]]
    names: Sequence[str]
    """Names for asides and exchanges."""
    denials: Sequence[str] = builtin.DENIALS
    neutral: Sequence[str] = builtin.NEUTRAL
    symmetric: Collection[str] = ()
    functional: Collection[str] = ()
    """Predicates with one value, of which no list is made though sources contradict."""


def verbalise(
    material: Material,
    count: int,
    random: np.random.Generator,
    *,
    varied: bool = True,
    exchanged: float = EXCHANGED,
) -> list[Example]:
    """Make sentences, each predicate as often as the others.

    Args:
        material: what they are made of.
        count: how many.
        random: draws.
        exchanged: how often a name is exchanged for another or an invented one, which makes
            facts that are not true: to train on, not to be told.
        varied: with asides, lists, exchanged names and two facts in a sentence; False: every
            fact by a template as it stands.

    Raises:
        BadInput: there is no fact with a template.
    """
    return Writer(material, random, varied=varied, exchanged=exchanged).write(count)


def every(material: Material, random: np.random.Generator, most: int) -> list[Example]:
    """Say every fact once by each of its templates, as they stand; at most so many sentences."""
    writer = Writer(material, random, varied=False)
    made = []
    for fact in material.facts:
        for template in material.templates.get(fact.predicate, ()):
            made.append(writer.single(fact, template))
            if len(made) == most:
                return made
    return made


class Writer:
    """Writes sentences out of one material."""

    def __init__(
        self,
        material: Material,
        random: np.random.Generator,
        *,
        varied: bool = True,
        exchanged: float = EXCHANGED,
    ) -> None:
        self.material = material
        self.random = random
        self.varied = varied
        self.exchanged = exchanged
        self._facts: dict[str, list[Fact]] = defaultdict(list)
        self._objects: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        self._subjects: dict[str, list[Fact]] = defaultdict(list)
        for fact in material.facts:
            if material.templates.get(fact.predicate):
                self._facts[fact.predicate].append(fact)
                self._objects[fact.subject, fact.predicate].append(fact)
                self._subjects[fact.subject].append(fact)
        if not self._facts:
            raise BadInput("There is no fact with a template to make sentences of.")
        self._predicates = sorted(self._facts)

    def write(self, count: int) -> list[Example]:
        """Write so many sentences."""
        if not self.varied:
            return [self.single(self._fact()) for _ in range(count)]
        kinds = list(SHARES)
        drawn = self.random.choice(len(kinds), size=count, p=list(SHARES.values()))
        made = []
        for place in drawn:
            kind = kinds[int(place)]
            if kind == "none":
                made.append(self.neutral())
            elif kind == "negated":
                made.append(self.denied())
            else:
                made.append(self.single(self._fact()) if kind == "plain" else self.double())
        return made

    def single(self, fact: Fact, template: Template | None = None) -> Example:
        """Write one fact, or a list of objects, in one sentence."""
        template = template or self._any(self.material.templates[fact.predicate])
        facts = self._like(fact)
        pieces = self._pieces(self._any(template.wordings), facts, 1)
        return self._finished(self._with_asides(pieces, facts[0]), fact, template.text, "plain")

    def double(self) -> Example:
        """Write two facts in one sentence: of one subject, or of two."""
        first = self._fact()
        others = [one for one in self._subjects[first.subject] if one.predicate != first.predicate]
        a = self._any(self.material.templates[first.predicate])
        joined = self.random.random() < 0.75 and others
        second = self._any(others) if joined else self._fact()
        b = self._any(self.material.templates[second.predicate])
        left = self._pieces(self._any(a.wordings), self._like(first), 1)
        right = self._pieces(self._any(b.wordings), self._like(second), 2)
        if joined:
            pieces = self._joined(left, right)
        else:
            word = self._any((", and ", ", while ", "; ", ", whereas ", ", but "))
            pieces = [*_stopped(left), Piece(word), *_lowered(_stopped(right)), Piece(".")]
        return self._finished(pieces, first, f"{a.text} + {b.text}", "complex")

    def denied(self) -> Example:
        """Write a fact that is denied, doubted or past; nothing in it is tagged."""
        fact = self._fact()
        template = self._any(self.material.templates[fact.predicate])
        wording = self._any(template.wordings)
        name, _ = self._name(fact)
        said = self._said(fact)
        text = "".join(
            {"{subject}": "\x01", "{object}": "\x02"}.get(part, part.strip("[]"))
            for part in wording
        )
        text = self._deny(text)
        text = text.replace("\x01", name).replace("\x02", said)
        return self._finished([Piece(self._filled(text))], fact, template.text, "negated")

    def neutral(self) -> Example:
        """Write a sentence that says nothing that the graph has a predicate for."""
        text = self._any(self.material.neutral)
        made = example([Piece(_capital(self._filled(text)))], kind="none", template=text)
        return replace(made, group=made.text)

    def _deny(self, text: str) -> str:
        plain = text.removesuffix(".")
        ways = [self._any(self.material.denials).replace("{sentence}", _lower(plain))] * 2
        year = int(self.random.integers(1800, 2015))
        if "," in plain:  # the fact may stand in an aside that a "not" elsewhere leaves true
            return self._any(ways)
        if " is " in plain:
            ways += [
                plain.replace(" is ", f" is {word} ", 1) + "."
                for word in ("not", "no longer", "not, as some say,", "certainly not")
            ] * 2
            ways += [plain.replace(" is ", " was ", 1) + f" until {year}."] * 2
            ways += [plain.replace(" is ", " was once ", 1) + "."]
        if " has " in plain:
            ways += [plain.replace(" has ", f" {word} ", 1) + "."
                     for word in ("does not have", "no longer has", "never had")]  # fmt: skip
        verb = _THIRD.match(plain)
        if verb:
            base = _base(verb.group(2))
            rest = plain[verb.end() :]
            ways += [
                f"\x01 {word} {base} {rest}." for word in ("does not", "did not", "will never")
            ] * 2
            ways += [f"\x01 no longer {verb.group(2)} {rest}.", f"\x01 used to {base} {rest}."]
        return self._any(ways)

    def _joined(self, left: list[Piece], right: list[Piece]) -> list[Piece]:
        """Say a second fact of the same subject."""
        left = [replace(one, facts=(1, 2)) if one.kind == "S" else one for one in left]
        left = _stopped(left)
        first_leads, second_leads = _leads(left), _leads(right)
        rest = right[1:]
        if second_leads and first_leads and self.random.random() < 0.4:
            return [left[0], Piece(", which"), *_stopped(rest), Piece(","), *left[1:], Piece(".")]
        if second_leads and first_leads and self.random.random() < 0.6:
            return [*left, Piece(" and"), *_stopped(rest), Piece(".")]
        word = self._any((", and ", "; ", ", but ", ", where "))
        if second_leads:
            return [*left, Piece(f"{word}it"), *_stopped(rest), Piece(".")]
        if right and right[0].kind == "S" and right[1].text.startswith("'s"):
            rest = [replace(right[1], text=right[1].text.removeprefix("'s")), *right[2:]]
            return [*left, Piece(f"{word}its"), *_stopped(rest), Piece(".")]
        named: list[Piece] = []
        for one in right:
            if one.kind == "S":
                article = "" if named and named[-1].text.endswith("the ") else "the "
                one = Piece(f"{article}country")
            named.append(one)
        return [*left, Piece(word), *_lowered(_stopped(named)), Piece(".")]

    def _pieces(self, wording: Sequence[str], facts: Sequence[Fact], number: int) -> list[Piece]:
        fact = facts[0]
        pieces: list[Piece] = []
        for part in wording:
            if part == "{subject}":
                name, article = self._name(fact)
                if article and not (pieces and pieces[-1].text.endswith("the ")):
                    pieces.append(Piece("the "))
                pieces.append(Piece(name, "S", (number,)))
            elif part == "{object}":
                for place, one in enumerate(facts):
                    if place:
                        pieces.append(Piece(" and " if place == len(facts) - 1 else ", "))
                    said, article = self._object(one)
                    if article and not (pieces and pieces[-1].text.endswith("the ")):
                        pieces.append(Piece("the "))
                    pieces.append(Piece(said, "O", (number,)))
            elif part.startswith("["):
                pieces.append(Piece(part[1:-1], "P", (number,), fact.predicate))
            else:
                pieces.append(Piece(part))
        return pieces

    def _with_asides(self, pieces: list[Piece], fact: Fact) -> list[Piece]:
        if not self.varied:
            return pieces
        made: list[Piece] = []
        name = fact.datatype in (ENTITY, "string") and fact.predicate != "currency"
        for place, one in enumerate(pieces):
            made.append(one)
            after = pieces[place + 1].text if place + 1 < len(pieces) else "."
            asides = {"S": builtin.BESIDE_SUBJECT, "O": builtin.BESIDE_OBJECT if name else ()}.get(
                one.kind, ()
            )
            if asides and after[:1] in " ." and not after.startswith(" and") and self._now():
                aside = self._filled(self._any(asides))
                made.append(Piece(aside.rstrip(",") if after.startswith(".") else aside))
        if self._now():
            behind = self._filled(self._any(builtin.BEHIND))
            made = [*_stopped(made), Piece(f"{behind}.")]
        if self._now():
            made = [Piece(self._filled(self._any(builtin.BEFORE))), *_lowered(made)]
        return made

    def _finished(self, pieces: Sequence[Piece], fact: Fact, template: str, kind: str) -> Example:
        held = [one for one in pieces if one.text]
        # A sentence begins with a capital; a name keeps its own letters.
        if (held and not held[0].kind) or (held and held[0].kind == "O"):
            held[0] = replace(held[0], text=_capital(held[0].text))
        return example(
            held, self.material.symmetric, kind=kind, template=template, group=fact.subject
        )

    def _like(self, fact: Fact) -> list[Fact]:
        """Return the fact, or several of one subject and predicate to be listed."""
        same = self._objects[fact.subject, fact.predicate]
        once = fact.predicate in self.material.functional
        if not self.varied or once or len(same) < 2 or self.random.random() > LISTED:
            return [fact]
        order = self.random.permutation(len(same))[: int(self.random.integers(2, 5))]
        return [same[int(k)] for k in order]

    def _name(self, fact: Fact) -> tuple[str, bool]:
        name = self._any(fact.names[:3]) if self.varied else fact.names[0]
        if self.varied and self.random.random() < self.exchanged:
            name = self._other_name()
        return _article(name)

    def _object(self, fact: Fact) -> tuple[str, bool]:
        said = self._said(fact)
        return _article(said) if fact.datatype == ENTITY else (said, False)

    def _said(self, fact: Fact) -> str:
        said = self._any(fact.said) if self.varied else fact.said[0]
        if not self.varied or self.random.random() >= self.exchanged:
            return said
        if fact.datatype in NUMBERS:
            size = 10 ** self.random.uniform(2, 9)
            return self._any(numbers(str(int(size)))) if size > 1 else said
        if fact.datatype in TIMES:
            return said
        if fact.datatype == ENTITY:
            return self._other_name()
        if said.isupper():
            return said
        made = self._invented()
        return made if said[:1].isupper() else made.lower()

    def _other_name(self) -> str:
        if self.material.names and self.random.random() < 0.5:
            return self._any(self.material.names)
        return self._invented()

    def _invented(self) -> str:
        words = 1 + int(self.random.random() < 0.25)
        made = []
        for _ in range(words):
            count = int(self.random.integers(2, 4))
            made.append("".join(self._any(_SYLLABLES) for _ in range(count)).capitalize())
        return " ".join(made)

    def _filled(self, text: str) -> str:
        if "{" not in text:
            return text
        draw = self.random.integers
        values = {
            "name": self._other_name(),
            "other": self._other_name(),
            "place": self._invented(),
            "year": str(int(draw(1700, 2025))),
            "number": f"{int(draw(1_000, 900_000)):,}",
            "small": str(int(draw(2, 60))),
        }
        return re.sub(r"\{(\w+)\}", lambda one: values.get(one.group(1), one.group()), text)

    def _fact(self) -> Fact:
        return self._any(self._facts[self._any(self._predicates)])

    def _now(self) -> bool:
        return bool(self.random.random() < ASIDE)

    def _any(self, things: Sequence[T]) -> T:
        return things[int(self.random.integers(len(things)))]


def _article(name: str) -> tuple[str, bool]:
    """Return a name without its article, and whether it wants one."""
    if name.startswith(("The ", "the ")) and len(name) > 4:
        return name[4:], True
    return name, bool(_ARTICLE.search(name))


def _leads(pieces: Sequence[Piece]) -> bool:
    """Tell whether the subject comes first, and what follows can stand behind another subject."""
    if len(pieces) < 2 or pieces[0].kind != "S":
        return False
    after = pieces[1].text
    return after.startswith(" ") and not after.startswith((" and ", " ("))


def _stopped(pieces: Sequence[Piece]) -> list[Piece]:
    """Return a sentence without its stop."""
    held = list(pieces)
    if held and not held[-1].kind:
        held[-1] = replace(held[-1], text=held[-1].text.removesuffix("."))
    return held


def _lowered(pieces: Sequence[Piece]) -> list[Piece]:
    """Return a sentence that no longer begins one."""
    held = list(pieces)
    if held and not held[0].kind:
        held[0] = replace(held[0], text=_lower(held[0].text))
    return held


def _lower(text: str) -> str:
    return text if text[:1] in "\x01\x02" or text[1:2].isupper() else text[:1].lower() + text[1:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _base(verb: str) -> str:
    if verb in _BASE:
        return _BASE[verb]
    if verb.endswith(("shes", "ches", "sses")):
        return verb[:-2]
    return verb[:-3] + "y" if verb.endswith("ies") else verb[:-1]
