# SPDX-License-Identifier: Apache-2.0
"""What ``graph.yaml`` knows of predicates as a loss: what a model says of two sentences must agree.

Li et al. 2019 (arXiv:1909.00126): with the product t-norm, "x and y are the same" costs
|log p(x) - log p(y)|, and "not both x and y" (x implies not y) max(0, log p(x) - log p(not y)).
Pairs are drawn without labels, so that rules also speak of entities that no question names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.graphs.knowledge.questions import Material
from plait.recipes.graph import GraphFile

SAME, NOT_BOTH = "same", "not both"
WEIGHT = 0.5
"""Of the rules' loss beside that of the labels."""


@dataclass(frozen=True)
class Rule:
    """A rule about one predicate or two, by their numbers."""

    kind: str
    """``symmetric``, ``inverse``, ``functional`` or ``disjoint``."""
    first: int
    second: int

    @property
    def says(self) -> str:
        """`SAME` or `NOT_BOTH`."""
        return SAME if self.kind in ("symmetric", "inverse") else NOT_BOTH


def rules_of(file: GraphFile, relations: Sequence[str]) -> list[Rule]:
    """Return the rules that ``graph.yaml`` has for predicates.

    Raises:
        BadInput: there are none.
    """
    number = {name: place for place, name in enumerate(relations)}
    made = set()
    for name, one in file.predicates.items():
        if name not in number:
            continue
        here = number[name]
        if one.symmetric:
            made.add(Rule("symmetric", here, here))
        if one.functional:
            made.add(Rule("functional", here, here))
        if one.inverse in number:
            made.add(Rule("inverse", here, number[one.inverse]))
        for other in one.disjoint:
            if other in number:
                made.add(Rule("disjoint", *sorted((here, number[other]))))
    if not made:
        raise BadInput(
            "graph.yaml has no rule for these predicates: say of some that they are functional, "
            "symmetric, the inverse of another or disjoint from it."
        )
    return sorted(made, key=lambda one: (one.kind, one.first, one.second))


class Pairs:
    """Draws pairs of sentences that a rule speaks of."""

    def __init__(self, held: Material, rules: Sequence[Rule], random: np.random.Generator) -> None:
        self.held, self.rules, self.random = held, rules, random
        self.rows = {
            kind: held.known[held.known[:, 1] == kind]
            for kind in {one for rule in rules for one in (rule.first, rule.second)}
        }

    def draw(self, count: int) -> list[tuple[str, str, str]]:
        """Return so many pairs, each with what its rule says: half begin with a known statement."""
        made = []
        usable = [rule for rule in self.rules if len(self.rows[rule.first])]
        for _ in range(count if usable else 0):
            rule = usable[int(self.random.integers(len(usable)))]
            subject, _, target = self._any(rule.first)
            if self.random.random() < 0.5:
                target = self._any(rule.first)[2]
            first = (subject, rule.first, target)
            if rule.kind in ("symmetric", "inverse"):
                second = (target, rule.second, subject)
            elif rule.kind == "functional":
                second = (subject, rule.first, self._any(rule.first)[2])
                if second == first:
                    continue
            else:
                second = (subject, rule.second, target)
            made.append((self.held.say(first), self.held.say(second), rule.says))
        return made

    def _any(self, kind: int) -> list[int]:
        rows = self.rows[kind]
        found: list[int] = rows[int(self.random.integers(len(rows)))].tolist()
        return found


def penalty(first: Any, second: Any, says: Sequence[str]) -> Any:
    """Return the mean loss of pairs.

    Args:
        first: log-probabilities of (false, true) of each pair's first sentence [pairs, 2].
        second: of its second.
        says: `SAME` or `NOT_BOTH`, of each pair.
    """
    import torch

    same = torch.tensor([one == SAME for one in says])
    apart = (first[:, 1] - second[:, 1]).abs()
    both = (first[:, 1] - second[:, 0]).clamp(min=0)
    return torch.where(same, apart, both).mean()
