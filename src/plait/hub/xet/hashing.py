# SPDX-License-Identifier: Apache-2.0
"""The Xet protocol's hashes: keyed BLAKE3 over chunks, and the Merkle tree over their hashes.

Specification: Hugging Face Hub documentation, "Xet protocol: hashing".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from blake3 import blake3

from plait.errors import BadInput

HASH_SIZE = 32
ZERO = bytes(HASH_SIZE)

_DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_INTERNAL_NODE_KEY = bytes.fromhex(
    "017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f"
)
_VERIFICATION_KEY = bytes.fromhex(
    "7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3"
)

_MEAN_BRANCHING = 4
_MIN_GROUP = 3
_MAX_GROUP = 2 * _MEAN_BRANCHING + 1

_TEXT = re.compile(r"[0-9a-f]{64}")
_WORDS_LE = struct.Struct("<4Q")
_WORDS_BE = struct.Struct(">4Q")


def to_text(value: bytes) -> str:
    """Write a hash as the protocol does: four little-endian words, each as sixteen hex digits."""
    return _WORDS_BE.pack(*_WORDS_LE.unpack(value)).hex()


def from_text(text: str) -> bytes:
    """Read a hash written by :func:`to_text`.

    Raises:
        BadInput: it is not 64 lower-case hex digits.
    """
    if not _TEXT.fullmatch(text):
        raise BadInput(f"{text[:80]!r} is not a Xet hash: 64 lower-case hex digits are expected.")
    return _WORDS_LE.pack(*_WORDS_BE.unpack(bytes.fromhex(text)))


def chunk_hash(data: bytes | memoryview) -> bytes:
    """Hash the bytes of one chunk."""
    return bytes(blake3(data, key=_DATA_KEY).digest())


def range_hash(chunk_hashes: Iterable[bytes]) -> bytes:
    """Hash a run of chunk hashes: a shard's proof that its sender knows each of them."""
    hasher = blake3(key=_VERIFICATION_KEY)
    for value in chunk_hashes:
        hasher.update(value)
    return bytes(hasher.digest())


class MerkleTree:
    """The Merkle tree over chunks, built in one pass and in memory of its depth alone.

    A group of nodes closes after the first node, from the third on, whose last word is divisible
    by four, or after nine; what is left at the end of a level is a group as well.
    """

    def __init__(self) -> None:
        self._levels: list[list[tuple[bytes, int]]] = [[]]
        self._counts: list[int] = [0]

    def add(self, value: bytes, size: int) -> None:
        """Append a chunk: its hash and its length in bytes."""
        self._push(0, (value, size))

    def root(self) -> bytes:
        """Close the tree and return its root; zero when there was no chunk. Call it once."""
        level = 0
        while True:
            pending = self._levels[level]
            if self._counts[level] <= 1:
                return pending[0][0] if pending else ZERO
            if pending:
                self._levels[level] = []
                self._push(level + 1, _merge(pending))
            level += 1

    def _push(self, level: int, node: tuple[bytes, int]) -> None:
        while True:
            if level == len(self._levels):
                self._levels.append([])
                self._counts.append(0)
            pending = self._levels[level]
            pending.append(node)
            self._counts[level] += 1
            natural = len(pending) >= _MIN_GROUP and node[0][24] % _MEAN_BRANCHING == 0
            if not natural and len(pending) < _MAX_GROUP:
                return
            self._levels[level] = []
            level, node = level + 1, _merge(pending)


def _merge(nodes: list[tuple[bytes, int]]) -> tuple[bytes, int]:
    text = "".join(f"{to_text(value)} : {size}\n" for value, size in nodes)
    digest = blake3(text.encode("ascii"), key=_INTERNAL_NODE_KEY).digest()
    return bytes(digest), sum(size for _, size in nodes)


def xorb_hash(chunks: Iterable[tuple[bytes, int]]) -> bytes:
    """Hash a xorb from its chunks' hashes and lengths."""
    tree = MerkleTree()
    for value, size in chunks:
        tree.add(value, size)
    return tree.root()


def file_hash(root: bytes) -> bytes:
    """Turn the root of the Merkle tree over a file's chunks into the file's hash."""
    return bytes(blake3(root, key=ZERO).digest())
