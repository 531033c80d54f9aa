# SPDX-License-Identifier: Apache-2.0
"""What a client is told so that it can put a file together: terms, and where their bytes lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plait.hub.xet.terms import Piece, plan
from plait.hub.xet.xorb import XorbIndex


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks ``start`` to ``stop`` of a xorb, its serialised bytes ``first`` to ``end``; both
    exclusive.
    """

    start: int
    stop: int
    first: int
    end: int


@dataclass(frozen=True)
class Reconstruction:
    """Pieces in order, how many bytes of the first to leave out, and the runs that hold them."""

    offset: int
    pieces: tuple[Piece, ...]
    runs: dict[str, tuple[Run, ...]]


def reconstruct(
    terms: bytes, index: Callable[[str], XorbIndex], start: int, end: int
) -> Reconstruction:
    """Describe the bytes ``start`` to ``end`` (exclusive) of a file.

    The runs of a xorb do not overlap and cover exactly the chunks that the pieces name.
    """
    pieces = tuple(plan(terms, index, start, end))
    wanted: dict[str, list[tuple[int, int]]] = {}
    for piece in pieces:
        wanted.setdefault(piece.xorb, []).append((piece.start, piece.stop))
    runs = {}
    for xorb, ranges in wanted.items():
        found = index(xorb)
        runs[xorb] = tuple(
            Run(low, high, found.start(low), found.start(high)) for low, high in _joined(ranges)
        )
    return Reconstruction(pieces[0].skip if pieces else 0, pieces, runs)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that overlap or touch."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return result
