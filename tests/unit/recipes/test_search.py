# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.recipes.fusion import dump_recipe, parse_recipe
from plait.recipes.search import Choices, Range, SearchSpec, dump_search, parse_search

RECIPE = {"merge_method": "ties", "base_model": "b", "models": [{"model": "a"}]}


def test_a_search_has_usual_values() -> None:
    assert parse_search({}) == parse_search(True) == SearchSpec()
    assert parse_search(None) is None


def test_two_numbers_are_a_range_and_other_lists_are_choices() -> None:
    found = parse_search(
        {
            "parameters": {
                "weight": [0, 1.5],
                "lambda": [1, 2, 3],
                "density": {"low": 0.1, "high": 1, "step": 0.1},
                "gamma": {"choices": [0.01, 0.02], "per": "model"},
                "rate": {"low": 0.001, "high": 1, "log": True},
                "method": ["ties", "della"],
            }
        }
    )
    assert found is not None
    assert found.parameters == {
        "weight": Range(0, 1.5),
        "lambda": Choices((1.0, 2.0, 3.0)),
        "density": Range(0.1, 1, 0.1),
        "gamma": Choices((0.01, 0.02), ("model",)),
        "rate": Range(0.001, 1, log=True),
        "method": Choices(("ties", "della")),
    }


ranges = st.tuples(st.floats(0, 5), st.floats(6, 9)).map(
    lambda pair: {"low": pair[0], "high": pair[1]}
)


@given(
    budget=st.integers(1, 500),
    folds=st.integers(2, 20),
    sampler=st.sampled_from(["tpe", "grid", "random"]),
    per=st.sampled_from(["all", "model", ["model", "layers"], "layers", "filters"]),
    subset=st.one_of(st.none(), st.integers(2, 99)),
    errors=st.floats(0, 3),
    weight=st.one_of(ranges, st.lists(st.floats(0, 9), min_size=3, max_size=5, unique=True)),
)
def test_what_is_written_is_read_back(**given: Any) -> None:
    weight, errors = given.pop("weight"), given.pop("errors")
    data = {**given, "parameters": {"weight": weight}, "standard_errors": errors, "layers": 4}
    data["filters"] = ["attention"]
    found = parse_search(data)
    assert found is not None
    assert parse_search(dump_search(found)) == found
    recipe = parse_recipe({**RECIPE, "search": data, "tasks": [{"name": "t", "dataset": "d"}]})
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_a_recipe_names_tasks_and_splits() -> None:
    tasks = [{"name": "t", "dataset": "d", "metric": "accuracy", "columns": {"group": "document"}}]
    recipe = parse_recipe({**RECIPE, "tasks": tasks, "splits": {"validation": "dev"}})
    assert recipe.tasks[0].columns.group == "document"
    assert recipe.splits.validation == "dev"
    assert dump_recipe(recipe)["tasks"] == tasks
    assert parse_recipe(dump_recipe(recipe)) == recipe


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"bugdet": 3}, "did you mean 'budget'"),
        ({"budget": 0}, "search.budget must be a whole number from 1"),
        ({"folds": 1}, "from 2"),
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"parameters": {"weight": 0.5}}, "how far it may vary"),
        ({"parameters": {"weight": [1, 0]}}, "the first must be the smaller"),
        ({"parameters": {"weight": [0, float("nan")]}}, "must be a number"),
        ({"parameters": {"weight": [0, float("inf")]}}, "must be a number"),
        ({"parameters": {"weight": []}}, "1 to"),
        ({"parameters": {"weight": [1, 1, 2]}}, "twice"),
        ({"parameters": {"weight": {"low": 0}}}, "needs 'high'"),
        ({"parameters": {"weight": {"low": 0, "high": 1, "log": True}}}, "above 0"),
        ({"parameters": {"weight": {"low": 0, "hihg": 1}}}, "did you mean 'high'"),
        ({"per": "modle"}, "did you mean 'model'"),
        ({"per": ["all", "model"]}, "cannot stand with others"),
        ({"per": "filters"}, "search.filters lists none"),
        ({"per": ["layers", "filters"], "filters": ["a"]}, "not both"),
        ({"parameters": [1]}, "must be a mapping"),
        (3, "must be a mapping"),
    ],
)
def test_bad_searches_are_told(search: Any, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        parse_search(search)


def test_a_choice_never_sees_the_test_split() -> None:
    with pytest.raises(BadInput, match="flatter itself"):
        parse_recipe({**RECIPE, "search": {}, "splits": {"validation": "test"}})
