# SPDX-License-Identifier: Apache-2.0
"""How a file is made of chunks: its terms, and which chunks of them a range of bytes needs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from plait.errors import PlaitError
from plait.hub.xet.hashing import from_text, to_text
from plait.hub.xet.xorb import XorbIndex

_TERM = struct.Struct("<32sIII")


@dataclass(frozen=True, slots=True)
class FileTerm:
    """Chunks ``start`` to ``stop`` (exclusive) of a xorb, ``size`` bytes of the file."""

    xorb: str
    start: int
    stop: int
    size: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole chunks of one term, and which of their bytes are wanted: all but the first ``skip``,
    and of these ``take``. ``size`` is the length of the chunks, uncompressed.
    """

    xorb: str
    start: int
    stop: int
    size: int
    skip: int
    take: int


def pack_terms(terms: Iterable[FileTerm]) -> bytes:
    """Write terms as `XetFile` keeps them: 44 bytes each."""
    return b"".join(
        _TERM.pack(from_text(term.xorb), term.start, term.stop, term.size) for term in terms
    )


def unpack_terms(data: bytes) -> Iterator[FileTerm]:
    """Read what :func:`pack_terms` wrote."""
    for xorb, start, stop, size in _TERM.iter_unpack(data):
        yield FileTerm(to_text(xorb), start, stop, size)


def plan(data: bytes, index: Callable[[str], XorbIndex], start: int, end: int) -> Iterator[Piece]:
    """Yield the chunks that hold the bytes ``start`` to ``end`` (exclusive) of a file.

    Only the xorbs at the two ends of the range are looked up.

    Args:
        data: the file's terms, as `XetFile` keeps them.
        index: finds the chunks of a xorb.
        start: where the range begins.
        end: where it ends; inside the file.
    """
    if start >= end:
        return
    position = 0
    for xorb, first, stop, size in _TERM.iter_unpack(data):
        before, position = position, position + size
        if position <= start:
            continue
        if before >= end:
            return
        low, high = max(start - before, 0), min(end - before, size)
        name = to_text(xorb)
        if (low, high) == (0, size):
            yield Piece(name, first, stop, size, 0, size)
        else:
            yield _trim(name, index(name), first, stop, low, high)


def _trim(name: str, index: XorbIndex, first: int, stop: int, low: int, high: int) -> Piece:
    """Leave out the chunks at both ends of a term that hold nothing of its bytes low to high."""
    position = skip = 0
    start = -1
    for number in range(first, stop):
        before, position = position, position + index.chunks[number].size
        if start < 0 and position > low:
            start, skip = number, before
        if position >= high:
            size = position - skip
            return Piece(name, start, number + 1, size, low - skip, high - low)
    raise PlaitError(f"The stored xorb {name} has fewer bytes than a file needs. Run `plait fsck`.")
