# SPDX-License-Identifier: Apache-2.0
"""Tensors that lie in no file: made of others, row by row, while they are read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plait.fusion.weights.numbers import STORAGE, Array, decode
from plait.fusion.weights.safetensors import Entry

Read = Callable[[Entry, int, Array], None]
"""Fill an array with an entry's stored elements from a position on."""


@dataclass(frozen=True)
class Computed(Entry, ABC):
    """A tensor that a function of its rows makes; it reads as float32, or float64.

    `origin` is the tensor that it stands for, whose format it counts as.
    """

    origin: Entry

    @property
    def kind(self) -> str:
        """The format of the tensor that it stands for."""
        return self.origin.kind

    @property
    def row(self) -> int:
        """Elements of a row."""
        return max(math.prod(self.shape[1:]), 1)

    @abstractmethod
    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return rows `low` to `high`, as floats of the entry's format, one row to a line."""

    def fill(self, read: Read, start: int, into: Array) -> None:
        """Fill `into` with the elements from `start` on."""
        stop = start + into.size
        low, high = start // self.row, -(-stop // self.row)
        step = max((1 << 20) // self.row, 1)  # rows at a time: small next to a whole embedding
        for first in range(low, high, step):
            last = min(first + step, high)
            values = self.rows(read, first, last).reshape(-1)
            begin, end = max(start, first * self.row), min(stop, last * self.row)
            into[begin - start : end - start] = values[
                begin - first * self.row : end - first * self.row
            ]


def float_code(entry: Entry) -> str:
    """Return the format that a computed tensor reads as."""
    return "F64" if entry.code == "F64" else "F32"


def rows_of(read: Read, entry: Entry, low: int, high: int) -> Array:
    """Return rows of an entry as floats, one row to a line."""
    row = max(math.prod(entry.shape[1:]), 1)
    raw = np.empty((high - low) * row, STORAGE[entry.code])
    read(entry, low * row, raw)
    values = np.empty(raw.size, np.float64 if entry.code == "F64" else np.float32)
    decode(raw, entry.code, values)
    return values.reshape(-1, row)
