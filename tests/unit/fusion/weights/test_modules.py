# SPDX-License-Identifier: Apache-2.0
"""Models with several parts, and recipes with several documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from plait.errors import BadInput
from plait.fusion.weights import fuse, fused_tensors

from .models import read_safetensors, write_model

SHAPES = ("shared.weight", "encoder.final.weight", "decoder.final.weight", "lm_head.weight")


def written(folder: Path, value: float, layers: int = 3) -> str:
    names = [
        *SHAPES,
        *(f"{part}.block.{i}.w" for part in ("encoder", "decoder") for i in range(layers)),
    ]
    tensors = {n: np.full(2, value + i / 16, np.float32) for i, n in enumerate(names)}
    config = {"num_layers": layers, "num_decoder_layers": layers}
    return str(write_model(folder, tensors, model_type="t5", **config))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return written(tmp_path / "one", 1.0), written(tmp_path / "two", 2.0)


def source(model: str, low: int, high: int) -> dict[str, Any]:
    return {"model": model, "layer_range": [low, high]}


def test_each_module_has_its_own_models(pair: tuple[str, str]) -> None:
    data = {
        "merge_method": "passthrough",
        "modules": {
            "encoder": {"models": [{"model": pair[0]}]},
            "decoder": {"models": [{"model": pair[1]}], "parameters": {"scale": 10}},
        },
    }
    made = dict(fused_tensors(data))
    assert made["encoder.block.0.w"][0] < 2
    assert made["decoder.block.0.w"][0] > 20
    assert made["shared.weight"][0] == 1  # it comes before the layers: the first module's
    assert made["lm_head.weight"][0] > 20


def test_modules_of_slices_tell_their_depths(pair: tuple[str, str], tmp_path: Path) -> None:
    data = {
        "merge_method": "passthrough",
        "modules": {
            "encoder": {
                "slices": [
                    {"sources": [source(pair[0], 0, 3)]},
                    {"sources": [source(pair[1], 1, 3)]},
                ]
            },
            "decoder": {"slices": [{"sources": [source(pair[1], 0, 2)]}]},
        },
    }
    fuse(data, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["num_layers"], config["num_decoder_layers"]) == (5, 2)
    made = read_safetensors(tmp_path / "out" / "model.safetensors")
    one, two = (read_safetensors(Path(m) / "model.safetensors") for m in pair)
    np.testing.assert_array_equal(made["encoder.block.4.w"], two["encoder.block.2.w"])
    np.testing.assert_array_equal(made["encoder.block.2.w"], one["encoder.block.2.w"])
    np.testing.assert_array_equal(made["decoder.block.1.w"], two["decoder.block.1.w"])
    assert "decoder.block.2.w" not in made


def test_one_module_is_the_whole_model(pair: tuple[str, str]) -> None:
    models = [{"model": m, "parameters": {"weight": 1}} for m in pair]
    plain = dict(fused_tensors({"merge_method": "linear", "models": models}))
    made = dict(
        fused_tensors({"merge_method": "linear", "modules": {"default": {"models": models}}})
    )
    assert plain.keys() == made.keys()
    for name, values in plain.items():
        np.testing.assert_array_equal(made[name], values)


def test_a_module_that_is_not_there(pair: tuple[str, str]) -> None:
    modules = {n: {"models": [{"model": pair[0]}]} for n in ("encoder", "decodr")}
    with pytest.raises(BadInput, match=r"no module 'decodr'.*decoder, encoder"):
        list(fused_tensors({"merge_method": "passthrough", "modules": modules}))


def stages(pair: tuple[str, str]) -> str:
    def average(*models: str) -> dict[str, Any]:
        own = [{"model": m, "parameters": {"weight": 1}} for m in models]
        return {"merge_method": "linear", "models": own}

    return yaml.safe_dump_all([average("middle", pair[1]), {"name": "middle", **average(*pair)}])


def test_documents_are_made_one_after_the_other(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    fuse(stages(pair), out)
    made = read_safetensors(out / "model.safetensors")
    assert made["shared.weight"][0] == 1.75
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "out", "two"]


def test_a_stage_that_was_made_is_used_again(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plait.fusion.weights import run

    real: Callable[..., Any] = run.write_companions
    made: list[str] = []

    def failing(folder: Path, *rest: Any) -> None:
        made.append(folder.name)
        if "out" in folder.name:
            raise KeyboardInterrupt
        real(folder, *rest)

    monkeypatch.setattr(run, "write_companions", failing)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fuse(stages(pair), tmp_path / "out")
    assert [n for n in made if "middle" in n] == [".middle.fusing"]
