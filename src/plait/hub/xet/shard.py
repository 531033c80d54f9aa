# SPDX-License-Identifier: Apache-2.0
"""Shards: which ranges of which xorbs make up which files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from plait.errors import BadInput
from plait.hub.xet.hashing import to_text
from plait.hub.xet.xorb import Source

MAX_SHARD = 64 * 2**20
"""The protocol's own bound on a serialised shard."""
_TAG = b"HFRepoMetaData\x00" + bytes(
    (85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169)
)
_VERSION = 2
_RECORD = 48
_BOOKEND = b"\xff" * 32
_WITH_VERIFICATION = 1 << 31
_WITH_METADATA = 1 << 30

_HEADER = struct.Struct("<32sQQ")
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_HASH = struct.Struct("<32s16x")
_XORB = struct.Struct("<32sIIII")


@dataclass(frozen=True, slots=True)
class Term:
    """Chunks ``start`` to ``stop`` (exclusive) of a xorb, and proof that the sender knows them."""

    xorb: bytes
    start: int
    stop: int
    size: int
    proof: bytes


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file of a shard."""

    hash: bytes
    sha256: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        """Length of the file in bytes, as the shard tells it."""
        return sum(term.size for term in self.terms)


def read_shard(stream: Source) -> Iterator[ShardFile]:
    """Yield the files of a shard, one at a time; its section on xorbs is checked for form only.

    What the shard says of xorbs is not believed: their chunks are known from the xorbs themselves.

    Raises:
        BadInput: it is not a shard for upload to a git-based repository.
    """
    tag, version, _ = _HEADER.unpack(_read(stream, _RECORD))
    if tag != _TAG or version != _VERSION:
        raise BadInput("The body is not a shard of version 2.")
    while True:
        record = _read(stream, _RECORD)
        if record.startswith(_BOOKEND):
            break
        yield _read_file(stream, record)
    while True:
        record = _read(stream, _RECORD)
        if record.startswith(_BOOKEND):
            break
        _, _, count, _, _ = _XORB.unpack(record)
        for _ in range(count):
            _read(stream, _RECORD)


def _read_file(stream: Source, record: bytes) -> ShardFile:
    digest, flags, count = _FILE.unpack(record)
    name = to_text(digest)
    if not flags & _WITH_VERIFICATION or not flags & _WITH_METADATA:
        raise BadInput(
            f"File {name} of the shard lacks its verification entries or its SHA-256. "
            "Upload it with a current client."
        )
    if count * _RECORD > MAX_SHARD:
        raise BadInput(f"File {name} of the shard says that it has {count} terms.")
    # The records are read before anything of their number is reserved, so a count cannot lie.
    terms = [_TERM.unpack(_read(stream, _RECORD)) for _ in range(count)]
    proofs = [_HASH.unpack(_read(stream, _RECORD))[0] for _ in range(count)]
    (sha256,) = _HASH.unpack(_read(stream, _RECORD))
    result = []
    for number, ((xorb, _, size, start, stop), proof) in enumerate(zip(terms, proofs, strict=True)):
        if start >= stop:
            raise BadInput(f"Term {number} of file {name} covers no chunk ({start} to {stop}).")
        result.append(Term(xorb, start, stop, size, proof))
    # The shard writes the SHA-256 in the protocol's own order of bytes.
    return ShardFile(digest, to_text(sha256), tuple(result))


def _read(stream: Source, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise BadInput("The shard is cut short.")
    return data
