# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.hub.git.pointers import Pointer, format_pointer, parse_pointer

SHA = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"


def test_the_specifications_own_example() -> None:
    text = (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        b"size 12345\n"
    )
    assert format_pointer(SHA, 12345) == text
    assert parse_pointer(text) == Pointer(SHA, 12345)
    assert Pointer(SHA, 12345).pointer_size == len(text)


@given(st.from_regex(r"\A[0-9a-f]{64}\Z"), st.integers(0, 10**18))
def test_what_is_written_is_read(sha256: str, size: int) -> None:
    assert parse_pointer(format_pointer(sha256, size)) == Pointer(sha256, size)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        format_pointer(SHA, 1) + b"more\n",
        format_pointer(SHA, 1).replace(b"size 1", b"size -1"),
        format_pointer(SHA, 1).replace(b"size 1", b"size 01"),
        format_pointer(SHA, 1).replace(b"sha256", b"md5"),
        format_pointer(SHA.upper(), 1),
        b"\n" + format_pointer(SHA, 1),
        format_pointer(SHA, 1) + b" " * 1024,
    ],
)
def test_anything_else_is_no_pointer(text: bytes) -> None:
    assert parse_pointer(text) is None


@given(st.binary(max_size=2000))
def test_no_bytes_are_too_strange_to_look_at(data: bytes) -> None:
    found = parse_pointer(data)
    assert found is None or found.size >= 0
