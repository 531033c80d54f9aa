# SPDX-License-Identifier: Apache-2.0
"""Sentences for training and for three kinds of test, none of which shares what it tests.

Templates alone flatter: who is tested on templates of the training has been asked what it learnt by
heart. So some templates, and some entities, occur in no training sentence at all; how far either is
from real text, sentences that people wrote tell, with those that deny a fact kept apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plait.errors import BadInput
from plait.graphs.graph import Graph
from plait.graphs.read import builtin
from plait.graphs.read.examples import Example
from plait.graphs.read.facts import Fact, facts_of, predicates_of, symmetric
from plait.graphs.read.templates import Template, templates_of
from plait.graphs.read.verbalise import EXCHANGED, Material, verbalise
from plait.recipes.graph import ENTITY

HELD_OUT = {"templates": 0.2, "validation": 0.15}
"""Shares of each predicate's templates that are held out, at least one of each."""
ENTITIES = {"entities": 0.15, "validation": 0.1}
"""Shares of the entities that are held out."""
LEAST_TEMPLATES = 3


@dataclass(frozen=True)
class Sizes:
    """How many sentences are made for each part."""

    train: int = 3_000
    validation: int = 300
    test: int = 400
    calibration: int = 600


@dataclass(frozen=True)
class Parts:
    """Sentences by what they are for."""

    train: list[Example]
    validation: list[Example]
    """Of templates and entities that are neither trained on nor tested: early stopping."""
    templates: list[Example]
    """Of held-out templates, entities of the training."""
    entities: list[Example]
    """Of held-out entities, templates of the training."""
    known: Mapping[str, Sequence[Template]]
    """The templates of the training."""
    calibration: list[Example] = field(default_factory=list)
    """More sentences of the validation's templates and entities: how sure a reading is."""


def split(
    graph: Graph,
    *,
    predicates: Sequence[str] | None = None,
    more: Mapping[str, Sequence[str]] | None = None,
    sizes: Sizes | None = None,
    language: str = "en",
    seed: int = 0,
) -> Parts:
    """Make the sentences of a graph, split by template and by entity.

    Args:
        graph: whose statements are said.
        predicates: those that are wanted; None: all that have facts.
        more: further templates by predicate, beside those of ``graph.yaml``.
        sizes: how many sentences of each part.
        language: of the names.
        seed: of all that is drawn.

    Raises:
        BadInput: there are too few facts or templates.
    """
    sizes = sizes or Sizes()
    random = np.random.default_rng(seed)
    facts = facts_of(graph, predicates=predicates, language=language, random=random)
    if more and (unknown := sorted(set(more) - set(predicates_of(facts)))):
        raise BadInput(f"Templates are given for {unknown[0]}, which no statement has.")
    found = templates_of(graph.file, predicates_of(facts), more)
    by_template = deal_templates(found, seed)
    by_entity = deal_entities(facts, seed)
    words = {name: _third(builtin.NEUTRAL, name) for name in ("train", "validation", "test")}
    denials = {name: _third(builtin.DENIALS, name) for name in ("train", "validation", "test")}
    same = symmetric(graph.file)
    once = frozenset(name for name, one in graph.file.predicates.items() if one.functional)

    def make(entities: str, templates: str, role: str, count: int) -> list[Example]:
        held = by_entity[entities] or by_entity["train"]
        names = sorted({name for fact in held for name in fact.names[:2]})
        material = Material(
            held, by_template[templates], names, denials[role], words[role], same, once
        )
        # Tests say what the graph says: only there can names and values be known or not.
        exchanged = EXCHANGED if role == "train" else 0.0
        return verbalise(material, count, random, exchanged=exchanged)

    return Parts(
        make("train", "train", "train", sizes.train),
        make("validation", "validation", "validation", sizes.validation),
        make("train", "templates", "test", sizes.test),
        make("entities", "train", "test", sizes.test),
        by_template["train"],
        make("validation", "validation", "validation", sizes.calibration),
    )


def deal_templates(
    found: Mapping[str, Sequence[Template]], seed: int
) -> dict[str, dict[str, list[Template]]]:
    """Deal each predicate's templates to the splits, by a hash of their text.

    Raises:
        BadInput: a predicate has fewer than `LEAST_TEMPLATES`.
    """
    made: dict[str, dict[str, list[Template]]] = {
        name: {} for name in ("train", "validation", "templates")
    }
    for predicate, templates in found.items():
        if len(templates) < LEAST_TEMPLATES:
            raise BadInput(
                f"{predicate} has {len(templates)} templates; at least {LEAST_TEMPLATES} are "
                "needed, one to train on, one to stop by, one to test on."
            )
        order = sorted(templates, key=lambda one: _hash(f"{seed}|{one.predicate}|{one.text}"))
        start = 0
        for name, share in HELD_OUT.items():
            count = max(1, round(share * len(order)))
            made[name][predicate] = order[start : start + count]
            start += count
        made["train"][predicate] = order[start:]
    return made


def deal_entities(facts: Sequence[Fact], seed: int) -> dict[str, list[Fact]]:
    """Deal facts by their subject; training facts do not name a held-out entity either."""
    where: dict[str, str] = {}

    def of(entity: str) -> str:
        if entity not in where:
            share = int(_hash(f"{seed}|{entity}")[:8], 16) / 0xFFFFFFFF
            test, both = ENTITIES["entities"], sum(ENTITIES.values())
            where[entity] = (
                "entities" if share < test else "validation" if share < both else "train"
            )
        return where[entity]

    made: dict[str, list[Fact]] = {"train": [], "validation": [], "entities": []}
    for fact in facts:
        split = of(fact.subject)
        if split != "train" or fact.datatype != ENTITY or of(fact.object) == "train":
            made[split].append(fact)
    if not made["train"]:
        raise BadInput("The graph has too few statements: none is left to train on.")
    return made


def _third(things: Sequence[str], role: str) -> list[str]:
    """Deal words that are no template: of six, four to the training, one to each other."""
    places = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}[role]
    return [one for k, one in enumerate(things) if k % 6 in places]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
