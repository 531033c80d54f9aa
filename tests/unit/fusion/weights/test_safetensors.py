# SPDX-License-Identifier: Apache-2.0
"""Headers of safetensors files: what is honest is read, what lies is refused by a sentence."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.fusion.weights import check_model
from plait.fusion.weights.checkpoints import open_checkpoint
from plait.fusion.weights.checksums import hash_files
from plait.fusion.weights.safetensors import layout, read_header

from .models import bert, read_safetensors, write_model, write_safetensors


def write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def tensor(
    begin: int, end: int, shape: list[Any] | None = None, code: str = "F32"
) -> dict[str, Any]:
    return {
        "dtype": code,
        "shape": [(end - begin) // 4] if shape is None else shape,
        "data_offsets": [begin, end],
    }


def test_reads_what_was_written(tmp_path: Path) -> None:
    tensors = bert(0)
    write_safetensors(tmp_path / "x.safetensors", tensors)
    entries = read_header(tmp_path / "x.safetensors")
    assert {n: e.shape for n, e in entries.items()} == {n: v.shape for n, v in tensors.items()}


LIES: dict[str, tuple[Any, bytes, str]] = {
    "truncated": ({"a": tensor(0, 16)}, b"\0" * 12, "truncated"),
    "too long": ({"a": tensor(0, 16)}, b"\0" * 20, "after its last tensor"),
    "overlap": ({"a": tensor(0, 16), "b": tensor(8, 24)}, b"\0" * 24, "overlaps"),
    "same place": ({"a": tensor(0, 16), "b": tensor(0, 16)}, b"\0" * 16, "overlaps"),
    "gap": ({"a": tensor(0, 16), "b": tensor(20, 24)}, b"\0" * 24, "gap"),
    "gap at start": ({"a": tensor(4, 8)}, b"\0" * 8, "gap"),
    "shape": ({"a": tensor(0, 16, [5])}, b"\0" * 16, "claims 16 bytes"),
    "backwards": ({"a": tensor(16, 0, [4])}, b"\0" * 16, "claims"),
    "negative": ({"a": tensor(0, 16, [-4])}, b"\0" * 16, "whole numbers"),
    "fraction": ({"a": tensor(0, 16, [4.0])}, b"\0" * 16, "whole numbers"),
    "true": ({"a": tensor(0, 4, [True])}, b"\0" * 4, "whole numbers"),
    "huge": ({"a": tensor(0, 16, [2**40, 2**40])}, b"\0" * 16, "claims 16 bytes"),
    "beyond": ({"a": tensor(0, 2**62, [2**60])}, b"\0" * 16, "truncated"),
    "format": ({"a": tensor(0, 16, [4], "F99")}, b"\0" * 16, "format that is not known"),
    "three offsets": (
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}},
        b"\0" * 4,
        "whole numbers",
    ),
    "one offset": (
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}},
        b"\0" * 4,
        "two offsets",
    ),
    "no mapping": ({"a": 3}, b"", "is not a tensor"),
    "list": ([1, 2], b"", "not a mapping"),
    "not JSON": (b"hello, I am a header", b"", "not JSON"),
    "not UTF-8": (b"\xff\xfe{}", b"", "not JSON"),
    "twice": (b'{"a":{},"a":{}}', b"", "names the tensor 'a' twice"),
    "deep": (b"[" * 100_000, b"", "not JSON"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(tmp_path: Path, lie: str) -> None:
    header, data, says = LIES[lie]
    path = write(tmp_path / "model.safetensors", header, data)
    with pytest.raises(BadInput) as caught:
        read_header(path)
    assert says in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize(("length", "says"), [(2**60, "announces"), (10_000, "truncated")])
def test_a_lying_length_is_refused(tmp_path: Path, length: int, says: str) -> None:
    path = write(tmp_path / "x.safetensors", {"a": tensor(0, 4)}, b"\0" * 4, length)
    with pytest.raises(BadInput, match=says):
        read_header(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="too short"):
        read_header(tmp_path / "x.safetensors")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None
)
@given(st.binary(max_size=200))
def test_no_bytes_are_met_with_anything_but_a_sentence(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.safetensors"
    path.write_bytes(junk)
    try:
        read_header(path)
    except BadInput as error:
        assert str(path) in error.message


names = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.tuples(st.sampled_from(["F32", "BF16", "I64"]), st.lists(st.integers(0, 4), max_size=3)),
    min_size=1,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names)
def test_what_is_laid_out_is_read_back(
    tmp_path: Path, wanted: dict[str, tuple[str, list[int]]]
) -> None:
    header, places, size = layout(
        (n, c, tuple(s)) for n, (c, s) in wanted.items() if n != "__metadata__"
    )
    path = tmp_path / "laid.safetensors"
    path.write_bytes(header + b"\0" * (size - len(header)))
    entries = read_header(path)
    assert {n: e.offset for n, e in entries.items()} == places
    assert len(header) % 8 == 0


class TestModelFolders:
    def test_summary(self, tmp_path: Path) -> None:
        tensors = bert(0)
        folder = write_model(
            tmp_path / "m", tensors, architectures=["BertForSequenceClassification"]
        )
        summary = check_model(folder)
        assert summary.architecture == "BertForSequenceClassification"
        assert summary.layers == 3
        assert summary.parameters == sum(v.size for v in tensors.values())
        assert summary.dtypes == {"F32": summary.parameters}

    def test_a_pickle_is_refused_and_not_opened(self, tmp_path: Path) -> None:
        (tmp_path / "weights.ckpt").write_bytes(b"never read")
        (tmp_path / "weights.ckpt").chmod(0)
        with pytest.raises(BadInput, match=r"weights.ckpt, a pickle.*safe_serialization"):
            check_model(tmp_path)

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="has no safetensors file"):
            check_model(tmp_path)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="There is no model folder"):
            check_model(tmp_path / "none")

    def shards(self, folder: Path, index: dict[str, str]) -> None:
        tensors = list(bert(0).items())
        folder.mkdir(exist_ok=True)
        write_safetensors(folder / "a.safetensors", dict(tensors[:5]))
        write_safetensors(folder / "b.safetensors", dict(tensors[5:]))
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    def test_shards(self, tmp_path: Path) -> None:
        names = list(bert(0))
        index = dict.fromkeys(names[:5], "a.safetensors") | dict.fromkeys(
            names[5:], "b.safetensors"
        )
        self.shards(tmp_path, index)
        model = open_checkpoint(tmp_path)
        assert set(model.tensors) == set(names)
        assert [p.name for p in model.files] == ["a.safetensors", "b.safetensors"]

    @pytest.mark.parametrize(
        ("file", "says"),
        [
            ("../a.safetensors", "not a .safetensors file of this folder"),
            ("/etc/passwd", "not a .safetensors file of this folder"),
            ("c.safetensors", "lacks c.safetensors"),
            ("b.safetensors", "but it is not"),
        ],
    )
    def test_a_lying_index_is_refused(self, tmp_path: Path, file: str, says: str) -> None:
        self.shards(tmp_path, {next(iter(bert(0))): file, "classifier.bias": "b.safetensors"})
        with pytest.raises(BadInput, match=says):
            check_model(tmp_path)

    def test_a_tensor_in_two_files_is_refused(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write_safetensors(tmp_path / f"{name}.safetensors", {"w": np.ones(3, np.float32)})
        with pytest.raises(BadInput, match=r"is in a.safetensors and in b.safetensors"):
            check_model(tmp_path)

    def test_hashes_follow_the_content(self, tmp_path: Path) -> None:
        path = write_model(tmp_path / "m", bert(0)) / "model.safetensors"
        first = hash_files([path])[path]
        assert hash_files([path], threads=4)[path] == first
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        assert hash_files([path])[path] != first


def test_the_reader_of_these_tests_agrees(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", bert(0))
    for name, values in read_safetensors(tmp_path / "x.safetensors").items():
        np.testing.assert_array_equal(values, bert(0)[name])
