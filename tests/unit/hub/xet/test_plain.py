# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.hub.xet import plain
from plait.hub.xet.plain import CHUNK, cut, serialise

SIZE = 3 * CHUNK + 17
DATA = bytes(range(251)) * (SIZE // 251 + 1)
SMALL = 2
"""Chunks of a xorb here, so that a small file has several."""


def read(start: int, end: int) -> Iterator[bytes]:
    yield DATA[start : min(end, SIZE)]


def unpack(xorb: bytes) -> list[bytes]:
    chunks = []
    while xorb:
        length = int.from_bytes(xorb[1:4], "little")
        assert (xorb[0], xorb[4], xorb[5:8]) == (0, 0, xorb[1:4])
        chunks.append(xorb[8 : 8 + length])
        xorb = xorb[8 + length :]
    return chunks


places = st.integers(0, SIZE) | st.sampled_from([0, 1, CHUNK, SMALL * CHUNK, SIZE - 1, SIZE])


@pytest.fixture(autouse=True, scope="module")
def small_xorbs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "XORB", SMALL)
        patch.setattr(plain, "_DATA", SMALL * CHUNK)
        yield


@settings(deadline=None)
@given(places, places)
def test_the_pieces_of_a_range_are_that_range(one: int, other: int) -> None:
    start, end = sorted((one, other))
    found, numbers = cut("ab" * 32, SIZE, start, end)
    parts = []
    for piece in found.pieces:
        (run,) = found.runs[piece.xorb]
        body = b"".join(serialise(read, SIZE, numbers[piece.xorb], run.first, run.end))
        assert len(body) == run.end - run.first
        chunks = unpack(body)
        assert len(chunks) == run.stop - run.start == piece.stop - piece.start
        whole = b"".join(chunks)
        assert len(whole) == piece.size
        parts.append(whole[piece.skip : piece.skip + piece.take])
    assert b"".join(parts) == DATA[start:end]
    if found.pieces:
        assert found.offset == found.pieces[0].skip


@settings(deadline=None)
@given(st.integers(0, 2 * (CHUNK + 8)), st.integers(0, 2 * (CHUNK + 8)))
def test_a_xorb_can_be_read_from_any_place(one: int, other: int) -> None:
    first, end = sorted((one, other))
    whole = b"".join(serialise(read, SIZE, 0, 0, 2 * (CHUNK + 8)))
    assert b"".join(serialise(read, SIZE, 0, first, end)) == whole[first:end]
