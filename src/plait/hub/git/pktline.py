# SPDX-License-Identifier: Apache-2.0
"""Git's pkt-lines: four hex digits of length, then the bytes (``gitprotocol-common``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from plait.errors import BadInput, TooLarge

FLUSH = b"0000"
MAX_LINE = 65520
"""Bytes of one pkt-line, its four digits included."""

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")


class Source(Protocol):
    """Something read from start to end; ``read(n)`` gives fewer than n bytes only at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


def pack(line: bytes) -> bytes:
    """Return ``line`` as one pkt-line."""
    if len(line) + 4 > MAX_LINE:
        raise ValueError("a pkt-line has at most 65516 bytes")
    return b"%04x" % (len(line) + 4) + line


def side_band(band: int, data: bytes) -> Iterator[bytes]:
    """Yield ``data`` as pkt-lines of a side band (1: the answer, 2: text for the person)."""
    step = MAX_LINE - 5
    for start in range(0, len(data), step):
        yield pack(bytes([band]) + data[start : start + step])


def read_line(source: Source) -> bytes | None:
    """Read one pkt-line and return what it holds; None for a flush.

    Raises:
        BadInput: what comes is no pkt-line, or ends within one.
    """
    head = source.read(4)
    if len(head) < 4 or _LENGTH.fullmatch(head) is None:
        raise BadInput("The request is not in git's format: a line without its length.")
    size = int(head, 16)
    if size == 0:
        return None
    if not 4 < size <= MAX_LINE:
        raise BadInput(f"The request is not in git's format: a line of {size} bytes.")
    line = source.read(size - 4)
    if len(line) != size - 4:
        raise BadInput("The request ends within a line. Push again.")
    return line


def read_lines(source: Source, limit: int) -> list[bytes]:
    """Read the lines before the next flush, without line ends.

    Raises:
        BadInput: they are no pkt-lines.
        TooLarge: more than ``limit`` lines come.
    """
    lines: list[bytes] = []
    while (line := read_line(source)) is not None:
        if len(lines) >= limit:
            raise TooLarge(f"The request names more than {limit} refs. Push fewer at a time.")
        lines.append(line.rstrip(b"\n"))
    return lines


def join(parts: Iterable[bytes]) -> bytes:
    """Return lines, each packed, and a flush."""
    return b"".join(map(pack, parts)) + FLUSH
