# SPDX-License-Identifier: Apache-2.0
"""Searches in worlds where the truth is known: how good a candidate is, is a function."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from plait.evaluation.tasks import Item, Task
from plait.evaluation.types import task_type
from plait.evaluation.types.classification import ItemScore
from plait.fusion.search import Candidate, Space, build_space
from plait.fusion.search.folds import Floats, Measure
from plait.recipes.fusion import parse_recipe

Skill = Callable[[dict[str, float]], float]


def task(name: str = "only", documents: int = 60, sentences: int = 3) -> Task:
    """A task of so many documents, half of whose items have each label."""
    items = tuple(
        Item(f"{d} {s}", (d + s) % 2, f"{name}{d}", f"validation:{d * sentences + s}")
        for d in range(documents)
        for s in range(sentences)
    )
    return Task(name, "accuracy", items, (0, 1))


def space(**search: object) -> Space:
    """The space of task arithmetic's weight, whose default is 0.5, or of what is given."""
    recipe = parse_recipe(
        {
            "merge_method": "task_arithmetic",
            "base_model": "base",
            "models": ["a", "b"],
            "parameters": {"weight": 0.5},
            "tasks": [{"name": "only", "dataset": "nowhere"}],
            "search": {"parameters": {"weight": [0.0, 1.0]}, **search},
        }
        | {"models": [{"model": "a"}, {"model": "b"}]}
    )
    assert recipe.search is not None
    return build_space(recipe, recipe.search)


class World:
    """Answers for every candidate, by documents that are hard or easy for all of them."""

    def __init__(self, skill: Skill, seed: int = 0, spread: float = 0.7) -> None:
        self.skill = skill
        self.seed = seed
        self.spread = spread
        self.loaded: list[Candidate] = []
        self.items: list[tuple[Candidate, str]] = []
        self._normals: dict[str, float] = {}
        self._numbers: dict[str, float] = {}

    def load(self, candidate: Candidate) -> Measure:
        """Make a candidate the one that is measured."""
        self.loaded.append(candidate)
        skill, name = self.skill(candidate.values or {"weight": 0.5}), str(candidate)

        def measure(tasks: Sequence[Task]) -> dict[str, Floats]:
            found = {}
            for one in tasks:
                records = tuple(self._answer(item, skill, name) for item in one.items)
                self.items += [(candidate, item.id) for item in one.items]
                found[one.name] = task_type(one.type).table(records, one.metric, {"classes": 2})
            return found

        return measure

    def _answer(self, item: Item, skill: float, name: str) -> ItemScore:
        luck = self._normal(item.group) + self._normal(f"{item.group}|{name}")
        right = self._drawn(f"{item.group}|{item.id}") < 1 / (1 + math.exp(-(skill + luck)))
        label = int(item.label)
        return ItemScore(item.id, item.group, label, label if right else 1 - label, 0.5)

    def _normal(self, what: str) -> float:
        """Return a number of a normal distribution that a name gives."""
        if what not in self._normals:
            self._normals[what] = NormalDist(0, self.spread).inv_cdf(self._drawn(what))
        return self._normals[what]

    def _drawn(self, what: str) -> float:
        """Return a number above 0 and below 1 that a name gives."""
        if what not in self._numbers:
            digest = hashlib.blake2b(f"{self.seed}|{what}".encode(), digest_size=6).digest()
            self._numbers[what] = (int.from_bytes(digest) + 0.5) / 2**48
        return self._numbers[what]
