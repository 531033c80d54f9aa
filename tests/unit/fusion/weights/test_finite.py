# SPDX-License-Identifier: Apache-2.0
"""NaN and infinity are found before anything long is done, and named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.cli.options import print_json
from plait.fusion.weights import check_recipe
from plait.fusion.weights.ancestry import compare_models
from plait.fusion.weights.checkpoints import open_checkpoint
from plait.fusion.weights.finite import PIECE, refused, refused_folders

from .models import bert, write_model

Family = Callable[..., dict[str, Path]]
MATRIX = "bert.encoder.layer.1.attention.self.query.weight"


def spoiled(seed: int, value: float, name: str = MATRIX, place: int | None = None) -> Any:
    tensors = bert(seed)
    assert name in tensors
    values = tensors[name].copy()
    values.reshape(-1)[values.size // 2 if place is None else place] = value
    return tensors | {name: values}


def recipe(folders: dict[str, Path], method: str = "linear", **more: Any) -> dict[str, Any]:
    models = [{"model": str(f), "parameters": {"weight": 0.5}} for f in folders.values()]
    return {"merge_method": method, "models": models} | more


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("broken", ["base", "m0"])
def test_a_model_that_holds_none_is_named_and_no_stranger(
    family: Family, value: float, broken: str
) -> None:
    folders = family(2)
    write_model(folders[broken], spoiled(0, value))
    report = check_recipe(recipe(folders))
    kind = "NaN" if math.isnan(value) else "infinity"
    assert len(report.problems) == 1
    assert f"'{folders[broken]}': tensor '{MATRIX}' holds {kind}" in report.problems[0]
    assert report.instead is None
    told = json.dumps(report.as_dict(), allow_nan=False)
    assert "unrelated" not in told
    assert len(report.relations) == (0 if broken == "base" else 1)


def test_ancestry_leaves_out_what_it_cannot_compare(family: Family) -> None:
    folders = family(2)
    write_model(folders["m1"], spoiled(1, math.nan))
    models = {name: open_checkpoint(folder) for name, folder in folders.items()}
    relations, agreements = compare_models(models, "base")
    assert [(r.model, r.kinship) for r in relations] == [("m0", "related")]
    assert agreements == []
    assert compare_models(models, "m1") == ([], [])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("place", [0, 4 * PIECE + 5, -1])
def test_of_large_models_pieces_are_read(tmp_path: Path, dtype: str, place: int) -> None:
    values = np.zeros(9 * PIECE + 7, dtype)
    values[place] = np.inf
    write_model(tmp_path / "m", {"a": np.ones(3, dtype), "w": values})
    entries = {"m": list(open_checkpoint(tmp_path / "m").tensors.values())}
    element = place % values.size
    assert f"'w' holds infinity (element {element:,})" in refused(entries)["m"]
    assert f"(element {element:,})" in refused(entries, whole=1000)["m"]
    values[place], values[2 * PIECE] = 0, np.inf  # between the pieces
    write_model(tmp_path / "m", {"a": np.ones(3, dtype), "w": values})
    assert refused(entries, whole=1000) == {}
    assert refused(entries)


def test_heads_in_folders_of_their_own_are_read_and_statistics_are_not(tmp_path: Path) -> None:
    good, bad = {"w": np.ones(3, np.float32)}, {"w": np.full(3, np.nan, np.float32)}
    write_model(tmp_path / "m", good)
    write_model(tmp_path / "m" / "heads" / "shop", good)
    (tmp_path / "m" / "plait_statistics.safetensors").write_bytes(
        (write_model(tmp_path / "bad", bad) / "model.safetensors").read_bytes()
    )
    assert refused_folders({"m": tmp_path / "m"}) == {}
    write_model(tmp_path / "m" / "heads" / "shop", bad)
    assert "'w' holds NaN" in refused_folders({"m": tmp_path / "m"})["m"]


def test_the_command_prints_json_that_others_can_read(family: Family, tmp_path: Path) -> None:
    folders = family(1)
    write_model(folders["m0"], spoiled(1, math.nan))
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe(folders)))
    done = CliRunner().invoke(app, ["check", str(tmp_path / "recipe.yaml"), "--json"])
    assert done.exit_code == 1

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert "holds NaN" in json.loads(done.output, parse_constant=refuse)["problems"][0]


def test_what_is_no_finite_number_is_printed_as_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [math.nan, 1.5], "b": -math.inf, "c": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": None, "c": "x"}
