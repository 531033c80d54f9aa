# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import pytest

from plait.collaboration.merging.search import Candidate, candidates, recipe_of, search
from plait.errors import BadInput
from plait.recipes.fusion import parse_recipe
from plait.recipes.project import FusionSpec


def scored(table: dict[Candidate, float], other: float = 0.5):  # type: ignore[no-untyped-def]
    asked: list[Candidate] = []

    def measure(listed: Sequence[Candidate]) -> list[dict[str, float]]:
        asked.extend(listed)
        scores = [table.get(candidate, other) for candidate in listed]
        return [{"shop": score + 0.1, "press": score - 0.1} for score in scores]

    return measure, asked


def test_the_best_is_taken_if_it_is_clearly_better() -> None:
    spec = FusionSpec()
    listed = candidates(spec, 3)
    measure, asked = scored({listed[0]: 0.8, listed[3]: 0.81, listed[2]: 0.805})
    found = search(spec, 3, measure)
    assert asked == listed
    assert found.best.candidate == listed[3]
    assert found.default == 0
    assert found.best.score == pytest.approx(0.81)
    assert set(found.best.tasks) == {"shop", "press"}


def test_a_hair_is_not_enough() -> None:
    listed = candidates(FusionSpec(), 3)
    measure, _ = scored({listed[0]: 0.8, listed[3]: 0.8015})
    assert search(FusionSpec(), 3, measure).chosen == 0


def test_of_equals_the_first_is_taken() -> None:
    listed = candidates(FusionSpec(), 3)
    measure, _ = scored({listed[0]: 0.7, listed[2]: 0.9, listed[4]: 0.9})
    assert search(FusionSpec(), 3, measure).chosen == 2


def test_the_budget_holds() -> None:
    measure, asked = scored({})
    search(FusionSpec(budget=3), 2, measure)
    assert len(asked) == 3


def test_one_contribution_is_first_taken_as_it_is() -> None:
    first = candidates(FusionSpec(), 1)[0]
    assert (first.method, first.weight) == ("task_arithmetic", 1.0)
    assert candidates(FusionSpec(), 4)[0].method == "ties"


def test_no_candidate_leaves_a_contribution_out() -> None:
    methods = ("task_arithmetic", "ties", "dare_ties", "dare_linear", "linear")
    for count in (1, 2, 3, 4, 7):
        listed = candidates(FusionSpec(methods=methods, budget=100), count)
        assert len(listed) == len(set(listed))
        assert all((one.weight or 0) > 0 for one in listed)


def test_a_fixed_method_is_not_searched() -> None:
    spec = FusionSpec(method="ties", parameters={"density": 0.7})
    measure, asked = scored({})
    found = search(spec, 3, measure)
    assert len(asked) == 1
    assert found.best.candidate.values["density"] == 0.7
    assert found.best.candidate.weight == 1.0
    slerp = candidates(FusionSpec(method="slerp", parameters={"t": 0.3}), 1)
    assert slerp == [Candidate.of("slerp", t=0.3)]


def test_a_method_without_values_to_try_is_named() -> None:
    with pytest.raises(BadInput, match="'slerp'"):
        candidates(FusionSpec(methods=("slerp",)), 2)


def test_recipes_are_mergekits_language() -> None:
    for candidate in candidates(FusionSpec(budget=100), 2):
        recipe = recipe_of(candidate, "a/base@1", ["a/b@2", "a/c@3"])
        parsed = parse_recipe(recipe)
        assert parsed.base_model == "a/base@1"
        assert [source.model for source in parsed.models] == ["a/b@2", "a/c@3"]
        assert parsed.order == "canonical"
    recipe = recipe_of(
        Candidate.of("ties", weight=1.0, density=0.5, **{"lambda": 0.8}), "base", ["one"]
    )
    assert recipe["models"] == [{"model": "one", "parameters": {"weight": 1.0, "density": 0.5}}]
    assert recipe["parameters"] == {"lambda": 0.8}
