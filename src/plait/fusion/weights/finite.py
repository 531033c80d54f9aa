# SPDX-License-Identifier: Apache-2.0
"""NaN and infinity in models' weights, found before anything long is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import STATISTICS
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.numbers import FLOATS, STORAGE, all_finite, decode, stored_finite
from plait.fusion.weights.safetensors import Entry, read_header

WHOLE = 200_000_000
"""Bytes of all models up to which every element is looked at; of more, pieces of each tensor."""
PIECE = 131_072  # elements


def refused(models: Mapping[str, Iterable[Entry]], whole: int = WHOLE) -> dict[str, str]:
    """Return for each model that holds NaN or infinity a sentence that names the tensor.

    Of models that are larger together than `whole` bytes the beginning, the middle and the end of
    each tensor are read.
    """
    entries = {r: [e for e in found if e.code in FLOATS and e.size] for r, found in models.items()}
    every = sum(e.nbytes for found in entries.values() for e in found) <= whole
    told = {}
    with Readers() as readers:
        for reference, found in entries.items():
            for entry in found:
                where = _unfinite(readers, entry, every)
                if where is not None:
                    kind, place = where
                    told[reference] = (
                        f"'{reference}': tensor '{entry.name}' holds {kind} (element {place:,}); "
                        "a model with such weights cannot be fused: train or fetch it again."
                    )
                    break
    return told


def folder_entries(folder: Path) -> list[Entry]:
    """Return the tensors of all safetensors files in a model's folder, those of its heads too.

    Raises:
        BadInput: if a header does not fit its data.
    """
    return [
        entry
        for file in sorted(folder.rglob("*.safetensors"))
        if file.name != STATISTICS
        for entry in read_header(file).values()
    ]


def refused_folders(folders: Mapping[str, Path], whole: int = WHOLE) -> dict[str, str]:
    """Return what `refused` does of models that are whole folders, by the name of each."""
    return refused({name: folder_entries(folder) for name, folder in folders.items()}, whole)


def refuse_unfinite(folders: Mapping[str, Path]) -> None:
    """Refuse models whose folders hold NaN or infinity, as `refused` finds them.

    Raises:
        BadInput: naming the first such model and its tensor.
    """
    for told in refused_folders(folders).values():
        raise BadInput(told)


def why_not_numbers(name: str, folder: Path) -> str:
    """Return the sentence about a model that answers NaN; it names the tensor if one is to blame.

    Every element of its weights is looked at, whatever their size.
    """
    return refused_folders({name: folder}, whole=2**62).get(name) or (
        f"'{name}' gives values that are not numbers (NaN), though its weights are: it overflows "
        "on some item."
    )


def _unfinite(readers: Readers, entry: Entry, every: bool) -> tuple[str, int] | None:
    kind = np.dtype(np.float64 if entry.code == "F64" else np.float32)
    for start, size in _pieces(entry.size, every):
        raw = np.empty(size, STORAGE[entry.code])
        readers.read(entry, start, raw)
        if stored_finite(raw, entry.code, np.empty_like(raw)):
            continue
        values = np.empty(size, kind)
        decode(raw, entry.code, values)
        if not all_finite(values):
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            return "NaN" if np.isnan(values[place]) else "infinity", start + place
    return None


def _pieces(size: int, every: bool) -> Iterator[tuple[int, int]]:
    starts = range(0, size, PIECE)
    if not every and len(starts) > 3:
        starts = [0, (size - PIECE) // 2, size - PIECE]  # type: ignore[assignment]
    for start in starts:
        yield start, min(PIECE, size - start)
