# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.fusion.search import Space, build_space
from plait.fusion.search.closed_form import closed_form
from plait.fusion.weights.checkpoints import STATISTICS, open_checkpoint
from plait.recipes.fusion import parse_recipe

from ..weights.models import write_model, write_safetensors

NAMES = ["encoder.layer.0.dense.weight", "encoder.layer.1.dense.weight"]


def space(per: str = "model", **recipe: Any) -> Space:
    found = parse_recipe(
        {
            "merge_method": "task_arithmetic",
            "base_model": "base",
            "models": [{"model": "a"}, {"model": "b"}],
            "search": {"per": per, "parameters": {"weight": [-5, 5]}},
        }
        | recipe
    )
    assert found.search is not None
    return build_space(found, found.search)


@pytest.fixture
def world(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """A base, two models and the inputs of their owners' layers."""
    random = np.random.default_rng(0)
    weights = {
        m: {n: random.normal(size=(5, 4)).astype("f4") for n in NAMES} for m in ("base", "a", "b")
    }
    inputs = {
        m: {n: random.normal(size=(50, 4)) * (i + 1) for n in NAMES} for i, m in enumerate("ab")
    }
    for name, tensors in weights.items():
        write_model(tmp_path / name, tensors)
    for name, rows in inputs.items():
        grams = {f"gram.{n}": (x.T @ x / len(x)).astype("f4") for n, x in rows.items()}
        write_safetensors(tmp_path / name / STATISTICS, grams)
    models = {name: open_checkpoint(tmp_path / name) for name in weights}
    return {"weights": weights, "inputs": inputs, "models": models}


def misses(world: dict[str, dict[str, Any]], a: float, b: float) -> float:
    """How far the fused layers' outputs are from each owner's, on the owner's inputs."""
    weights, total = world["weights"], 0.0
    for owner, rows in world["inputs"].items():
        for name, x in rows.items():
            base = weights["base"][name]
            fused = base + a * (weights["a"][name] - base) + b * (weights["b"][name] - base)
            apart = x @ (fused - weights[owner][name]).T
            total += float(np.square(apart).sum()) / len(x)
    return total


def test_no_other_weights_come_nearer(world: dict[str, dict[str, Any]]) -> None:
    found = closed_form(space(), world["models"])
    assert found is not None
    values = found.values
    a, b = values["weight[a]"], values["weight[b]"]
    best = misses(world, a, b)
    for da, db in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02), (0.02, -0.02), (-0.3, 0.2)):
        assert misses(world, a + da, b + db) > best
    one = closed_form(space("all"), world["models"])
    assert one is not None
    weight = one.values["weight"]
    assert all(
        misses(world, weight, weight) < misses(world, weight + d, weight + d) for d in (-0.02, 0.02)
    )


def test_a_weight_stays_within_its_range(world: dict[str, dict[str, Any]]) -> None:
    narrow = space(search={"per": "model", "parameters": {"weight": [0.0, 0.01]}})
    found = closed_form(narrow, world["models"])
    assert found is not None
    assert all(0 <= value <= 0.01 for value in found.values.values())


@pytest.mark.parametrize(
    "recipe",
    [
        {"merge_method": "ties"},
        {"parameters": {"lambda": 0.5}},
        {"search": {"per": "layers", "parameters": {"weight": [0, 1]}}},
        {"search": {"parameters": {"weight": [0.1, 0.2, 0.3]}}},
        {"search": {"parameters": {"weight": [0, 1], "lambda": [0, 1]}}},
    ],
)
def test_elsewhere_there_is_none(recipe: dict[str, Any], world: dict[str, dict[str, Any]]) -> None:
    assert closed_form(space(**recipe), world["models"]) is None


def test_without_statistics_there_is_none(world: dict[str, dict[str, Any]]) -> None:
    models = {**world["models"], "b": world["models"]["base"]}
    assert closed_form(space(), models) is None
