# SPDX-License-Identifier: Apache-2.0
"""Adapters extracted from fine-tunes: what goes in comes out, and errors are the best there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.errors import BadInput, Conflict
from plait.fusion.weights import fused_tensors
from plait.fusion.weights.extract import extract_adapter

from .models import write_model

RANDOM = np.random.default_rng(0)
BASE = {
    "model.layers.0.self_attn.q_proj.weight": RANDOM.standard_normal((12, 8)).astype(np.float32),
    "model.layers.0.mlp.down_proj.weight": RANDOM.standard_normal((8, 20)).astype(np.float32),
    "model.norm.weight": np.ones(8, np.float32),
}
MATRICES = list(BASE)[:2]


def pair(tmp_path: Path, rank: int | None, kind: str = "llama") -> tuple[Path, Path]:
    tuned = dict(BASE)
    for name in MATRICES:
        rows, columns = BASE[name].shape
        inner = rank or min(rows, columns)
        change = RANDOM.standard_normal((rows, inner)) @ RANDOM.standard_normal((inner, columns))
        tuned[name] = BASE[name] + (0.1 * change).astype(np.float32)
    return (
        write_model(tmp_path / "base", BASE, model_type=kind),
        write_model(tmp_path / "tuned", tuned, model_type=kind),
    )


def adapted(base: Path, adapter: Path) -> dict[str, np.ndarray]:
    models = [{"model": f"{base}+{adapter}", "parameters": {"weight": 1}}]
    return dict(fused_tensors({"merge_method": "linear", "models": models}))


def values(folder: Path) -> dict[str, np.ndarray]:
    models = [{"model": str(folder), "parameters": {"weight": 1}}]
    return dict(fused_tensors({"merge_method": "linear", "models": models}))


@pytest.mark.parametrize("rank", [3, 16])
def test_a_change_of_low_rank_comes_out_whole(tmp_path: Path, rank: int) -> None:
    base, tuned = pair(tmp_path, 3)
    found = extract_adapter(base, tuned, tmp_path / "lora", rank=rank)
    assert found.kept == pytest.approx(1)
    for name, wanted in values(tuned).items():
        np.testing.assert_allclose(adapted(base, found.out)[name], wanted, atol=1e-5)


def test_what_is_kept_is_the_best_of_its_rank(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, None)
    found = extract_adapter(base, tuned, tmp_path / "lora", rank=2)
    made, wanted = adapted(base, found.out), values(tuned)
    lost = total = 0.0
    for name in MATRICES:
        sizes = np.linalg.svd(wanted[name] - BASE[name], compute_uv=False)
        error = np.square(made[name] - wanted[name]).sum()
        assert error == pytest.approx(np.square(sizes[2:]).sum(), rel=1e-4)
        lost, total = lost + error, total + np.square(sizes).sum()
    assert found.kept == pytest.approx(1 - lost / total, rel=1e-5)


def test_layers_that_store_inputs_first(tmp_path: Path) -> None:
    name = "transformer.h.0.attn.c_attn.weight"
    start = RANDOM.standard_normal((8, 24)).astype(np.float32)
    change = (RANDOM.standard_normal((8, 2)) @ RANDOM.standard_normal((2, 24))).astype(np.float32)
    base = write_model(tmp_path / "base", {name: start}, model_type="gpt2")
    tuned = write_model(tmp_path / "tuned", {name: start + change}, model_type="gpt2")
    found = extract_adapter(base, tuned, tmp_path / "lora", rank=2)
    assert json.loads((found.out / "adapter_config.json").read_text())["fan_in_fan_out"] is True
    np.testing.assert_allclose(adapted(base, found.out)[name], start + change, atol=1e-5)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, 1)
    write_model(
        tuned, values(tuned) | {"model.norm.weight": np.full(8, 2, np.float32)}, model_type="llama"
    )
    command: list[Any] = ["extract", tuned, "--base", base, "-o", tmp_path / "lora", "--rank", 1]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0
    assert "2 matrices at rank 1, 100.0%" in done.output
    assert "such as model.norm.weight" in done.output


def test_what_cannot_be(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, 1)
    with pytest.raises(BadInput, match="nothing to extract"):
        extract_adapter(base, base, tmp_path / "lora")
    with pytest.raises(BadInput, match="rank must be"):
        extract_adapter(base, tuned, tmp_path / "lora", rank=0)
    with pytest.raises(Conflict):
        extract_adapter(base, tuned, tuned)
    assert not (tmp_path / "lora").exists()
