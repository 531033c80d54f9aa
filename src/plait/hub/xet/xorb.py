# SPDX-License-Identifier: Apache-2.0
"""Xorbs: runs of compressed chunks, checked whole on arrival and read by ranges afterwards."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import lz4.frame

from plait.errors import BadInput, PlaitError
from plait.hub.xet.hashing import HASH_SIZE, chunk_hash, xorb_hash

MAX_CHUNK = 128 * 1024
"""A chunk's bytes, uncompressed."""
_MAX_COMPRESSED = 2 * MAX_CHUNK
_MAX_CHUNKS = 65536
"""Eight times what the reference client puts into one xorb; the protocol itself names no bound."""
_MAX_RAW = 2**32 - 1
"""A shard counts a xorb's bytes in 32 bits."""
_HEADER = 8
_FOOTER = b"XETBLOB"
_NONE, _LZ4, _GROUPED_LZ4 = 0, 1, 2
_ENTRY = struct.Struct("<32sII")


class Source(Protocol):
    """What bytes are read from: a file, or a request's body."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a stored xorb: its hash, its length, and where it ends in the xorb's file."""

    hash: bytes
    size: int
    end: int


@dataclass(frozen=True)
class XorbIndex:
    """The chunks of a xorb, in order."""

    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        """Length of the serialised chunks, without a footer."""
        return self.chunks[-1].end

    @property
    def raw_size(self) -> int:
        """Length of all chunks, uncompressed."""
        return sum(chunk.size for chunk in self.chunks)

    @property
    def hash(self) -> bytes:
        """The xorb's name."""
        return xorb_hash((chunk.hash, chunk.size) for chunk in self.chunks)

    def start(self, index: int) -> int:
        """Where chunk ``index`` starts in the xorb's file."""
        return self.chunks[index - 1].end if index else 0

    def to_bytes(self) -> bytes:
        """Write the index: one 40-byte record a chunk."""
        return b"".join(_ENTRY.pack(chunk.hash, chunk.size, chunk.end) for chunk in self.chunks)

    @classmethod
    def from_bytes(cls, data: bytes) -> XorbIndex:
        """Read an index that :meth:`to_bytes` wrote.

        Raises:
            PlaitError: it is damaged.
        """
        if not data or len(data) % _ENTRY.size:
            raise PlaitError("The index of a stored xorb is damaged. Restore it from a backup.")
        return cls(tuple(Chunk(*record) for record in _ENTRY.iter_unpack(data)))


def check_xorb(stream: Source) -> XorbIndex:
    """Read a serialised xorb through, decompress every chunk and hash it.

    A footer after the chunks is left alone: everything in it follows from the chunks.

    Raises:
        BadInput: it is not a xorb, or a bound is broken.
    """
    chunks: list[Chunk] = []
    end = raw = 0
    while True:
        header = stream.read(_HEADER)
        if not header or header.startswith(_FOOTER):
            break
        data, taken = _read_chunk(stream, header, len(chunks))
        end += taken
        raw += len(data)
        if raw > _MAX_RAW or len(chunks) >= _MAX_CHUNKS:
            raise BadInput("The xorb unpacks to more than the protocol allows.")
        chunks.append(Chunk(chunk_hash(data), len(data), end))
    if not chunks:
        raise BadInput("The xorb holds no chunk.")
    return XorbIndex(tuple(chunks))


class Pieces:
    """Bytes that come in pieces, as a stream; never more than a piece and a read in memory."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end."""
        parts: list[memoryview] = []
        wanted = size
        while wanted:
            if not self._piece:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece = memoryview(piece)
                continue
            part = self._piece if wanted < 0 else self._piece[:wanted]
            self._piece = self._piece[len(part) :]
            if wanted > 0:
                wanted -= len(part)
            parts.append(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


def unpack_chunks(pieces: Iterator[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Yield the uncompressed chunks ``start`` to ``stop`` (exclusive) of a xorb.

    ``pieces`` begin with chunk ``start``. Chunks are not hashed again: whoever puts a file
    together checks its SHA-256.

    Raises:
        BadInput: they are not such chunks.
    """
    stream = Pieces(pieces)
    for number in range(start, stop):
        data, _ = _read_chunk(stream, stream.read(_HEADER), number)
        yield data


def _read_chunk(stream: Source, header: bytes, number: int) -> tuple[bytes, int]:
    if len(header) < _HEADER:
        raise BadInput(f"The xorb ends inside the header of chunk {number}.")
    version, scheme = header[0], header[4]
    compressed = int.from_bytes(header[1:4], "little")
    raw = int.from_bytes(header[5:8], "little")
    if version != 0:
        raise BadInput(f"Chunk {number} of the xorb has the unknown version {version}.")
    if not 0 < raw <= MAX_CHUNK or not 0 < compressed <= _MAX_COMPRESSED:
        raise BadInput(
            f"Chunk {number} of the xorb says that {compressed} bytes unpack to {raw}; "
            f"a chunk has 1 to {MAX_CHUNK} bytes."
        )
    body = stream.read(compressed)
    if len(body) < compressed:
        raise BadInput(f"The xorb ends inside chunk {number}.")
    return _unpack(body, scheme, raw, number), _HEADER + compressed


def _unpack(body: bytes, scheme: int, raw: int, number: int) -> bytes:
    if scheme == _NONE:
        data = body
    elif scheme in (_LZ4, _GROUPED_LZ4):
        data = _unframe(body, raw, number)
    else:
        raise BadInput(f"Chunk {number} of the xorb has the unknown compression {scheme}.")
    if len(data) != raw:
        raise BadInput(f"Chunk {number} of the xorb unpacks to {len(data)} bytes and not to {raw}.")
    return ungroup(data) if scheme == _GROUPED_LZ4 else data


def _unframe(body: bytes, raw: int, number: int) -> bytes:
    # One byte beyond what the header promises is enough to catch a frame that lies.
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        data: bytes = decompressor.decompress(body, max_length=raw + 1)
    except (RuntimeError, ValueError, EOFError) as error:
        raise BadInput(f"Chunk {number} of the xorb is not an LZ4 frame.") from error
    if len(data) <= raw and not decompressor.eof:
        raise BadInput(f"The LZ4 frame of chunk {number} of the xorb is cut short.")
    return data


def ungroup(data: bytes) -> bytes:
    """Undo byte grouping: the first of every four bytes, then the second, …, back in turns."""
    size = len(data)
    result = bytearray(size)
    position = 0
    for lane in range(4):
        length = (size - lane + 3) // 4
        result[lane::4] = data[position : position + length]
        position += length
    return bytes(result)


assert _ENTRY.size == HASH_SIZE + 8
