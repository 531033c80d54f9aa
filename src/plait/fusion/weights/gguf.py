# SPDX-License-Identifier: Apache-2.0
"""Reading GGUF files, with every claim of a header checked before use.

A file is a magic word, a version, counts, settings by key, what tensors there are, and their data
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Only what is needed of the settings is
kept. Quantised tensors are made floats row by row, while they are read, by the `gguf` package.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from plait.errors import BadInput, MissingExtra
from plait.fusion.weights.computed import Computed, Read, rows_of
from plait.fusion.weights.numbers import STORAGE, Array
from plait.fusion.weights.safetensors import MAX_NAME, Entry

MAX_HEADER = 300_000_000
MAX_KEYS = 100_000
MAX_TENSORS = 1_000_000
MAX_TEXT = 1_000_000  # bytes of a setting that is kept
MAX_RANK = 4

# the formats that safetensors has too; all others are quantised
PLAIN = {0: "F32", 1: "F16", 30: "BF16", 28: "F64", 24: "I8", 25: "I16", 26: "I32", 27: "I64"}
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT, _ARRAY = 8, 9

Setting = str | int | float | bool


@dataclass(frozen=True)
class Quantised(Computed):
    """A quantised matrix, read as float32; `origin` is its bytes, one row of blocks to a line."""

    kind_number: int

    @property
    def kind(self) -> str:
        """Nothing smaller than float32 holds every value exactly."""
        return "F32"

    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return rows, made floats."""
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        width = self.origin.shape[1]
        raw = np.empty((high - low) * width, np.uint8)
        read(self.origin, low * width, raw)
        found = dequantize(raw.reshape(-1, width), GGMLQuantizationType(self.kind_number))
        return np.asarray(found, np.float32).reshape(high - low, self.row)


