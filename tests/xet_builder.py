# SPDX-License-Identifier: Apache-2.0
"""Builds xorbs and shards the way a client does, honest or not."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import lz4.frame

from plait.hub.xet.hashing import (
    MerkleTree,
    chunk_hash,
    file_hash,
    from_text,
    range_hash,
    to_text,
    xorb_hash,
)

TAG = b"HFRepoMetaData\x00" + bytes(
    [85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169]
)
BOOKEND = b"\xff" * 32 + bytes(16)


def group(data: bytes) -> bytes:
    return b"".join(data[lane::4] for lane in range(4))


def serialised_chunk(data: bytes, scheme: int = 1, raw: int | None = None) -> bytes:
    packed = {0: lambda d: d, 1: lz4.frame.compress, 2: lambda d: lz4.frame.compress(group(d))}
    body = packed[scheme](data)
    size = len(data) if raw is None else raw
    header = bytes([0]) + len(body).to_bytes(3, "little") + bytes([scheme])
    return header + size.to_bytes(3, "little") + body


@dataclass
class BuiltXorb:
    chunks: Sequence[bytes]
    scheme: int = 1

    @property
    def body(self) -> bytes:
        return b"".join(serialised_chunk(chunk, self.scheme) for chunk in self.chunks)

    @property
    def hash(self) -> bytes:
        return xorb_hash((chunk_hash(chunk), len(chunk)) for chunk in self.chunks)

    @property
    def name(self) -> str:
        return to_text(self.hash)


def shard(
    files: Sequence[Sequence[tuple[BuiltXorb, int, int]]],
    *,
    sha256: str | None = None,
    proof: bytes | None = None,
    digest: bytes | None = None,
    size: int | None = None,
    flags: int = 3 << 30,
) -> bytes:
    """Write a shard; the keywords replace what is true by a lie."""
    out = [TAG, struct.pack("<QQ", 2, 0)]
    for terms in files:
        tree, data = MerkleTree(), b""
        entries, proofs = [], []
        for xorb, start, stop in terms:
            chunks = xorb.chunks[start:stop]
            hashes = [chunk_hash(chunk) for chunk in chunks]
            for value, chunk in zip(hashes, chunks, strict=True):
                tree.add(value, len(chunk))
            term = b"".join(chunks)
            data += term
            unpacked = len(term) if size is None else size
            entries.append(struct.pack("<32sIIII", xorb.hash, 0, unpacked, start, stop))
            proofs.append((range_hash(hashes) if proof is None else proof) + bytes(16))
        name = file_hash(tree.root()) if digest is None else digest
        out.append(struct.pack("<32sII8x", name, flags, len(entries)))
        out += entries + proofs
        out.append(from_text(sha256 or hashlib.sha256(data).hexdigest()) + bytes(16))
    return b"".join([*out, BOOKEND, BOOKEND])
