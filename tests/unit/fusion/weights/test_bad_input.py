# SPDX-License-Identifier: Apache-2.0
"""What cannot be fused: a sentence that names it, and nothing half-written left behind."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, StorageFull
from plait.fusion import fuse
from plait.fusion.weights import methods

from .models import bert, write_model

Family = Callable[..., dict[str, Path]]
ROOM = 4_000


def recipe(
    folders: dict[str, Path], method: str = "task_arithmetic", **more: Any
) -> dict[str, Any]:
    models = [
        {"model": str(f), "parameters": {"weight": 0.5}} for n, f in folders.items() if n != "base"
    ]
    return {"merge_method": method, "models": models, "base_model": str(folders["base"])} | more


def nothing_left(folder: Path, folders: dict[str, Path]) -> bool:
    return {p.name for p in folder.iterdir()} == {f.name for f in folders.values()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"merge_metod": "ties"}, "'merge_method'"),
        ({"merge_method": "tise"}, "'ties'"),
        ({"model": []}, "'models'"),
        ({"out_dtipe": "float16"}, "'out_dtype'"),
        ({"dtype": "flaot16"}, "float16"),
        ({"parameters": {"lamda": 1}}, "'lambda'"),
        ({"parameters": {"lambda": float("nan")}}, "number"),
        ({"parameters": {"lambda": float("inf")}}, "number"),
        ({"parameters": {"lambda": 1e300}}, "must be from"),
        ({"parameters": {"normalize": 3}}, "true or false"),
        ({"dialect": "pefd"}, "peft"),
        ({"seed": 1.5}, "'seed'"),
        ({"tokenizer_source": 3}, "tokenizer_source"),
        ({"models": []}, "models"),
        ({"models": [{"modle": "x"}]}, "'modle'"),
        ({"models": None}, "models"),
    ],
)
def test_a_recipe(family: Family, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    folders = family(2)
    with pytest.raises(BadInput, match=says):
        fuse(recipe(folders) | change, tmp_path / "out")
    assert nothing_left(tmp_path, folders)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "much", True, None])
def test_densities_that_cannot_be(family: Family, tmp_path: Path, value: Any) -> None:
    folders = family(1)
    with pytest.raises(BadInput, match=r"density|number"):
        fuse(recipe(folders, "ties", parameters={"density": value}), tmp_path / "out")
    assert nothing_left(tmp_path, folders)


@pytest.mark.parametrize("method", ["linear", "nuslerp"])
def test_weights_that_add_up_to_nothing(family: Family, tmp_path: Path, method: str) -> None:
    folders = family(2)
    data = recipe(folders, method)
    for model, weight in zip(data["models"], (0.5, -0.5), strict=True):
        model["parameters"]["weight"] = weight
    if method == "linear":
        fuse(data, tmp_path / "out")  # mergekit's rule: then the sum is not divided
        return
    with pytest.raises(BadInput, match="add up to 0"):
        fuse(data, tmp_path / "out")
    assert nothing_left(tmp_path, folders)


@pytest.mark.parametrize("method", [m for m in methods.names() if m != "passthrough"])
def test_shapes_are_named_with_both_sides(family: Family, tmp_path: Path, method: str) -> None:
    folders = family(1)
    tensors = bert(1) | {"classifier.weight": np.zeros((3, 16), np.float32)}
    write_model(folders["m0"], tensors)
    data = recipe(folders, method)
    if methods.get(method).base == "unused":
        data["models"].append({"model": str(folders["base"]), "parameters": {"weight": 0.5}})
    if methods.get(method).models[0] == 2:
        data["models"].append({"model": str(folders["base"]), "parameters": {"weight": 0.5}})
        del data["base_model"]
    data["parameters"] = {"t": 0.5} if method in ("slerp", "nearswap") else {}
    with pytest.raises(BadInput) as caught:
        fuse(data, tmp_path / "out")
    if "shape" in caught.value.message:
        assert "3" in caught.value.message
        assert "2" in caught.value.message
    assert nothing_left(tmp_path, folders)


def test_a_number_that_stands_for_two_tokens(family: Family, tmp_path: Path) -> None:
    folders = family(1)
    for name, words in (("base", "ab"), ("m0", "ba")):
        vocabulary = {w: i for i, w in enumerate(words)}
        (folders[name] / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    with pytest.raises(BadInput, match="the number 0 is 'a' in one and 'b' in the other"):
        fuse(recipe(folders), tmp_path / "out")
    assert nothing_left(tmp_path, folders)
    fuse(recipe(folders, tokenizer_source="base"), tmp_path / "out")


class TestDiskFull:
    def test_before_the_first_byte(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(recipe(folders)))

        def small() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))

        plait = [sys.executable, "-c", "from plait.cli.main import main; main()"]
        command = [*plait, "fuse", str(path), "-o", str(tmp_path / "out")]
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=small, check=False
        )
        assert done.returncode != 0
        assert "There is no room for" in done.stderr
        assert "Traceback" not in done.stderr
        path.unlink()
        assert nothing_left(tmp_path, folders)

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    @pytest.mark.parametrize("after", [0, 5])
    def test_in_the_middle(
        self,
        family: Family,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        code: int,
        after: int,
    ) -> None:
        folders = family(2)
        written = 0
        real = os.pwrite

        def full(descriptor: int, data: Any, place: int) -> int:
            nonlocal written
            written += 1
            if written > after:
                raise OSError(code, os.strerror(code))
            return real(descriptor, data, place)

        def cannot(*_: Any) -> None:
            raise OSError(errno.EOPNOTSUPP, "no")

        monkeypatch.setattr(os, "pwrite", full)
        monkeypatch.setattr(os, "posix_fallocate", cannot)
        with pytest.raises(StorageFull, match=r"no room for .*/out"):
            fuse(recipe(folders), tmp_path / "out")
        assert nothing_left(tmp_path, folders)
        monkeypatch.undo()
        fuse(recipe(folders), tmp_path / "out")

    def test_an_older_result_stays(
        self, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders = family(1)
        before = fuse(recipe(folders), tmp_path / "out").outputs

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageFull):
            fuse(recipe(folders, "ties"), tmp_path / "out", overwrite=True)
        monkeypatch.undo()
        told = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
        assert told["outputs"] == before
        assert (tmp_path / "out" / "model.safetensors").is_file()
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
