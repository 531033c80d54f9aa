# SPDX-License-Identifier: Apache-2.0
"""Which byte ranges of repositories are asked for, and what happens when they cannot be had."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.weights import fused_tensors, remote
from plait.fusion.weights.checksums import hash_files
from plait.recipes.fusion import parse_recipe

from .models import write_model

LAYERS = 6


class Recorded:
    """A repository in a folder that remembers what was read of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read_bytes = 0

    def weights(self) -> list[remote.RemoteFile]:
        data = (self.folder / "model.safetensors").read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        return [remote.RemoteFile("model.safetensors", len(data), digest)]

    def small_files(self, into: Path) -> None:
        (into / "config.json").write_bytes((self.folder / "config.json").read_bytes())

    def read(self, name: str, start: int, stop: int) -> bytes:
        self.read_bytes += stop - start
        return (self.folder / name).read_bytes()[start:stop]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setattr(remote, "GAP", 0)
    tensors = {f"model.layers.{i}.w": np.full(1000, i, np.float32) for i in range(LAYERS)} | {
        "model.norm.weight": np.ones(4, np.float32)
    }
    return Recorded(write_model(tmp_path / "stored", tensors, model_type="llama"))


def slices(*ranges: tuple[int, int]) -> dict[str, Any]:
    parts = [{"sources": [{"model": "org/name", "layer_range": list(r)}]} for r in ranges]
    return {"merge_method": "passthrough", "slices": parts}


def test_only_the_layers_that_are_taken(repository: Recorded) -> None:
    data = slices((0, 1), (4, 5))
    with remote.needed_parts(parse_recipe(data), lambda name: repository) as resolve:
        made = dict(fused_tensors(data, resolve=resolve))
        folder = resolve("org/name")
        file = folder / "model.safetensors"
        assert file.stat().st_size == (repository.folder / file.name).stat().st_size
        assert hash_files([file])[file] == repository.weights()[0].sha256
    assert made["model.layers.1.w"][0] == 4
    assert 2 * 4000 <= repository.read_bytes < 3 * 4000
    assert not folder.exists()


def test_a_repository_that_is_needed_whole_is_fetched_whole(
    repository: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "resolve_model", lambda reference: Path("/whole"))
    data = parse_recipe(slices((0, LAYERS)))
    with remote.needed_parts(data, lambda name: repository) as resolve:
        assert resolve("org/name") == Path("/whole")
    assert repository.read_bytes < 4000


def test_a_hub_that_gives_no_parts(repository: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, start: int, stop: int) -> bytes:
        raise BadInput("no")

    monkeypatch.setattr(repository, "read", refuse)
    monkeypatch.setattr(remote, "resolve_model", lambda reference: Path("/whole"))
    with remote.needed_parts(parse_recipe(slices((0, 1))), lambda name: repository) as resolve:
        assert resolve("org/name") == Path("/whole")


def test_whole_models_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [{"model": "org/name", "parameters": {"weight": 1}}]
    data = parse_recipe({"merge_method": "linear", "models": models})
    asked: list[str] = []
    monkeypatch.setattr(remote, "resolve_model", lambda reference: Path("/whole"))
    with remote.needed_parts(data, asked.append) as resolve:  # type: ignore[arg-type]
        assert resolve("org/name") == Path("/whole")
    assert asked == []
