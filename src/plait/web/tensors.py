# SPDX-License-Identifier: Apache-2.0
"""The header of a safetensors file, read for showing: a few bytes of any file, all bounded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from plait.errors import BadInput

LARGEST_HEADER = 8 * 2**20
MOST_ROWS = 1000
_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorRow:
    """One tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def count(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """All tensors of a file, in the order of their names, and its metadata."""

    tensors: tuple[TensorRow, ...]
    metadata: tuple[tuple[str, str], ...]


class Stream(Protocol):
    """Something whose next bytes can be read."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        ...


def read_header(stream: Stream, size: int) -> Header:
    """Read the header of a safetensors file of ``size`` bytes.

    Raises:
        BadInput: it is not such a file, is cut off, or its header is too large or lies.
    """
    start = stream.read(8)
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    if not 2 <= length <= size - 8:
        raise BadInput("This is not a whole safetensors file: its header does not fit into it.")
    if length > LARGEST_HEADER:
        raise BadInput(
            f"The header is larger than {LARGEST_HEADER // 2**20} MiB; download the file."
        )
    try:
        header = json.loads(stream.read(length))
    except (ValueError, RecursionError):
        raise BadInput("This is not a safetensors file: its header is not JSON.") from None
    if not isinstance(header, dict):
        raise BadInput("This is not a safetensors file: its header is not a mapping.")
    metadata = header.pop("__metadata__", None)
    pairs = metadata.items() if isinstance(metadata, dict) else ()
    return Header(
        tuple(_row(name, entry, size - 8 - length) for name, entry in sorted(header.items())),
        tuple((str(name)[:80], str(value)[:300]) for name, value in list(pairs)[:20]),
    )


def _row(name: str, entry: object, room: int) -> TensorRow:
    wrong = BadInput(f"The header says something impossible about the tensor {name[:80]!a}.")
    if not isinstance(entry, dict):
        raise wrong
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (
        isinstance(dtype, str)
        and _whole(shape)
        and _whole(offsets)
        and len(offsets) == 2
        and offsets[0] <= offsets[1] <= room
    ):
        raise wrong
    count = offsets[1] - offsets[0]
    if dtype in _BITS and math.prod(shape) * _BITS[dtype] != count * 8:
        raise wrong
    return TensorRow(name[:300], dtype[:16], tuple(shape), count)


def _whole(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= 32
        and all(
            isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**53
            for item in value
        )
    )
