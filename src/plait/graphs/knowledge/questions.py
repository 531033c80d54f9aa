# SPDX-License-Identifier: Apache-2.0
"""True and false sentences about a graph's entities, some of which training never asks about.

Half of what the graph says is known: knowledge may be taken from it. The other half is asked about,
in training too: a model that has read a statement itself would learn to look for that alone, and
find nothing in the test. Shares of the subjects are held out for the test and for validation; no
question of training names them. So what helps is to know other facts of an entity. A false sentence
has the object (or subject) of another statement of the same predicate, so that how often something
is said tells nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from plait.errors import BadInput
from plait.graphs.graph import Graph
from plait.graphs.learn.triples import Rows
from plait.graphs.read.facts import NUMBERS, TIMES, facts_of
from plait.graphs.read.templates import Template, templates_of
from plait.recipes.graph import ENTITY

HELD_OUT = 0.3
"""Of the subjects, for the test."""
VALIDATION = 0.15
"""Of the subjects."""
ASKED = 0.5
"""Of the statements."""
LEAST = 40
"""Statements without which nothing can be asked."""
LABELS = ("false", "true")


@dataclass(frozen=True)
class Question:
    """A sentence that is true or not."""

    text: str
    true: bool
    row: tuple[int, int, int]
    """The numbers of subject, predicate and object."""
    group: int
    """The entity that it is about: a held-out one in validation and test."""


@dataclass(frozen=True)
class Material:
    """A graph's statements in words, and the questions made of them."""

    entities: tuple[str, ...]
    """Identifiers; of literals, the literal in quotation marks."""
    names: tuple[str, ...]
    relations: tuple[str, ...]
    facts: Rows
    known: Rows
    """What knowledge may be taken from: no statement of it is asked about."""
    held_out: frozenset[int]
    """The test's entities."""
    watched: frozenset[int]
    """The validation's entities."""
    training: tuple[Question, ...]
    validation: tuple[Question, ...]
    testing: tuple[Question, ...]
    """True and false in turn, of one statement each two."""
    templates: tuple[tuple[Template, ...], ...]
    """By predicate."""
    symmetric: frozenset[int]
    """The predicates that say the same from both ends."""

    def say(self, row: Sequence[int], template: int = 0) -> str:
        """Return a statement as a sentence, by one of its predicate's templates."""
        held = self.templates[row[1]]
        parts = held[template % len(held)].wordings[0]
        said = {"{subject}": self.names[row[0]], "{object}": self.names[row[2]]}
        text = "".join(said.get(part, part.strip("[]")) for part in parts)
        return text[:1].upper() + text[1:]


