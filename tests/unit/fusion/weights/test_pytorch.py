# SPDX-License-Identifier: Apache-2.0
"""PyTorch's .bin files: read in place, and nothing of theirs is ever run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.fusion.weights import check_model, fused_tensors


def made(folder: Path) -> dict[str, np.ndarray]:
    models = [{"model": str(folder), "parameters": {"weight": 1}}]
    return dict(fused_tensors({"merge_method": "linear", "models": models}))


def test_what_torch_wrote_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    embedding = torch.nn.Parameter(torch.randn(5, 3))
    tensors = {
        "embed.weight": embedding,
        "lm_head.weight": embedding,
        "half": torch.randn(4).half(),
        "short": torch.randn(2, 2).bfloat16(),
        "part": torch.randn(10, 2)[3:6],
        "scalar": torch.tensor(2.5),
        "numbers": torch.arange(6),
    }
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    found = made(tmp_path)
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        wanted = values.detach()
        wanted = wanted.float() if wanted.is_floating_point() else wanted
        np.testing.assert_array_equal(found[name].astype(wanted.numpy().dtype), wanted.numpy())


def test_several_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    for number in (1, 2):
        torch.save({f"w{number}": torch.ones(3) * number}, tmp_path / f"part-{number}.bin")
    index = {"weight_map": {f"w{n}": f"part-{n}.bin" for n in (1, 2)}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert made(tmp_path)["w2"][0] == 2


def test_a_tensor_that_is_turned_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.randn(3, 4).T}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="not stored row by row"):
        check_model(tmp_path)


class Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def archive(folder: Path, data: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as file:
        file.writestr("archive/data.pkl", data)
        for name, content in members.items():
            file.writestr(f"archive/data/{name}", content)
    return folder


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    archive(tmp_path, pickle.dumps({"w": Harm(tmp_path / "harmed")}))
    with pytest.raises(BadInput, match="nothing of it was run"):
        check_model(tmp_path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "text",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x05torch\x8c\x04load\x93.",
        b"cplait.fusion.weights.pytorch\nread_bin\n.",
    ],
)
def test_any_other_name_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(BadInput, match="nothing of it was run"):
        check_model(archive(tmp_path, text))


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        return thing.pid if isinstance(thing, Stored) else None


class Stored:
    def __init__(self, pid: Any) -> None:
        self.pid = pid


@pytest.mark.parametrize(
    "pid",
    [("storage", "x", "0", "cpu", 3), ("storage",), 7, ("module", 1, 2, 3, 4)],
)
def test_a_storage_that_is_none(tmp_path: Path, pid: Any) -> None:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=2).dump({"w": Stored(pid)})
    with pytest.raises(BadInput, match="damaged"):
        check_model(archive(tmp_path, buffer.getvalue()))


def test_an_old_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(BadInput, match=r"version 1\.6 or later"):
        check_model(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=120))
def test_anything_is_met_with_a_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInput):
        check_model(archive(tmp_path, data))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.floats(0, 1), value=st.integers(0, 255))
def test_a_damaged_file_never_reads_beyond_itself(tmp_path: Path, place: float, value: int) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "pytorch_model.bin"
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(3, 2)}, buffer)
    content = bytearray(buffer.getvalue())
    content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)
    with contextlib.suppress(BadInput):
        made(tmp_path)
