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


def test_a_path_needs_tasks(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--task"):
        run("path", "a", "b")
    with pytest.raises(BadInput, match="--project"):
        run("path", "a", "b", "--task", "shop")
    project = tmp_path / "plait.yaml"
    project.write_text("tasks: [{name: shop, dataset: data}]")
    with pytest.raises(BadInput, match="has no task 'press'; it has shop"):
        run("path", "a", "b", "--task", "press", "--project", project)
