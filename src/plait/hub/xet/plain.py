# SPDX-License-Identifier: Apache-2.0
"""Files that came in whole, told to Xet clients as if they had been cut into xorbs.

Clients copy a file to another repository, or read it by Xet, only if it has a Xet hash. A blob
that is stored in one piece is named by its SHA-256 there. It is cut into chunks of equal size,
uncompressed, and its "xorbs" are written while they are read: nothing of them is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from plait.hub.xet.reconstruction import Reconstruction, Run
from plait.hub.xet.terms import Piece

CHUNK = 64 * 1024
XORB = 512
"""Chunks of one xorb."""
_HEADER = 8
_PLACE = CHUNK + _HEADER
_DATA = XORB * CHUNK

Read = Callable[[int, int], Iterator[bytes]]
"""Yields a file's bytes from one place to another."""


def xorb_name(sha256: str, number: int) -> str:
    """Return what a file's n-th xorb is called: as long and as unlike any other as a real one."""
    return hashlib.sha256(f"plain {sha256} {number}".encode()).hexdigest()


def cut(sha256: str, size: int, start: int, end: int) -> tuple[Reconstruction, dict[str, int]]:
    """Describe the bytes ``start`` to ``end`` (exclusive) of a file of ``size`` bytes.

    Returns:
        The terms, as for a file made of xorbs, and the number of each xorb by its name.
    """
    pieces: list[Piece] = []
    runs: dict[str, tuple[Run, ...]] = {}
    numbers: dict[str, int] = {}
    for number in range(start // _DATA, -(-end // _DATA)):
        base = number * _DATA
        low, high = max(start, base) - base, min(end, base + _DATA) - base
        first, stop = low // CHUNK, -(-high // CHUNK)
        name = xorb_name(sha256, number)
        length = min(stop * CHUNK, size - base) - first * CHUNK
        pieces.append(Piece(name, first, stop, length, low - first * CHUNK, high - low))
        place = first * _PLACE
        runs[name] = (Run(first, stop, place, place + length + _HEADER * (stop - first)),)
        numbers[name] = number
    return Reconstruction(start % CHUNK if pieces else 0, tuple(pieces), runs), numbers


def serialise(read: Read, size: int, number: int, first: int, end: int) -> Iterator[bytes]:
    """Yield the bytes ``first`` to ``end`` (exclusive) of a file's n-th xorb, as Xet writes it."""
    base = number * _DATA
    place = first
    while place < end:
        chunk, inside = divmod(place, _PLACE)
        start = base + chunk * CHUNK
        length = min(CHUNK, size - start)
        if length <= 0:
            return
        if inside < _HEADER:
            part = _header(length)[inside : inside + end - place]
        else:
            stop = min(length, inside - _HEADER + end - place)
            part = b"".join(read(start + inside - _HEADER, start + stop))
        if not part:
            return
        yield part
        place += len(part)


def _header(length: int) -> bytes:
    """Write the header of a chunk that is not compressed."""
    size = length.to_bytes(3, "little")
    return b"\0" + size + b"\0" + size
