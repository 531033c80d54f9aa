# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import pytest

from plait.collaboration.merging.search import (
    Candidate,
    candidates,
    needs_data,
    recipe_of,
    search,
)
from plait.errors import BadInput
from plait.fusion.search import fits
from plait.fusion.weights import methods
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


def test_every_method_that_needs_no_data_may_be_named() -> None:
    free = [name for name in methods.names() if not needs_data(name)]
    assert len(free) > 20
    for count in (1, 2, 3, 5):
        spec = FusionSpec(methods=tuple(free), budget=1000)
        listed = candidates(spec, count)
        assert len(listed) == len(set(listed))
        fit = {name for name in free if fits(methods.get(name), count)}
        assert {one.method for one in listed} == fit
        for one in listed:
            parsed = parse_recipe(recipe_of(one, "base", [f"m{i}" for i in range(count)]))
            given = {*parsed.parameters, *parsed.models[0].parameters}
            known = {p.name for p in methods.get(one.method).parameters}
            needed = {p.name for p in methods.get(one.method).parameters if p.default is None}
            assert needed <= given <= known


def test_methods_take_turns_so_that_a_small_budget_compares_them() -> None:
    spec = FusionSpec(methods=("ties", "task_arithmetic", "della", "tsv_m"), budget=4)
    listed = candidates(spec, 3)
    assert [one.method for one in listed] == ["ties", "task_arithmetic", "della", "tsv_m"]


def test_a_method_that_needs_data_is_named() -> None:
    with pytest.raises(BadInput, match=r"'regmean'.*data"):
        candidates(FusionSpec(methods=("ties", "regmean")), 2)


def test_a_method_that_cannot_fuse_so_many_is_left_out_or_named() -> None:
    listed = candidates(FusionSpec(methods=("slerp", "ties")), 2)
    assert {one.method for one in listed} == {"ties"}
    with pytest.raises(BadInput, match=r"slerp.*2 contributions"):
        candidates(FusionSpec(methods=("slerp",)), 2)


def test_one_contribution_alone_is_itself_where_the_method_needs_several() -> None:
    stock = candidates(FusionSpec(methods=("model_stock",)), 3)[0]
    assert recipe_of(stock, "base", ["a", "b"])["merge_method"] == "model_stock"
    alone = recipe_of(stock, "base", ["a"])
    assert alone["merge_method"] == "task_arithmetic"
    assert alone["models"] == [{"model": "a", "parameters": {"weight": 1.0}}]


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean 'ties'"):
        candidates(FusionSpec(methods=("tiess",)), 2)


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
