# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import random
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.hub.xet.hashing import chunk_hash, to_text
from plait.hub.xet.shard import read_shard
from plait.hub.xet.xorb import MAX_CHUNK, XorbIndex, check_xorb, ungroup, unpack_chunks
from xet_builder import TAG, BuiltXorb, group, serialised_chunk, shard

noise = random.Random(5).randbytes


@pytest.mark.parametrize("scheme", [0, 1, 2])
def test_xorb_of_every_compression(scheme: int) -> None:
    chunks = [b"ab" * 99, noise(40_001), bytes(MAX_CHUNK), b"x"]
    built = BuiltXorb(chunks, scheme)
    index = check_xorb(BytesIO(built.body))
    assert to_text(index.hash) == built.name
    assert index.size == len(built.body)
    assert index.raw_size == sum(map(len, chunks))
    assert XorbIndex.from_bytes(index.to_bytes()) == index
    part = built.body[index.start(1) : index.start(3)]
    pieces = [part[start : start + 1000] for start in range(0, len(part), 1000)]
    assert list(unpack_chunks(iter(pieces), 1, 3)) == chunks[1:3]


def test_footer_is_left_alone() -> None:
    built = BuiltXorb([b"one", b"two"])
    index = check_xorb(BytesIO(built.body + b"XETBLOB\x01 whatever follows"))
    assert index.size == len(built.body)


@given(st.binary(max_size=70))
def test_ungroup_undoes_grouping(data: bytes) -> None:
    assert ungroup(group(data)) == data


def test_a_lying_frame_unpacks_to_no_more_than_it_says() -> None:
    bomb = serialised_chunk(bytes(50 * 2**20), raw=MAX_CHUNK)
    assert len(bomb) < 2 * MAX_CHUNK
    with pytest.raises(BadInput, match="unpacks to 131073 bytes and not to 131072"):
        check_xorb(BytesIO(bomb))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "holds no chunk"),
        (b"\x00\x01", "ends inside the header"),
        (serialised_chunk(b"hello")[:-1], "ends inside chunk 0"),
        (b"\x01" + serialised_chunk(b"hello")[1:], "unknown version 1"),
        (
            serialised_chunk(b"hello", 0).replace(b"\x00\x05\x00\x00\x00", b"\x00\x05\x00\x00\x07"),
            "unknown compression 7",
        ),
        (serialised_chunk(b"hello", raw=4), "unpacks to 5 bytes and not to 4"),
        (serialised_chunk(b"hello", raw=6), "unpacks to 5 bytes and not to 6"),
        (serialised_chunk(b"hello", raw=MAX_CHUNK + 1), "a chunk has 1 to"),
        (serialised_chunk(b"", 0), "a chunk has 1 to"),
        (b"\x00\x14\x00\x00\x01\x04\x00\x00" + b"junk" * 5, "not an LZ4 frame"),
    ],
)
def test_bad_xorbs(body: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_xorb(BytesIO(body))


@settings(deadline=None)
@given(st.data())
def test_a_damaged_xorb_never_keeps_its_name(data: st.DataObject) -> None:
    built = BuiltXorb([b"some text " * 30, noise(300)], data.draw(st.sampled_from([0, 1, 2])))
    body = bytearray(built.body)
    position = data.draw(st.integers(0, len(body) - 1))
    body[position] ^= data.draw(st.integers(1, 255))
    try:
        index = check_xorb(BytesIO(bytes(body)))
    except BadInput:
        return
    # Bits that carry nothing (a frame's own checksums, stray flags) may change; the chunks not.
    same = [chunk.hash for chunk in index.chunks] == [chunk_hash(c) for c in built.chunks]
    assert same or to_text(index.hash) != built.name


def test_shard_round_trip() -> None:
    one, two = BuiltXorb([b"a" * 10, b"b" * 20]), BuiltXorb([b"c" * 5])
    files = list(read_shard(BytesIO(shard([[(one, 0, 2), (two, 0, 1)], [(one, 1, 2)]]))))
    assert [len(file.terms) for file in files] == [2, 1]
    assert files[0].size == 35
    assert files[0].terms[1].xorb == two.hash
    assert files[1].sha256 == hashlib.sha256(b"b" * 20).hexdigest()


def test_shard_without_proofs_is_refused() -> None:
    one = BuiltXorb([b"a" * 10])
    for flags in (0, 1 << 31, 1 << 30):
        with pytest.raises(BadInput, match="lacks its verification"):
            list(read_shard(BytesIO(shard([[(one, 0, 1)]], flags=flags))))


def test_shard_term_without_chunks() -> None:
    one = BuiltXorb([b"a" * 10])
    with pytest.raises(BadInput, match="covers no chunk"):
        list(read_shard(BytesIO(shard([[(one, 1, 1)]]))))


@given(st.integers(0, 400))
def test_truncated_shard(size: int) -> None:
    body = shard([[(BuiltXorb([b"a" * 10]), 0, 1)]])
    if size < len(body):
        with pytest.raises(BadInput):
            list(read_shard(BytesIO(body[:size])))


@given(st.binary(max_size=600))
def test_noise_is_never_a_shard(data: bytes) -> None:
    with pytest.raises(BadInput):
        list(read_shard(BytesIO(data)))
    with pytest.raises(BadInput):
        list(read_shard(BytesIO(TAG + b"\x02" + bytes(15) + data[: len(data) // 2])))
