# SPDX-License-Identifier: Apache-2.0
"""Reading and laying out safetensors files, with every claim of a header checked before use.

A file is 8 bytes (the header's length, little-endian), a JSON header that gives each tensor's
format, shape and byte range, and the data. The whole data must be covered, without gap or overlap.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights.numbers import STORAGE

MAX_HEADER = 100_000_000
MAX_RANK = 32
MAX_NAME = 2_000


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies: `offset` counts bytes from the start of its file."""

    name: str
    code: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        """The format that the tensor counts as when formats are promoted."""
        return self.code


def read_header(path: Path) -> dict[str, Entry]:
    """Return the tensors of a safetensors file by name, from its header alone.

    Raises:
        BadInput: if the file is not safetensors, is truncated, or its header does not fit its data.
    """
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            start = file.read(8)
            if len(start) < 8:
                raise BadInput(f"{path} is too short to be a safetensors file; fetch it again.")
            (length,) = struct.unpack("<Q", start)
            if length > MAX_HEADER:
                raise BadInput(
                    f"{path} is not a safetensors file: it announces a header of {length:,} bytes."
                )
            if 8 + length > total:
                raise BadInput(f"{path} is truncated: it ends inside its header; fetch it again.")
            text = file.read(length)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except _DuplicateError as error:
        raise BadInput(f"{path}: its header names the tensor '{error}' twice.") from None
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not a safetensors file: its header is not JSON.") from None
    if not isinstance(header, dict):
        raise BadInput(f"{path} is not a safetensors file: its header is not a mapping.")
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, value, 8 + length) for name, value in header.items()}
    _check_cover(path, entries.values(), 8 + length, total)
    return entries


def layout(
    tensors: Iterable[tuple[str, str, tuple[int, ...]]],
) -> tuple[bytes, dict[str, int], int]:
    """Lay out a new file for tensors given as (name, format code, shape).

    Returns the header's bytes, each tensor's offset in the file, and the file's size. Wider formats
    come first, then names in order, as the safetensors library does, so that data stay aligned.
    """
    ordered = sorted(tensors, key=lambda t: (-STORAGE[t[1]].itemsize, t[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    starts = {}
    for name, code, shape in ordered:
        size = math.prod(shape) * STORAGE[code].itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [place, place + size]}
        starts[name] = place
        place += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    first = 8 + len(text)
    return (
        struct.pack("<Q", len(text)) + text,
        {n: first + o for n, o in starts.items()},
        first + place,
    )


class _DuplicateError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateError(key[:100])
            seen.add(key)
    return result


def _whole(values: object, most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(v) is int and 0 <= v < 2**63 for v in values)
    )


def _entry(path: Path, name: str, value: Any, data: int) -> Entry:
    shown = name if len(name) <= 100 else name[:97] + "..."
    if len(name) > MAX_NAME or not isinstance(value, dict):
        raise BadInput(f"{path}: the header's entry '{shown}' is not a tensor.")
    code, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(code, str) or code not in STORAGE:
        raise BadInput(
            f"{path}: tensor '{shown}' has a number format that is not known ({str(code)[:30]})."
        )
    if not _whole(shape, MAX_RANK) or not _whole(offsets, 2):
        raise BadInput(
            f"{path}: tensor '{shown}' has a shape or offsets that are not whole numbers."
        )
    assert isinstance(shape, list) and isinstance(offsets, list)
    if len(offsets) != 2:
        raise BadInput(f"{path}: tensor '{shown}' needs two offsets.")
    begin, end = offsets
    expected = math.prod(shape) * STORAGE[code].itemsize
    if end - begin != expected:
        raise BadInput(
            f"{path}: tensor '{shown}' claims {max(end - begin, 0):,} bytes but its shape {shape} "
            f"of {code} needs {expected:,}."
        )
    return Entry(name, code, tuple(shape), path, data + begin, expected)


def _check_cover(path: Path, entries: Iterable[Entry], data: int, total: int) -> None:
    place = data
    for entry in sorted(entries, key=lambda e: (e.offset, e.nbytes)):
        if entry.offset + entry.nbytes > total:
            raise BadInput(
                f"{path} is truncated: tensor '{entry.name[:100]}' ends at byte "
                f"{entry.offset + entry.nbytes:,} of a file of {total:,}; fetch it again."
            )
        if entry.offset != place:
            what = "overlaps another" if entry.offset < place else "leaves a gap before it"
            raise BadInput(f"{path}: tensor '{entry.name[:100]}' {what}; the header is damaged.")
        place = entry.offset + entry.nbytes
    if place != total:
        raise BadInput(
            f"{path} has {total - place:,} bytes after its last tensor; the file is damaged."
        )
