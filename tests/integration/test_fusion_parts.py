# SPDX-License-Identifier: Apache-2.0
"""Fusing parts of repositories: only the tensors that a recipe takes are fetched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from integration.live import LiveHub, Person
from plait.fusion.weights import fuse, remote

LAYERS = 8


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


def test_only_what_is_needed_is_fetched(
    live_hub: LiveHub, alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", live_hub.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        live_hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("HF_ENDPOINT", live_hub.url)
    monkeypatch.setenv("HF_TOKEN", alice.token)
    names, tensors = [], []
    for seed in (1, 2):
        tensors.append(model(tmp_path / str(seed), seed))
        names.append(alice.api.create_repo(f"{alice.name}/part{seed}").repo_id)
        alice.api.upload_folder(repo_id=names[-1], folder_path=tmp_path / str(seed))
    fetched: list[int] = []
    real: Any = remote.HubRepository.read

    def counted(self: Any, name: str, start: int, stop: int) -> bytes:
        fetched.append(stop - start)
        answer: bytes = real(self, name, start, stop)
        return answer

    monkeypatch.setattr(remote.HubRepository, "read", counted)
    slices = [
        {"sources": [{"model": names[0], "layer_range": [0, 2]}]},
        {"sources": [{"model": names[1], "layer_range": [5, 6]}]},
    ]
    result = fuse({"merge_method": "passthrough", "slices": slices}, tmp_path / "out")
    made = load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(
        made["model.layers.2.w.weight"], tensors[1]["model.layers.5.w.weight"]
    )
    np.testing.assert_array_equal(
        made["model.layers.1.w.weight"], tensors[0]["model.layers.1.w.weight"]
    )
    # three of sixteen layers, and a little
    assert 3 * 1_440_000 <= sum(fetched) < 4 * 1_440_000
    whole = (tmp_path / "1" / "model.safetensors").read_bytes()
    assert result.inputs[names[0]] == {"model.safetensors": hashlib.sha256(whole).hexdigest()}
    assert huggingface_hub.scan_cache_dir().size_on_disk < len(whole)
