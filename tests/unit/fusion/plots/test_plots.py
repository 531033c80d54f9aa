# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion import fuse
from plait.fusion.plots import (
    Contributions,
    draw_layers,
    draw_path,
    draw_table,
    measure_layers,
    measure_path,
    read_table,
)
from plait.fusion.search.plot import plot
from plait.recipes.project import parse_tasks

from .. import synthetic
from ..weights.models import write_model


def words(svg: str) -> str:
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    inner = root.find("{*}svg")
    assert inner is not None and inner.get("aria-labelledby")
    assert root.findall(".//{*}title") and root.findall(".//{*}desc")
    assert "NaN" not in svg and "nan" not in svg and "inf" not in svg.lower().replace("info", "")
    return " ".join("".join(e.itertext()) for e in root.iter() if e.tag.endswith("text"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A base, and two models that changed layer 0 alike and half of layer 1 oppositely."""
    names = [f"bert.encoder.layer.{i}.w" for i in range(2)]
    base = {name: np.ones((4, 4), np.float32) for name in names}
    change = np.full((4, 4), 0.5, np.float32)
    half = change.copy()
    half[:2] *= -1
    write_model(tmp_path / "base", base)
    write_model(tmp_path / "one", {n: base[n] + change for n in names})
    write_model(
        tmp_path / "two", {names[0]: base[names[0]] + change, names[1]: base[names[1]] + half}
    )
    (tmp_path / "recipe.yaml").write_text(
        "{merge_method: task_arithmetic, base_model: base, parameters: {weight: 0.5}, "
        "models: [{model: one}, {model: two}]}"
    )
    return tmp_path


def test_layers_have_distances_and_conflicts(models: Path) -> None:
    found = measure_layers(Contributions.of(models / "recipe.yaml"))
    assert found["layers"] == ["bert.encoder.layer.0", "bert.encoder.layer.1"]
    assert found["distances"] == {"one": [0.5, 0.5], "two": [0.5, 0.5]}
    assert found["conflicts"] == {"one · two": [0.0, 0.5]}
    assert found["all"] == {"one · two": 0.25}
    drawn = words(draw_layers(found))
    assert all(name in drawn for name in ("one", "two", "one · two", "50"))


def test_a_fused_folder_shows_its_own_distance(models: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(models)
    fuse(models / "recipe.yaml", models / "out")
    found = measure_layers(Contributions.of(models / "out"))
    assert found["distances"]["fused"] == [0.5, pytest.approx(0.5 / np.sqrt(2))]
    assert "fused" in words(draw_layers(found))


def test_many_models_are_drawn_as_a_matrix() -> None:
    names = [f"model{i}" for i in range(8)]
    pairs = {f"{a} · {b}": 0.4 for i, a in enumerate(names) for b in names[i + 1 :]}
    data = {
        "layers": ["l.0", "l.1"],
        "models": names,
        "distances": {name: [0.1, 0.2] for name in names},
        "conflicts": {pair: [0.4, 0.4] for pair in pairs},
        "all": pairs,
    }
    drawn = words(draw_layers(data))
    assert drawn.count("40") == 56  # each pair twice, none with itself
    assert "model0 · model1" not in drawn


def test_layers_need_a_base(models: Path) -> None:
    (models / "none.yaml").write_text("{merge_method: linear, models: [{model: one}]}")
    with pytest.raises(BadInput, match="--base"):
        Contributions.of(models / "none.yaml")
    with pytest.raises(BadInput, match="not made by a fusion"):
        Contributions.of(models / "one")


def test_the_line_between_two_models(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    base = synthetic.bert(tmp_path / "base")
    tuned = synthetic.train(base, "shop", tmp_path / "tuned")
    data = synthetic.dataset(tmp_path / "data-shop", "shop", poisoned=True)
    tasks = parse_tasks([synthetic.task("shop", data)], "tasks")
    found = measure_path(str(base), str(tuned), tasks, points=5, threads=1)
    points = found["tasks"]["shop"]["points"]
    assert [p["t"] for p in points] == [-0.25, 0.0, 0.125, 0.5, 0.875, 1.0, 1.25]
    by_t = {p["t"]: p for p in points}
    assert by_t[1.0]["score"] > by_t[0.0]["score"]
    assert by_t[1.0]["loss"] < by_t[0.0]["loss"]
    assert all(p["low"] <= p["score"] <= p["high"] for p in points)
    from plait.evaluation import evaluate
    from plait.fusion.datasets import load_tasks

    own = evaluate(tuned, load_tasks(tasks, Path(), "validation"), "validation")
    assert by_t[1.0]["score"] == pytest.approx(own.average, abs=1e-6)
    assert found["tasks"]["shop"]["barrier"] >= 0
    drawn = words(draw_path(found))
    assert "base" in drawn and "tuned" in drawn and "Loss" in drawn


def test_a_line_needs_tasks_and_points() -> None:
    with pytest.raises(BadInput, match="at least one task"):
        measure_path("a", "b", ())
    tasks = parse_tasks([{"name": "t", "dataset": "d"}], "tasks")
    with pytest.raises(BadInput, match="3 to 1,000"):
        measure_path("a", "b", tasks, points=2)


def evaluation(file: Path, scores: dict[str, float], split: str = "test") -> Path:
    file.write_text(
        json.dumps(
            {
                "split": split,
                "average": sum(scores.values()) / len(scores),
                "tasks": {n: {"score": s, "metric": "accuracy"} for n, s in scores.items()},
            }
        )
    )
    return file


def test_models_by_tasks(tmp_path: Path) -> None:
    files = [
        evaluation(tmp_path / "one.json", {"shop": 0.9, "press": 0.5}),
        evaluation(tmp_path / "two.json", {"shop": 0.7, "social": 0.8}),
    ]
    found = read_table(files)
    assert found["tasks"] == ["shop", "press", "social", "average"]
    assert found["scores"][1] == [0.7, None, 0.8, 0.75]
    drawn = words(draw_table(found))
    assert all(text in drawn for text in ("one", "two", "90.0", "75.0"))


def test_scores_of_different_splits_are_not_compared(tmp_path: Path) -> None:
    files = [
        evaluation(tmp_path / "a.json", {"t": 0.5}),
        evaluation(tmp_path / "b.json", {"t": 0.5}, "validation"),
    ]
    with pytest.raises(BadInput, match="different splits"):
        read_table(files)
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(BadInput, match="not an evaluation"):
        read_table([tmp_path / "c.json"])
    with pytest.raises(BadInput, match="2 evaluations but 1 names"):
        read_table(files, ["only"])


def report(alone: bool) -> dict[str, Any]:
    points = [
        {
            "method": "ties",
            "parameters": {"density": v, **({} if alone else {"lambda": v + 1})},
            "score": s,
            "low": s - 0.1 if whole else None,
            "high": s + 0.1 if whole else None,
            "folds": [],
            "items": 10,
            "whole": whole,
        }
        for v, s, whole in ((0.5, 0.7, True), (0.2, 0.5, False), (0.9, 0.8, True))
    ]
    curve = {
        "method": "ties",
        "parameter": "density",
        "points": [{"value": p["parameters"]["density"], **p} for p in points],
        "chosen": 0.9,
        "default": 0.5,
        "alone": alone,
    }
    return {
        "points": points,
        "curves": [curve] if alone else [curve, {**curve, "parameter": "lambda", "points": []}],
        "metric": "accuracy",
        "split": "validation",
        "reason": "It is better.",
        "tasks": [{"items": 10}],
        "default": 0,
        "chosen": 2,
    }


def test_a_search_is_drawn_over_one_coefficient_or_in_order() -> None:
    one = words(plot(report(alone=True)))
    assert "density" in one and "dropped early" in one and "chosen" in one
    several = words(plot(report(alone=False)))
    assert "candidates, in order" in several and "chosen" in several
    assert "density" in words(plot(report(alone=False), "density"))
    with pytest.raises(BadInput, match="did you mean 'density'"):
        plot(report(alone=False), "densty")
