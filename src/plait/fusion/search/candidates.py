# SPDX-License-Identifier: Apache-2.0
"""Candidates of a search: a method with the values of its coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plait.fusion.weights import methods


@dataclass(frozen=True)
class Candidate:
    """A method and its values; ``parameters`` are sorted pairs, so that candidates compare."""

    method: str
    parameters: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, method: str, /, **parameters: Any) -> Candidate:
        """Make a candidate from named values."""
        return cls(method, tuple(sorted(parameters.items())))

    @property
    def values(self) -> dict[str, Any]:
        """The parameters by name, as people see them."""
        return dict(self.parameters)

    @property
    def weight(self) -> float | None:
        """The weight of each contribution, for the methods that have one."""
        weight = self.values.get("weight")
        return None if weight is None else float(weight)


ALONE = Candidate.of("task_arithmetic", weight=1.0)
"""What gives a single contribution as it is."""


def recipe_of(candidate: Candidate, base: str, references: Sequence[str]) -> dict[str, Any]:
    """Write a candidate over some contributions as a recipe in mergekit's language.

    Every contribution gets the same values, so that leaving one out changes nothing for the others.
    One alone is taken as it is where the method needs several.
    """
    method = methods.get(candidate.method)
    if len(references) == 1 and method.models[0] > 1:
        candidate, method = ALONE, methods.get(ALONE.method)
    values = candidate.values
    mine = [p.name for p in method.parameters if p.per_model and p.name in values]
    own = {
        name: values.pop(name) for name in sorted(mine, key=lambda name: (name != "weight", name))
    }
    recipe: dict[str, Any] = {
        "merge_method": candidate.method,
        "base_model": base,
        "models": [
            {"model": reference, **({"parameters": dict(own)} if own else {})}
            for reference in references
        ],
    }
    if values:
        recipe["parameters"] = values
    return recipe | {"dtype": "float32", "tokenizer_source": "base", "order": "canonical"}
