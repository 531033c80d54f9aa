# SPDX-License-Identifier: Apache-2.0
"""What a fusion changed, layer by layer, and how far its contributions agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plait.fusion.weights.checkpoints import open_checkpoint
from plait.fusion.weights.engine import BLOCK, Readers
from plait.fusion.weights.naming import group_of
from plait.fusion.weights.numbers import FLOATS, STORAGE, Array, decode
from plait.fusion.weights.safetensors import Entry


@dataclass
class _Sums:
    tensors: int = 0
    base: float = 0.0
    change: float = 0.0
    touched: int = 0
    agreed: int = 0
    parameters: int = field(default=0)


def compare_layers(
    base: Path, contributions: Sequence[Path], fused: Path | Mapping[str, Array]
) -> list[dict[str, Any]]:
    """Return, for each layer, how far the fused model is from its base and how contributions agree.

    `relative_change` is the length of the change over the length of the base's weights (L2 norms).
    `sign_agreement` is, of the weights that two or more contributions changed, the share that they
    all changed in one direction; None where there are none such.
    """
    start = open_checkpoint(Path(base))
    others = [open_checkpoint(Path(c)) for c in contributions]
    result = fused if isinstance(fused, Mapping) else open_checkpoint(Path(fused)).tensors
    rows: dict[str, _Sums] = {}
    with Readers() as readers:
        for name, entry in start.tensors.items():
            made = result.get(name)
            if entry.code not in FLOATS or made is None or tuple(made.shape) != entry.shape:
                continue
            sums = rows.setdefault(group_of(name), _Sums())
            sums.tensors += 1
            sums.parameters += entry.size
            changed = [m.tensors[name] for m in others if name in m.tensors]
            changed = [e for e in changed if e.shape == entry.shape and e.code in FLOATS]
            for low in range(0, entry.size, BLOCK):
                size = min(BLOCK, entry.size - low)
                _add_block(sums, readers, entry, made, changed, low, size)
    return [_row(name, rows[name]) for name in sorted(rows, key=_natural)]


def _add_block(
    sums: _Sums,
    readers: Readers,
    entry: Entry,
    made: Entry | Array,
    changed: Sequence[Entry],
    low: int,
    size: int,
) -> None:
    base = _values(readers, entry, low, size)
    now = (
        _values(readers, made, low, size)
        if isinstance(made, Entry)
        else np.asarray(made).reshape(-1)[low : low + size]
    )
    sums.base += float(np.add.reduce(np.square(base), dtype=np.float64))
    sums.change += float(np.add.reduce(np.square(now - base), dtype=np.float64))
    if len(changed) < 2:
        return
    up = np.zeros(size, np.int16)
    down = np.zeros(size, np.int16)
    for other in changed:
        values = _values(readers, other, low, size)
        up += values > base
        down += values < base
    several = (up + down) >= 2
    sums.touched += int(np.count_nonzero(several))
    sums.agreed += int(np.count_nonzero(several & ((up == 0) | (down == 0))))


def _values(readers: Readers, entry: Entry, low: int, size: int) -> Array:
    raw = np.empty(size, STORAGE[entry.code])
    readers.read(entry, low, raw)
    values = np.empty(size, np.float32)
    decode(raw, entry.code, values)
    return values


def _row(name: str, sums: _Sums) -> dict[str, Any]:
    return {
        "name": name,
        "tensors": sums.tensors,
        "parameters": sums.parameters,
        "relative_change": math.sqrt(sums.change / sums.base) if sums.base > 0 else 0.0,
        "sign_agreement": sums.agreed / sums.touched if sums.touched else None,
    }


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort names as people count: layer 2 before layer 10."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in name.split(".")]
