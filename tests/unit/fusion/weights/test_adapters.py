# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters as inputs: `model+adapter`, without anything written in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.weights import engine, fuse, fused_tensors

from .models import write_model, write_safetensors

RANK = 3
WEIGHTS = {
    "model.layers.0.proj.weight": (6, 4),
    "model.layers.1.proj.weight": (6, 4),
    "model.embed_tokens.weight": (10, 4),
    "head.weight": (2, 4),
}
PROJ = "base_model.model.model.layers.0.proj"


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def base(folder: Path) -> tuple[str, dict[str, np.ndarray]]:
    tensors = {n: drawn(*s) for n, s in WEIGHTS.items()}
    return str(write_model(folder, tensors, model_type="llama")), tensors


def adapter(folder: Path, tensors: dict[str, np.ndarray], **config: Any) -> str:
    folder.mkdir()
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    told = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, **config}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return str(folder)


def pair(rows: int = 6, columns: int = 4, prefix: str = PROJ) -> dict[str, np.ndarray]:
    return {
        f"{prefix}.lora_A.weight": drawn(RANK, columns),
        f"{prefix}.lora_B.weight": drawn(rows, RANK),
    }


def made(reference: str) -> dict[str, np.ndarray]:
    models = [{"model": reference, "parameters": {"weight": 1}}]
    return dict(fused_tensors({"merge_method": "linear", "models": models}))


@pytest.mark.parametrize("block", [131_072, 5])
def test_the_change_is_on_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(engine, "BLOCK", block)
    folder, tensors = base(tmp_path / "base")
    both = pair()
    found = made(f"{folder}+{adapter(tmp_path / 'lora', both)}")
    a, b = both.values()
    wanted = tensors["model.layers.0.proj.weight"] + 6 / RANK * (b @ a)
    np.testing.assert_allclose(found["model.layers.0.proj.weight"], wanted, rtol=1e-5, atol=1e-6)
    for name in set(WEIGHTS) - {"model.layers.0.proj.weight"}:
        np.testing.assert_array_equal(found[name], tensors[name])


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"use_rslora": True}, 6 / RANK**0.5),
        ({"alpha_pattern": {"layers.0.proj": 12}}, 12 / RANK),
        ({"alpha_pattern": {"layers.1.proj": 12}}, 6 / RANK),
    ],
)
def test_scales(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    folder, tensors = base(tmp_path / "base")
    a, b = pair().values()
    found = made(f"{folder}+{adapter(tmp_path / 'lora', pair(), **config)}")
    wanted = tensors["model.layers.0.proj.weight"] + scale * (b @ a)
    np.testing.assert_allclose(found["model.layers.0.proj.weight"], wanted, rtol=1e-5, atol=1e-6)


def test_layers_that_store_inputs_first(tmp_path: Path) -> None:
    folder, tensors = base(tmp_path / "base")
    both = pair(rows=4, columns=6)
    a, b = both.values()
    found = made(f"{folder}+{adapter(tmp_path / 'lora', both, fan_in_fan_out=True)}")
    wanted = tensors["model.layers.0.proj.weight"] + 2 * (b @ a).T
    np.testing.assert_allclose(found["model.layers.0.proj.weight"], wanted, rtol=1e-5, atol=1e-6)


def test_embeddings_and_whole_modules(tmp_path: Path) -> None:
    folder, tensors = base(tmp_path / "base")
    a, b = drawn(RANK, 10), drawn(4, RANK)
    found = made(
        f"{folder}+"
        + adapter(
            tmp_path / "lora",
            {
                "base_model.model.model.embed_tokens.lora_embedding_A": a,
                "base_model.model.model.embed_tokens.lora_embedding_B": b,
                "base_model.model.head.weight": drawn(2, 4) * 7,
            },
        )
    )
    wanted = tensors["model.embed_tokens.weight"] + 2 * (b @ a).T
    np.testing.assert_allclose(found["model.embed_tokens.weight"], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["head.weight"], drawn(2, 4) * 7)


def test_two_adapters_of_one_base(tmp_path: Path) -> None:
    folder, tensors = base(tmp_path / "base")
    one = adapter(tmp_path / "one", pair())
    two = adapter(tmp_path / "two", {n: -v for n, v in pair().items()})
    data = {
        "merge_method": "task_arithmetic",
        "base_model": folder,
        "models": [
            {"model": f"{folder}+{one}", "parameters": {"weight": 0.5}},
            {
                "model": {"model": {"path": folder}, "lora": {"path": two}},
                "parameters": {"weight": 0.25},
            },
        ],
    }
    a, b = pair().values()
    result = fuse(data, tmp_path / "out")
    assert "adapter_model.safetensors" in result.inputs[f"{folder}+{one}"]
    found = dict(fused_tensors(data))["model.layers.0.proj.weight"]
    # the second's A and B are both negated: their product is the first's
    wanted = tensors["model.layers.0.proj.weight"] + 0.75 * 2 * (b @ a)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "config", "says"),
    [
        (pair(), {"peft_type": "IA3"}, "of the kind IA3"),
        (pair(), {"use_dora": True}, "DoRA"),
        (pair(prefix="base_model.model.other"), {}, "which its base does not have"),
        (pair(rows=5), {}, "does not fit the base"),
        ({f"{PROJ}.lora_A.weight": drawn(RANK, 4)}, {}, "needs both A and B"),
        (pair(), {"lora_alpha": "x"}, "'lora_alpha' must be a number"),
        ({"base_model.model.head.weight": drawn(3, 4)}, {}, "has the shape"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], says: str
) -> None:
    folder, _ = base(tmp_path / "base")
    with pytest.raises(BadInput, match=says):
        made(f"{folder}+{adapter(tmp_path / 'lora', tensors, **config)}")


def test_an_adapter_alone_needs_its_base(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="name it with its base"):
        made(adapter(tmp_path / "lora", pair()))


def test_a_folder_with_a_plus_in_its_name(tmp_path: Path) -> None:
    folder, tensors = base(tmp_path / "c++")
    np.testing.assert_array_equal(made(folder)["head.weight"], tensors["head.weight"])
