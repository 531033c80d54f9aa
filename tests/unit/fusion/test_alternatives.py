# SPDX-License-Identifier: Apache-2.0
"""Whatever cannot be fused as asked, `plait check` names the level that works, and it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from plait.fusion import check
from plait.fusion.alternatives import instead_of, read_models

from . import synthetic

METHODS = {"outputs": "ensemble", "distillation": "distill", "weights": "linear"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    synthetic.bert(folder / "bert", width=16)
    synthetic.bert(folder / "stranger", width=16, seed=5)
    synthetic.distilbert(folder / "distilbert")
    synthetic.bert(folder / "topic", synthetic.TOPICS["topic"], width=16)
    for name in ("shop", "cinema", "topic"):
        synthetic.dataset(folder / f"data-{name}", name, train=24, held=60)
    for name in ("encoder", "relative", "copy"):
        (folder / name).mkdir()
        for file in (folder / "bert").iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
        config = json.loads((folder / name / "config.json").read_text())
        if name != "copy":  # these say one number
            config |= {"id2label": {"0": "score"}, "label2id": {"score": 0}}
        (folder / name / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def recipe(world: Path) -> Callable[..., dict[str, Any]]:
    def made(level: str, *models: str, tasks: tuple[str, ...] = ("shop",)) -> dict[str, Any]:
        if level == "weights":
            parameters = {"weight": 0.5}
            listed = [{"model": str(world / m), "parameters": parameters} for m in models]
            return {"merge_method": "linear", "models": listed}
        own = dict(zip(models, tasks, strict=False))
        return {
            "method": METHODS.get(level, level),
            "models": [
                {"name": m, "model": str(world / m)}
                | ({"tasks": [own[m]]} if level == "distillation" and m in own else {})
                for m in models
            ],
            "base_model": str(world / "bert"),
            "tasks": [synthetic.task(t, world / f"data-{t}") for t in tasks],
        }

    return made


@pytest.mark.parametrize(
    ("level", "models", "tasks", "instead"),
    [
        ("weights", ("bert", "stranger"), ("shop",), "outputs"),
        ("weights", ("bert", "distilbert"), ("shop",), "outputs"),
        ("weights", ("bert", "topic"), ("shop", "topic"), "distillation"),
        ("outputs", ("bert", "topic"), ("shop", "topic"), "distillation"),
        ("outputs", ("encoder", "relative"), ("shop",), "weights"),
        ("distillation", ("encoder", "relative"), ("shop",), "weights"),
    ],
)
def test_what_is_named_instead_works(
    recipe: Callable[..., dict[str, Any]],
    level: str,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    instead: str,
) -> None:
    found = check(recipe(level, *models, tasks=tasks))
    assert not found.fits
    named = str(found.instead).partition(":")[0]
    assert named == instead
    other = recipe(named, *models, tasks=tasks)
    assert check(other).fits, check(other).problems


def test_weights_of_no_classifiers_have_adapters_alone(
    recipe: Callable[..., dict[str, Any]], world: Path
) -> None:
    found = check(recipe("weights", "encoder", "distilbert"))
    assert str(found.instead).startswith("adapters")
    assert instead_of("outputs", read_models([world / "encoder", world / "distilbert"])) is None
    assert instead_of("distillation", read_models([world / "bert", world / "topic"])) is None


def test_what_fits_names_nothing(recipe: Callable[..., dict[str, Any]]) -> None:
    for level in ("weights", "outputs", "distillation", "auto"):
        found = check(recipe(level, "bert", "copy" if level == "weights" else "stranger"))
        assert found.fits and found.instead is None, level


def test_auto_says_when_no_level_is_possible(recipe: Callable[..., dict[str, Any]]) -> None:
    made = recipe("auto", "bert", "distilbert") | {"parameters": {"levels": ["members", "weights"]}}
    found = check(made)
    assert "No level fuses these models" in found.problems[0]
    assert str(found.instead).startswith("outputs")


def test_a_search_takes_what_its_candidates_do(
    recipe: Callable[..., dict[str, Any]], world: Path
) -> None:
    plain = check(recipe("weights", "bert", "copy"))
    made = recipe("weights", "bert", "copy")
    made |= {"tasks": [synthetic.task("shop", world / "data-shop")]}
    few = check(made | {"search": {"budget": 3, "parameters": {"weight": [0, 1]}}})
    many = check(made | {"search": {"budget": 300, "parameters": {"weight": [0, 1]}}})
    assert plain.cost and few.cost and many.cost
    assert plain.cost.output_bytes == few.cost.output_bytes == many.cost.output_bytes
    assert few.cost.memory_bytes > plain.cost.memory_bytes + 400_000_000
    assert many.cost.cpu_seconds > few.cost.cpu_seconds > plain.cost.cpu_seconds + 5


def test_a_search_without_validation_items_names_methods_that_need_none(
    recipe: Callable[..., dict[str, Any]], world: Path
) -> None:
    made = recipe("weights", "bert", "copy")
    made |= {
        "tasks": [synthetic.task("shop", world / "data-shop")],
        "splits": {"validation": "dev"},
        "search": {"budget": 3, "parameters": {"weight": [0, 1]}},
    }
    found = check(made)
    assert "lacks" in found.problems[0]
    assert "regmean_plusplus" in str(found.instead)
