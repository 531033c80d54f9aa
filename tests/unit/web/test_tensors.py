# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.web.tensors import LARGEST_HEADER, read_header


def file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: object = None, offsets: object = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape or [2], "data_offsets": offsets or [0, 8]}


def read(data: bytes, size: int | None = None):  # type: ignore[no-untyped-def]
    return read_header(io.BytesIO(data), len(data) if size is None else size)


def test_tensors_and_metadata_are_read_from_the_header_alone() -> None:
    header = {"__metadata__": {"format": "pt"}, "b": entry(), "a": entry("BF16", [2, 2])}
    found = read(file(header), size=10**12)
    assert [(row.name, row.dtype, row.shape, row.count) for row in found.tensors] == [
        ("a", "BF16", (2, 2), 4),
        ("b", "F32", (2,), 2),
    ]
    assert found.metadata == (("format", "pt"),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\2",
        file({"a": entry()}, bytes(8), length=2**40),
        file({"a": entry()}, bytes(8), length=10**6),
        file([1, 2], bytes(8)),
        file({"a": 3}, bytes(8)),
        file({"a": entry(offsets=[0, 10**9])}, bytes(8)),
        file({"a": entry(offsets=[8, 0])}, bytes(8)),
        file({"a": entry(shape=[-1])}, bytes(8)),
        file({"a": entry(shape=[True, 2])}, bytes(8)),
        file({"a": entry(shape=[3])}, bytes(8)),
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_a_lying_header_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"\.$"):
        read(data)


def test_a_huge_header_is_not_read() -> None:
    length = LARGEST_HEADER + 1
    with pytest.raises(BadInput, match="larger than 8 MiB"):
        read(struct.pack("<Q", length), size=2**40)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except BadInput as error:
        assert error.message
