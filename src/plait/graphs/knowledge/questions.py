# SPDX-License-Identifier: Apache-2.0
"""True and false sentences about a graph's entities, some of which training never asks about.

A share of the subjects is held out: no question of training names them. Of what the graph says of
them, half are the test's questions, and half stay known: knowledge may be taken from that half, so
that what helps is to know other facts of an entity. A false sentence has the object (or subject) of
another statement of the same predicate, so that how often something is said tells nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plait.errors import BadInput
from plait.graphs.graph import Graph
from plait.graphs.learn.triples import Rows
from plait.graphs.read.facts import NUMBERS, TIMES, facts_of
from plait.graphs.read.templates import Template, templates_of
from plait.recipes.graph import ENTITY

HELD_OUT = 0.3
"""Of the subjects."""
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
    """The entity that it is about: a held-out one in the test."""


@dataclass(frozen=True)
class Material:
    """A graph's statements in words, and the questions made of them."""

    entities: tuple[str, ...]
    """Identifiers; of literals, the literal in quotation marks."""
    names: tuple[str, ...]
    relations: tuple[str, ...]
    facts: Rows
    known: Rows
    """What knowledge may be taken from: all but the test's statements."""
    held_out: frozenset[int]
    training: tuple[Question, ...]
    testing: tuple[Question, ...]
    templates: tuple[tuple[Template, ...], ...]
    """By predicate."""

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
    made = Material(
        tuple(entities),
        tuple(names[one] for one in entities),
        tuple(relations),
        rows,
        rows,
        frozenset(),
        (),
        (),
        tuple(tuple(known[one]) for one in relations),
    )
    subjects = np.unique(rows[:, 0])
    aside = frozenset(random.permutation(subjects)[: round(held_out * len(subjects))].tolist())
    touching = np.isin(rows[:, [0, 2]], list(aside)).any(axis=1)
    # what is said of one pair of entities stays together, in whatever direction it is said
    pairs = np.sort(rows[:, [0, 2]], axis=1)
    _, pair = np.unique(pairs, axis=0, return_inverse=True)
    pair = pair.reshape(-1)
    drawn = random.random(int(pair.max()) + 1) < 0.5
    test = touching & drawn[pair]
    symmetric = frozenset(
        kinds[name]
        for name, one in graph.file.predicates.items()
        if name in kinds and one.symmetric
    )
    writer = _Writer(made, symmetric, random)
    # False statements of training name no entity aside either, and those of the test take from what
    # is said of entities aside alone: else to be familiar, or not, would tell what is false.
    training = writer.questions(rows[~touching], rows[~touching], frozenset())
    testing = writer.questions(rows[test], rows[touching], aside)
    if len(training) < LEAST // 2 or len(testing) < LEAST // 4:
        raise BadInput(
            f"Of {len(rows)} statements only {len(training)} questions for training and "
            f"{len(testing)} for the test can be made; the graph is too small to be measured on."
        )
    return Material(
        made.entities, made.names, made.relations, rows, rows[~test], aside, training, testing,
        made.templates,
    )  # fmt: skip


class _Writer:
    """Makes a true and a false question of each statement."""

    def __init__(
        self, held: Material, symmetric: frozenset[int], random: np.random.Generator
    ) -> None:
        self.held, self.symmetric, self.random = held, symmetric, random
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
