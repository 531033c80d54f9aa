# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.fusion.search import Candidate, Space, build_space, default_grid, default_values, fits
from plait.fusion.search.sampling import initial_candidates
from plait.fusion.weights import methods
from plait.recipes.fusion import Gradient, Rules, dump_recipe, parse_recipe


def made(search: dict[str, Any], method: str = "ties", **recipe: Any) -> Space:
    found = parse_recipe(
        {
            "merge_method": method,
            "base_model": "x/base",
            "models": [
                {"model": "x/shop", "parameters": {"weight": 1.0}},
                {"model": "x/press", "parameters": {"weight": 1.0}},
            ],
            "search": search,
            **recipe,
        }
    )
    assert found.search is not None
    return build_space(found, found.search)


def keys(space: Space, method: str = "ties") -> list[str]:
    return [one.key for one in space.dimensions[method]]


def test_without_parameters_the_methods_own_vary_over_their_usual_ranges() -> None:
    assert keys(made({})) == ["density", "lambda"]
    assert keys(made({}, "task_arithmetic"), "task_arithmetic") == ["weight"]
    # one weight for all is divided out again; one for each is not
    per = made({"per": "model"}, "linear")
    assert keys(per, "linear") == ["weight[shop]", "weight[press]"]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_ranges_within_its_bounds_and_usual_values(name: str) -> None:
    method = methods.get(name)
    count = next(n for n in (2, 1) if fits(method, n))
    models = [{"model": f"m{i}"} for i in range(count)]
    try:
        space = made({}, name, models=models)
    except BadInput as error:
        assert "Nothing varies" in error.message
        return
    for one in space.dimensions[name]:
        parameter = method.parameter(one.parameter)
        assert parameter is not None
        if parameter.low is not None and hasattr(one.varies, "low"):
            assert parameter.low <= one.varies.low < one.varies.high <= (parameter.high or 1e9)
    for candidate in default_grid(name, count):
        assert {p.name for p in method.parameters} >= set(candidate.values)
    for candidate in initial_candidates(space, 5, 0):
        # every point is a recipe that can be written down and read again
        applied = space.apply(candidate)
        assert parse_recipe(dump_recipe(applied)) == applied
        assert applied.search is None


def test_a_point_replaces_values_wherever_they_were() -> None:
    space = made(
        {"parameters": {"weight": [0, 2], "density": [0.1, 1]}}, parameters={"density": 0.3}
    )
    applied = space.apply(Candidate.of("ties", weight=0.7, density=0.4))
    assert applied.parameters["weight"] == 0.7 and applied.parameters["density"] == 0.4
    assert all("weight" not in source.parameters for source in applied.models)
    assert space.apply(space.default).parameters == {"density": 0.3}


def test_values_per_model_and_per_layers_and_per_filter() -> None:
    space = made({"per": ["model", "layers"], "layers": 2, "parameters": {"weight": [0, 1]}})
    assert keys(space) == [
        "weight[shop]@1",
        "weight[shop]@2",
        "weight[press]@1",
        "weight[press]@2",
    ]
    values = dict(zip(keys(space), (0.1, 0.2, 0.3, 0.4), strict=True))
    applied = space.apply(Candidate.of("ties", **values))
    assert applied.models[1].parameters["weight"] == Gradient((0.3, 0.4))
    space = made({"per": "filters", "filters": ["attention"], "parameters": {"density": [0.1, 1]}})
    assert keys(space) == ["density@attention", "density@rest"]
    rules = space.apply(
        Candidate.of("ties", **{"density@attention": 0.9, "density@rest": 0.2})
    ).parameters["density"]
    assert isinstance(rules, Rules)
    assert [(r.filter, r.value) for r in rules.rules] == [("attention", 0.9), (None, 0.2)]


def test_another_method_takes_what_it_knows_and_the_usual_for_the_rest() -> None:
    space = made(
        {"parameters": {"method": ["ties", "tsv_m", "sce"], "lambda": [0.5, 1.5]}},
        parameters={"density": 0.2, "lambda": 1.0},
    )
    assert keys(space, "sce") == []
    applied = space.apply(Candidate.of("tsv_m", **{"lambda": 1.2}))
    assert (applied.method, applied.parameters["lambda"]) == ("tsv_m", 1.2)
    bare = made({"parameters": {"density": [0.1, 1]}}, models=[{"model": "a"}, {"model": "b"}])
    assert bare.apply(bare.default).parameters["weight"] == default_values("ties", 2)["weight"]


def test_the_default_is_told_as_a_point_where_it_is_one() -> None:
    space = made({"parameters": {"weight": [0, 2]}})
    assert space.written() == {"weight": 1.0}
    uneven = made(
        {"parameters": {"weight": [0, 2]}},
        models=[
            {"model": "a", "parameters": {"weight": 1}},
            {"model": "b", "parameters": {"weight": 2}},
        ],
    )
    assert uneven.written() is None


@settings(deadline=None, max_examples=40)
@given(
    sampler=st.sampled_from(["grid", "random", "tpe"]),
    count=st.integers(0, 40),
    seed=st.integers(0, 9),
    per=st.sampled_from(["all", "model", "layers"]),
)
def test_starting_points_are_different_within_bounds_and_no_more_than_asked(
    sampler: str, count: int, seed: int, per: str
) -> None:
    space = made(
        {
            "sampler": sampler,
            "per": per,
            "parameters": {
                "weight": [0.5, 1.5],
                "density": {"low": 0.1, "high": 0.9, "step": 0.2},
                "method": ["ties", "dare_ties"],
            },
        }
    )
    found = initial_candidates(space, count, seed)
    assert len(found) <= count
    assert len(set(found)) == len(found)
    for one in found:
        for key, value in one.parameters:
            low, high = (0.5, 1.5) if key.startswith("weight") else (0.1, 0.9)
            assert low <= value <= high
            if key.startswith("density"):
                assert round((value - 0.1) / 0.2, 6) == round((value - 0.1) / 0.2)


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"parameters": {"weigth": [0, 1]}}, "did you mean 'weight'"),
        ({"parameters": {"density": [0, 2]}}, "takes 0 to 1"),
        ({"parameters": {"method": ["tiess"]}}, "did you mean 'ties'"),
        ({"parameters": {"method": [0.1, 0.2, 0.3]}}, "list of methods"),
        ({"parameters": {"method": ["ties", "slerp"]}}, "'slerp', which cannot fuse 2"),
        ({"parameters": {"lambda": {"low": 0, "high": 1, "per": "model"}}}, "one lambda for all"),
        ({"parameters": {"normalize": [0, 1]}}, "true or false"),
        ({"parameters": {"density": [True, False]}}, "takes numbers"),
    ],
)
def test_what_cannot_vary_is_told(search: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        made(search)


def test_a_method_without_coefficients_says_that_nothing_varies() -> None:
    with pytest.raises(BadInput, match="Nothing varies: the method 'arcee_fusion'"):
        made({}, "arcee_fusion", models=[{"model": "a"}])