@dataclass(frozen=True)
class Interleaved(Computed):
    """Rows of a head's queries or keys in transformers' order; `origin` has llama.cpp's.

    Rotary positions turn pairs of rows: llama.cpp keeps each pair together, transformers all first
    ones of a head before all second ones.
    """

    heads: int

    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return rows in transformers' order."""
        height = self.shape[0] // self.heads
        first, last = low // height, -(-high // height)
        values = rows_of(read, self.origin, first * height, last * height)
        pairs = values.reshape(last - first, height // 2, 2, self.row).swapaxes(1, 2)
        found: Array = pairs.reshape(-1, self.row)[low - first * height : high - first * height]
        return found


def read_gguf(path: Path) -> tuple[dict[str, Setting], dict[str, Entry]]:
    """Return a GGUF file's settings (texts, numbers and flags, no lists) and its tensors by name.

    Raises:
        BadInput: if the file is not GGUF, is truncated, or its header does not fit its data.
        MissingExtra: if it has quantised tensors and `gguf` is not installed.
    """
    try:
        with path.open("rb") as file:
            return _Header(path, file).read()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None


class _Header:
    """Takes one thing after the other from a header, never more than the file has."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._total = os.fstat(file.fileno()).st_size
        self._place = 0

    def read(self) -> tuple[dict[str, Setting], dict[str, Entry]]:
        if self._take(4) != b"GGUF":
            raise BadInput(f"{self._path} is not a GGUF file.")
        version = self._number("<I")
        if version not in (2, 3):
            what = "big-endian or " if version & 0xFFFF == 0 else ""
            raise BadInput(f"{self._path} is {what}of a version of GGUF that is not known.")
        tensors, count = self._number("<Q"), self._number("<Q")
        if tensors > MAX_TENSORS or count > MAX_KEYS:
            self._damaged(f"announces {tensors:,} tensors and {count:,} settings")
        settings: dict[str, Setting] = {}
        for _ in range(count):
            key = self._text(MAX_NAME)
            value = self._value(self._number("<I"))
            if key in settings:
                self._damaged(f"names the setting '{key[:100]}' twice")
            if value is not None:
                settings[key] = value
        found = [self._tensor() for _ in range(tensors)]
        alignment = settings.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= 1 << 20 or alignment % 8:
            self._damaged("has an alignment that cannot be")
        start = -(-self._place // alignment) * alignment
        return settings, self._entries(found, start)

    def _entries(
        self, found: list[tuple[str, tuple[int, ...], int, int]], start: int
    ) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        sizes = _block_sizes(self._path, {kind for _, _, kind, _ in found})
        for name, shape, kind, offset in found:
            if name in entries:
                self._damaged(f"names the tensor '{name[:100]}' twice")
            entries[name] = self._entry(name, shape, kind, start + offset, sizes)
        place = start
        for entry in sorted((_bytes_of(e) for e in entries.values()), key=lambda e: e.offset):
            if entry.offset < place:
                self._damaged(f"puts the tensor '{entry.name[:100]}' over another")
            place = entry.offset + entry.nbytes
            if place > self._total:
                raise BadInput(
                    f"{self._path} is truncated: tensor '{entry.name[:100]}' ends at byte "
                    f"{place:,} of a file of {self._total:,}; fetch it again."
                )
        return entries

    def _entry(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        offset: int,
        sizes: Mapping[int, tuple[int, int]],
    ) -> Entry:
        if kind in PLAIN:
            code = PLAIN[kind]
            size = math.prod(shape) * STORAGE[code].itemsize
            return Entry(name, code, shape, self._path, offset, size)
        block, width = sizes[kind]
        if not shape or shape[-1] % block or math.prod(shape) == 0:
            self._damaged(
                f"has the tensor '{name[:100]}' of the shape {list(shape)}, whose rows are not "
                f"whole blocks of {block}"
            )
        rows = math.prod(shape[:-1])
        line = shape[-1] // block * width
        raw = Entry(name, "U8", (rows, line), self._path, offset, rows * line)
        if len(shape) != 2:
            self._damaged(f"quantises the tensor '{name[:100]}', which is no matrix")
        return Quantised(name, "F32", shape, self._path, offset, raw.nbytes, raw, kind)

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text(MAX_NAME)
        rank = self._number("<I")
        if rank > MAX_RANK:
            self._damaged(f"gives the tensor '{name[:100]}' {rank:,} dimensions")
        shape = tuple(self._number("<Q") for _ in range(rank))[::-1]
        kind, offset = self._number("<I"), self._number("<Q")
        if math.prod(shape) > 1 << 50 or offset > self._total:
            raise BadInput(f"{self._path} is truncated: '{name[:100]}' lies beyond its end.")
        return name, shape, kind, offset

    def _value(self, kind: int, depth: int = 0) -> Setting | None:
        """Return a setting; lists are passed over."""
        if kind in _SCALARS:
            found: Setting = self._number(_SCALARS[kind])
            return found
        if kind == _TEXT:
            length = self._number("<Q")
            if length > MAX_TEXT:
                self._skip(length)
                return None
            return self._take(length).decode("utf-8", "replace")
        if kind != _ARRAY or depth > 1:
            self._damaged(f"has a setting of the unknown kind {kind:,}")
        inner, count = self._number("<I"), self._number("<Q")
        if inner in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[inner]))
            return None
        if count * 8 > self._total:
            self._damaged(f"has a list of {count:,} texts")
        for _ in range(count):
            if inner == _TEXT:
                self._skip(self._number("<Q"))
            else:
                self._value(inner, depth + 1)
        return None

    def _text(self, most: int) -> str:
        length = self._number("<Q")
        if length > most:
            self._damaged(f"has a name of {length:,} bytes")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            self._damaged("has a name that is not text")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, count: int) -> bytes:
        self._room(count)
        found = self._file.read(count)
        if len(found) < count:
            self._cut()
        return found

    def _skip(self, count: int) -> None:
        self._room(count)
        self._file.seek(self._place)

    def _room(self, count: int) -> None:
        self._place += count
        if self._place > self._total:
            self._cut()
        if self._place > MAX_HEADER:
            self._damaged(f"has a header of more than {MAX_HEADER:,} bytes")

    def _cut(self) -> NoReturn:
        raise BadInput(f"{self._path} is truncated: it ends inside its header; fetch it again.")

    def _damaged(self, what: str) -> NoReturn:
        raise BadInput(f"{self._path} is damaged: its header {what}; fetch it again.")


def _bytes_of(entry: Entry) -> Entry:
    return entry.origin if isinstance(entry, Quantised) else entry


def _block_sizes(path: Path, kinds: set[int]) -> dict[int, tuple[int, int]]:
    """Return elements and bytes of a block of each quantised format."""
    wanted = kinds - set(PLAIN)
    if not wanted:
        return {}
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import quantize  # noqa: F401  (that it is there)
    except ImportError:
        raise MissingExtra("gguf", "gguf") from None
    found = {}
    for number in sorted(wanted):
        try:
            block, width = GGML_QUANT_SIZES[GGMLQuantizationType(number)]
            _try(number, width)
        except (ValueError, KeyError, NotImplementedError):
            raise BadInput(
                f"{path} has tensors of the quantised format {number}, which cannot be read; "
                "convert it to Q8_0 or F16."
            ) from None
        found[number] = (int(block), int(width))
    return found


def _try(number: int, width: int) -> None:
    """Make a block of zeros floats, to know before the work that it can be done."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):
        dequantize(np.zeros((1, width), np.uint8), GGMLQuantizationType(number))
