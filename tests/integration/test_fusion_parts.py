# SPDX-License-Identifier: Apache-2.0
"""Fusing parts of repositories: only the tensors that a recipe takes are fetched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from integration.live import LiveHub, Person
from plait.fusion.weights import fuse, fused_tensors, remote

LAYERS = 8


def huggingface_api() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


def dense(folder: Path, seed: int) -> Path:
    folder.mkdir()
    random = np.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (20_000, 64), "lm_head.weight": (20_000, 64)}
    start = "model.layers.0."
    shapes |= {f"{start}mlp.{p}_proj.weight": (8_000, 64) for p in ("gate", "up")}
    shapes[f"{start}mlp.down_proj.weight"] = (64, 8_000)
    tensors = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    tensors[f"{start}input_layernorm.weight"] = np.ones(64, np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def model(folder: Path, seed: int) -> dict[str, np.ndarray]:
    folder.mkdir()
    random = np.random.default_rng(seed)
    tensors = {
        f"model.layers.{i}.w.weight": random.standard_normal((600, 600)).astype(np.float32)
        for i in range(LAYERS)
    }
    tensors["model.norm.weight"] = random.standard_normal(600).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "llama", "num_hidden_layers": LAYERS}
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


@dataclass
class Hub:
    """Two models on a running hub, and the bytes of them that were asked for by ranges."""

    names: list[str]
    tensors: list[dict[str, np.ndarray]]
    folders: list[Path]
    fetched: list[int]


@pytest.fixture
def hub(live_hub: LiveHub, alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", live_hub.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        live_hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", live_hub.url)
    monkeypatch.setenv("HF_TOKEN", alice.token)
    found = Hub([], [], [], [])
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        found.tensors.append(model(folder, seed))
        found.folders.append(folder)
        name = f"{alice.name}/{tmp_path.name[-20:].replace('_', '-')}{seed}"
        found.names.append(alice.api.create_repo(name).repo_id)
        alice.api.upload_folder(repo_id=found.names[-1], folder_path=folder)
    real: Any = remote.HubRepository.read

    def counted(self: Any, name: str, start: int, stop: int) -> bytes:
        found.fetched.append(stop - start)
        answer: bytes = real(self, name, start, stop)
        return answer

    monkeypatch.setattr(remote.HubRepository, "read", counted)
    return found


def test_of_slices_only_their_layers_are_fetched(hub: Hub, tmp_path: Path) -> None:
    slices = [
        {"sources": [{"model": hub.names[0], "layer_range": [0, 2]}]},
        {"sources": [{"model": hub.names[1], "layer_range": [5, 6]}]},
    ]
    result = fuse({"merge_method": "passthrough", "slices": slices}, tmp_path / "out")
    made = load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(
        made["model.layers.2.w.weight"], hub.tensors[1]["model.layers.5.w.weight"]
    )
    np.testing.assert_array_equal(
        made["model.layers.1.w.weight"], hub.tensors[0]["model.layers.1.w.weight"]
    )
    # three of sixteen layers, and a little
    assert 3 * 1_440_000 <= sum(hub.fetched) < 4 * 1_440_000
    whole = (hub.folders[0] / "model.safetensors").read_bytes()
    assert result.inputs[hub.names[0]] == {"model.safetensors": hashlib.sha256(whole).hexdigest()}
    # what the library's own cache got are the small files
    kept = sum(f.stat().st_size for f in (tmp_path / "cache").rglob("*") if not f.is_symlink())
    assert kept < len(whole)


@pytest.mark.parametrize("method", ["linear", "dare_ties"])
def test_of_some_tensors_in_memory_only_these_are_fetched(hub: Hub, method: str) -> None:
    models = [{"model": n, "parameters": {"weight": 0.5, "density": 0.5}} for n in hub.names]
    data = {"merge_method": method, "models": models, "base_model": hub.names[0]}
    wanted = "model.layers.3.w.weight"
    ((name, values),) = fused_tensors(data, only={wanted})
    assert name == wanted
    assert 2 * 1_440_000 <= sum(hub.fetched) < 3 * 1_440_000
    # the same values, and draws, as from whole files
    at_home = dict(zip(hub.names, hub.folders, strict=True))
    ((_, expected),) = fused_tensors(data, only={wanted}, resolve=at_home.__getitem__)
    np.testing.assert_array_equal(values, expected)


def test_of_experts_only_the_feed_forward_layers_are_fetched(hub: Hub, tmp_path: Path) -> None:
    base, expert = (dense(tmp_path / n, i) for i, n in enumerate(("base", "expert")))
    api = huggingface_api()
    name = api.create_repo(f"{hub.names[0]}-expert").repo_id
    api.upload_folder(repo_id=name, folder_path=expert)
    data = {
        "base_model": str(base),
        "gate_mode": "random",
        "experts": [{"source_model": str(base)}, {"source_model": name}],
    }
    fuse(data, tmp_path / "out")
    made = load_file(tmp_path / "out" / "model.safetensors")
    own = load_file(expert / "model.safetensors")
    np.testing.assert_array_equal(
        made["model.layers.0.block_sparse_moe.experts.1.w2.weight"],
        own["model.layers.0.mlp.down_proj.weight"],
    )
    parts = sum(v.nbytes for n, v in own.items() if ".mlp." in n)
    assert parts <= sum(hub.fetched) < 1.2 * parts
    assert parts < 0.5 * sum(v.nbytes for v in own.values())
