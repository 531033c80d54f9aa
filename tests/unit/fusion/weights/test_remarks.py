# SPDX-License-Identifier: Apache-2.0
"""What runs and was hardly meant is said, by the check and by the fusion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.fusion import fuse
from plait.fusion.weights import check_recipe

from .models import bert, write_model

Family = Callable[..., dict[str, Path]]


def recipe(folders: dict[str, Path], method: str = "linear", **more: Any) -> dict[str, Any]:
    models = [{"model": str(f), "parameters": {"weight": 0.5}} for f in folders.values()]
    return {"merge_method": method, "models": models} | more


def both(made: dict[str, Any], out: Path) -> tuple[list[str], list[str]]:
    """Return the notes of the check and the warnings of the fusion."""
    found = check_recipe(made)
    assert found.fits, found.problems
    return found.notes, list(fuse(made, out).report.get("warnings", ()))


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("atention.self", "attention.self"),
        ("clasifier", "classifier"),
        ("self_attn", ""),
        ("layer.7.", "layer.2"),
    ],
)
def test_a_filter_that_holds_for_nothing(
    family: Family, tmp_path: Path, text: str, near: str
) -> None:
    made = recipe(family(1))
    made["models"][1]["parameters"]["weight"] = [
        {"filter": "attention", "value": 0.3},
        {"filter": text, "value": 0.9},
        {"value": 0.5},
    ]
    for told in both(made, tmp_path / "out"):
        (note,) = [line for line in told if line.startswith("The filter")]
        assert f"The filter '{text}' of 'weight' is a part of no tensor's name" in note
        assert (f"did you mean '{near}'?" in note) if near else note.endswith(("?", "."))


def test_filters_that_hold_are_not_spoken_of(family: Family, tmp_path: Path) -> None:
    made = recipe(family(1), parameters={"weight": [{"filter": "*", "value": 1}]})
    made["models"][0]["parameters"]["weight"] = [
        {"filter": "layer.2.", "value": 0.3},
        {"filter": "bias", "value": 0.2},
        {"value": 0.5},
    ]
    assert both(made, tmp_path / "out")[1] == []


@pytest.mark.parametrize(("t", "told"), [(7, True), (-0.2, True), ([0, 0.5, 1], False), (1, False)])
def test_an_arc_that_goes_beyond(family: Family, tmp_path: Path, t: Any, told: bool) -> None:
    folders = family(1)
    made = {
        "merge_method": "slerp",
        "base_model": str(folders["base"]),
        "models": [{"model": str(folders["m0"])}],
        "parameters": {"t": t},
    }
    for lines in both(made, tmp_path / "out"):
        assert any(line.startswith(f"'t' is {t}:") for line in lines) is told


def test_a_model_without_a_configuration(family: Family, tmp_path: Path) -> None:
    folders = family(1)
    (folders["m0"] / "config.json").unlink()
    for told in both(recipe(folders), tmp_path / "one"):
        (note,) = [line for line in told if "config.json" in line]
        assert note.startswith(f"'{folders['m0']}' has no config.json: whether")
    (folders["base"] / "config.json").unlink()
    for told in both(recipe(folders), tmp_path / "none"):
        assert any("neither has the result" in line for line in told)


def test_strangers_are_fused_with_a_warning(family: Family, tmp_path: Path) -> None:
    folders = family(1)
    write_model(folders["m0"], bert(99))
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe(folders)))
    done = CliRunner().invoke(app, ["fuse", str(path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "warning: " in done.stderr
    assert "do not come from one base" in done.stderr
    assert "warning" not in done.stdout
    done = CliRunner().invoke(app, ["fuse", str(path), "-o", str(tmp_path / "too"), "--json"])
    (told,) = json.loads(done.stdout)["report"]["warnings"]
    assert "hardly work" in told


def test_families_and_stacked_strangers_give_none(family: Family, tmp_path: Path) -> None:
    folders = family(2)
    assert "warnings" not in fuse(recipe(folders), tmp_path / "out").report
    write_model(folders["m0"], bert(99))
    slices = [{"sources": [{"model": str(f), "layer_range": [0, 2]}]} for f in folders.values()]
    stacked = {"merge_method": "passthrough", "slices": slices}
    assert "warnings" not in fuse(stacked, tmp_path / "stacked").report


def test_warnings_of_earlier_documents_are_told(family: Family, tmp_path: Path) -> None:
    folders = family(2)
    first = recipe(folders) | {"name": "both"}
    first["models"][0]["parameters"]["weight"] = [{"filter": "nothng", "value": 1}, {"value": 1}]
    second = recipe({"both": Path("both"), "m0": folders["m0"]})
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(first) + "\n---\n" + json.dumps(second))
    assert "'nothng'" in fuse(path, tmp_path / "out").report["warnings"][0]


@pytest.mark.parametrize("text", ["1e-1", "1E-1", "+1.e-1", ".1e0", "0.1e+0"])
def test_numbers_as_json_and_yaml_1_2_write_them(family: Family, tmp_path: Path, text: str) -> None:
    folders = family(1)
    made = (
        f"merge_method: linear\nmodels:\n- model: {folders['base']}\n"
        f"  parameters: {{weight: {text}}}\n- model: {folders['m0']}\n  parameters: {{weight: 1}}\n"
    )
    result = fuse(made, tmp_path / text)
    assert result.outputs == fuse(made.replace(text, "0.1"), tmp_path / "plain").outputs