def material(
    graph: Graph, *, language: str = "en", held_out: float = HELD_OUT, seed: int = 0
) -> Material:
    """Make questions of what a graph says of entities and of words; numbers are left out.

    Raises:
        BadInput: too little can be said in words.
    """
    random = np.random.default_rng(seed)
    found = [
        fact
        for fact in facts_of(graph, language=language, random=random)
        if fact.datatype not in (*NUMBERS, *TIMES)
    ]
    names: dict[str, str] = {}
    said = []
    for fact in found:
        target = fact.object if fact.datatype == ENTITY else f'"{fact.object}"'
        names.setdefault(fact.subject, fact.names[0])
        names.setdefault(target, fact.said[0])
        said.append((fact.subject, fact.predicate, target))
    entities, relations = sorted(names), sorted({one[1] for one in said})
    number = {name: place for place, name in enumerate(entities)}
    kinds = {name: place for place, name in enumerate(relations)}
    rows = np.array(
        sorted({(number[s], kinds[p], number[o]) for s, p, o in said}), dtype=np.int64
    ).reshape(-1, 3)
    if len(rows) < LEAST:
        raise BadInput(
            f"{len(rows)} statements can be said in words; {LEAST} at least are needed. Entities "
            f"need labels in the language '{language}'."
        )
    known = templates_of(graph.file, relations)
    symmetric = frozenset(
        kinds[name]
        for name, one in graph.file.predicates.items()
        if name in kinds and one.symmetric
    )
    made = Material(
        tuple(entities),
        tuple(names[one] for one in entities),
        tuple(relations),
        rows,
        rows,
        frozenset(),
        frozenset(),
        (),
        (),
        (),
        tuple(tuple(known[one]) for one in relations),
        symmetric,
    )
    subjects = random.permutation(np.unique(rows[:, 0]))
    first, second = round(held_out * len(subjects)), round(VALIDATION * len(subjects))
    aside = frozenset(subjects[:first].tolist())
    watched = frozenset(subjects[first : first + second].tolist())
    of_test = np.isin(rows[:, [0, 2]], list(aside)).any(axis=1)
    of_validation = np.isin(rows[:, [0, 2]], list(watched)).any(axis=1) & ~of_test
    rest = ~of_test & ~of_validation
    # what is said of one pair of entities stays together, in whatever direction it is said
    pairs = np.sort(rows[:, [0, 2]], axis=1)
    _, pair = np.unique(pairs, axis=0, return_inverse=True)
    pair = pair.reshape(-1)
    asked = (random.random(int(pair.max()) + 1) < ASKED)[pair]
    writer = _Writer(made, random)
    # False statements of training name no entity aside either, and those of the test take from what
    # is said of entities aside alone: else to be familiar, or not, would tell what is false.
    training = writer.questions(rows[asked & rest], rows[rest], frozenset())
    validation = writer.questions(rows[asked & of_validation], rows[of_validation], watched)
    testing = writer.questions(rows[asked & of_test], rows[of_test], aside)
    if len(training) < LEAST // 2 or len(testing) < LEAST // 4 or not validation:
        raise BadInput(
            f"Of {len(rows)} statements only {len(training)} questions for training, "
            f"{len(validation)} for validation and {len(testing)} for the test can be made; the "
            "graph is too small to be measured on."
        )
    return replace(
        made,
        known=rows[~asked],
        held_out=aside,
        watched=watched,
        training=training,
        validation=validation,
        testing=testing,
    )


def drawn_anew(held: Material, count: int, random: np.random.Generator) -> list[Question]:
    """Return so many training questions in random rounds, in each of which what is false is new.

    The first round is the material's own questions.
    """
    writer = _Writer(held, random)
    rows = np.array([one.row for one in held.training if one.true], dtype=np.int64)
    aside = held.held_out | held.watched
    pool = held.facts[~np.isin(held.facts[:, [0, 2]], list(aside)).any(axis=1)]
    made: list[Question] = []
    this = held.training
    while len(made) < count:
        made += [this[int(place)] for place in random.permutation(len(this))]
        this = writer.questions(rows, pool, frozenset())
    return made[:count]


class _Writer:
    """Makes a true and a false question of each statement."""

    def __init__(self, held: Material, random: np.random.Generator) -> None:
        self.held, self.symmetric, self.random = held, held.symmetric, random
        self.true = {tuple(row) for row in held.facts.tolist()}

    def questions(self, rows: Rows, others: Rows, aside: frozenset[int]) -> tuple[Question, ...]:
        """Return questions of statements; of one about an entity aside, that entity stays.

        Args:
            others: the statements that false ones take their object or subject from.
        """
        by_kind: dict[int, list[list[int]]] = defaultdict(list)
        for row in others.tolist():
            by_kind[row[1]].append(row)
        made = []
        for row in rows.tolist():
            keep = row[0] in aside or (row[2] not in aside and self.random.random() < 0.5)
            other = self._other(row, 2 if keep else 0, by_kind[row[1]])
            if other is None:
                continue
            group = row[0] if keep else row[2]
            for said, true in ((tuple(row), True), (other, False)):
                made.append(Question(self.held.say(said), true, said, group))
        return tuple(made)

    def _other(
        self, row: list[int], place: int, pool: list[list[int]]
    ) -> tuple[int, int, int] | None:
        for _ in range(50):
            made = list(row)
            made[place] = pool[int(self.random.integers(len(pool)))][place]
            back = (made[2], made[1], made[0])
            said = tuple(made) in self.true or (row[1] in self.symmetric and back in self.true)
            if made[0] != made[2] and not said:
                return made[0], made[1], made[2]
        return None
