# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.errors import BadInput


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["plot", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def evaluation(file: Path, score: float) -> Path:
    task = {"score": score, "metric": "accuracy"}
    file.write_text(json.dumps({"split": "test", "average": score, "tasks": {"shop": task}}))
    return file


def test_a_picture_and_its_numbers(tmp_path: Path) -> None:
    files = [evaluation(tmp_path / f"{name}.json", s) for name, s in (("a", 0.5), ("b", 0.75))]
    out = tmp_path / "table.svg"
    assert f"Wrote {out}" in run("heatmap", *files, "-o", out)
    assert out.read_text("utf-8").startswith("<svg ")
    assert json.loads(run("heatmap", *files, "--json"))["scores"] == [[0.5], [0.75]]
    named = run("heatmap", *files, "--name", "first", "--name", "second", "-o", out, "--json")
    assert json.loads(named)["models"] == ["first", "second"]
    assert "second" in out.read_text("utf-8")


def test_only_svg_is_written(tmp_path: Path) -> None:
    file = evaluation(tmp_path / "a.json", 0.5)
    with pytest.raises(BadInput, match=r"table\.svg"):
        run("heatmap", file, "-o", tmp_path / "table.png")
    assert not (tmp_path / "table.png").exists()


def test_what_was_not_searched_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "plait_fusion.json").write_text('{"recipe": {}}')
    with pytest.raises(BadInput, match="without a search"):
        run("curve", tmp_path)
    with pytest.raises(BadInput, match="not made by a fusion"):
        run("curve", tmp_path / "nothing")


def test_an_ensemble_has_a_curve_for_its_share_or_for_each_models(tmp_path: Path) -> None:
    points = [{"value": v, "score": 0.5 + v, "low": 0.4, "high": 0.9} for v in (0.0, 0.2, 0.4)]
    one = {"parameter": "alpha", "points": points, "chosen": 0.2, "default": 0.5}
    shared = {"members": ["a", "b"], "metrics": ["accuracy"]}
    report = tmp_path / "plait_fusion.json"
    report.write_text(json.dumps({"search": shared | one | {"axis": "alpha (share of a)"}}))
    out = tmp_path / "curve.svg"
    run("curve", tmp_path, "-o", out)
    assert "alpha (share of a)" in out.read_text("utf-8")
    assert "chosen 0.20" in out.read_text("utf-8")
    several = [one | {"parameter": f"share of {name}"} for name in "abc"]
    report.write_text(json.dumps({"search": shared | {"members": [*"abc"], "curves": several}}))
    run("curve", tmp_path, "-o", out)
    assert "share of c" in out.read_text("utf-8")
    run("curve", tmp_path, "-o", out, "--parameter", "share of b")
    assert "share of c" not in out.read_text("utf-8")
    with pytest.raises(BadInput, match="did you mean 'share of b'"):
        run("curve", tmp_path, "-o", out, "--parameter", "shar of b")


@pytest.mark.parametrize("found", [{"points": 3}, {"points": [{}]}, {"curves": [1], "members": []}])
def test_a_report_that_is_none_is_a_sentence(tmp_path: Path, found: object) -> None:
    (tmp_path / "plait_fusion.json").write_text(json.dumps({"search": found}))
    with pytest.raises(BadInput, match="no search that Plait wrote"):
        run("curve", tmp_path, "-o", tmp_path / "out.svg")
    assert not (tmp_path / "out.svg").exists()


def test_a_path_needs_tasks(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--task"):
        run("path", "a", "b")
    with pytest.raises(BadInput, match="--project"):
        run("path", "a", "b", "--task", "shop")
    project = tmp_path / "plait.yaml"
    project.write_text("tasks: [{name: shop, dataset: data}]")
    with pytest.raises(BadInput, match="has no task 'press'; it has shop"):
        run("path", "a", "b", "--task", "press", "--project", project)
