# SPDX-License-Identifier: Apache-2.0
"""The headers of weight files: what tensors they hold, read without the tensors.

Formats: safetensors (a length of 8 bytes, then JSON) and GGUF (key-value pairs, little endian).
Every size in a file is a stranger's word: nothing is read or kept because a header says so.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_SAFETENSORS_HEADER = 25_000_000
"""Bytes; the Hub's clients read no longer one."""
MAX_TENSORS = 200_000
MAX_GGUF_HEADER = 64 * 2**20
MAX_GGUF_TEXT = 1 << 20

ReadAt = Callable[[int, int], bytes]
"""Returns the bytes from a start to an end, fewer at the end of the file."""

_BITS: Mapping[str, int] = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def read_safetensors(read: ReadAt, size: int) -> dict[str, Any] | None:
    """Return a safetensors file's JSON header, None if the file is not one.

    ``size`` is the whole file's, in bytes. Every tensor's place and shape were checked.
    """
    if size < 8:
        return None
    (length,) = struct.unpack("<Q", read(0, 8).ljust(8, b"\0"))
    if not 2 <= length <= min(size - 8, MAX_SAFETENSORS_HEADER):
        return None
    try:
        header = json.loads(read(8, 8 + length))
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        return None
    data = size - 8 - length
    for name, tensor in header.items():
        if name != "__metadata__" and not _is_tensor(tensor, data):
            return None
    return header


def _is_tensor(tensor: Any, data: int) -> bool:
    if not isinstance(tensor, dict):
        return False
    shape, places, dtype = (tensor.get(key) for key in ("shape", "data_offsets", "dtype"))
    if not isinstance(shape, list) or len(shape) > 32 or not isinstance(places, list):
        return False
    if not all(type(length) is int and 0 <= length < 2**53 for length in shape):
        return False
    if len(places) != 2 or not all(type(place) is int for place in places):
        return False
    if not isinstance(dtype, str) or not 0 <= places[0] <= places[1] <= data:
        return False
    bits = _BITS.get(dtype)
    return bits is None or math.prod(shape) * bits <= (places[1] - places[0]) * 8


def count_parameters(header: Mapping[str, Any]) -> dict[str, int]:
    """Count a safetensors header's numbers by their type, as ``{"F32": 124439808}``."""
    counted: dict[str, int] = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            dtype = tensor["dtype"][:16]
            counted[dtype] = counted.get(dtype, 0) + math.prod(tensor["shape"])
    return counted


@dataclass
class Gguf:
    """What a GGUF file says of itself."""

    total: int = 0
    """Numbers in its tensors."""
    values: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return what the Hub tells of such a file."""
        architecture = self.values.get("general.architecture")
        found: dict[str, Any] = {"total": self.total}
        if isinstance(architecture, str):
            found["architecture"] = architecture
            length = self.values.get(f"{architecture}.context_length")
            if type(length) is int:
                found["context_length"] = length
        for key, name in (
            ("tokenizer.chat_template", "chat_template"),
            ("tokenizer.ggml.bos_token", "bos_token"),
            ("tokenizer.ggml.eos_token", "eos_token"),
            ("quantize.imatrix.file", "quantize_imatrix_file"),
        ):
            if isinstance(self.values.get(key), str):
                found[name] = self.values[key]
        return found


_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
            10: "<Q", 11: "<q", 12: "<d"}  # fmt: skip
_STRING, _ARRAY = 8, 9


class _Reader:
    """Reads a file's beginning in pieces, up to a bound."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        self._data = b""
        self._start = 0
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > MAX_GGUF_HEADER:
            raise ValueError("The header is too long.")
        if end > self._start + len(self._data):
            self._data = self._read(self._at, max(end, self._at + 2**18))
            self._start = self._at
        found = self._data[self._at - self._start : end - self._start]
        if len(found) != size:
            raise ValueError("The file ends inside its header.")
        self._at = end
        return found

    def scalar(self, kind: int) -> Any:
        form = _SCALARS[kind]
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, *, keep: bool = True) -> str:
        length = self.scalar(10)
        if keep and length <= MAX_GGUF_TEXT:
            return self.take(length).decode("utf-8", "replace")
        self.skip(length)
        return ""

    def skip(self, size: int) -> None:
        self._at += size
        if self._at > MAX_GGUF_HEADER:
            raise ValueError("The header is too long.")

    def value(self, kind: int) -> Any:
        """Read a value; of an array, which may be a whole vocabulary, only past it."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.scalar(kind)
        inner, length = self.scalar(4), self.scalar(10)
        if inner in _SCALARS:
            self.skip(length * struct.calcsize(_SCALARS[inner]))
        elif inner == _STRING and length <= 2**21:
            for _ in range(length):
                self.text(keep=False)
        else:
            raise ValueError("An array of this kind is not known.")
        return None


def read_gguf(read: ReadAt) -> Gguf | None:
    """Read a GGUF file's header, None if the file is not one that is understood."""
    reader = _Reader(read)
    try:
        if reader.take(4) != b"GGUF" or reader.scalar(4) not in (2, 3):
            return None
        tensors, pairs = reader.scalar(10), reader.scalar(10)
        if tensors > MAX_TENSORS or pairs > MAX_TENSORS:
            return None
        found = Gguf()
        for _ in range(pairs):
            key = reader.text()[:200]
            value = reader.value(reader.scalar(4))
            if value is not None and len(found.values) < 2000:
                found.values[key] = value
        for _ in range(tensors):
            reader.text(keep=False)
            dimensions = reader.scalar(4)
            if dimensions > 8:
                return None
            numbers = math.prod(reader.scalar(10) for _ in range(dimensions))
            found.total += numbers
            reader.skip(12)  # type and place
    except (ValueError, KeyError, struct.error):
        return None
    return found if found.total < 2**62 else None
