# SPDX-License-Identifier: Apache-2.0
"""Small models for fusion's tests, written and read by code that is not the code under test."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]
CODES = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64", "uint16": "BF16"}


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round to bfloat16 (as uint16) by choosing the nearer neighbour, in a tie the even one."""
    values = np.asarray(values, np.float64)
    low = values.astype(np.float32)
    low = np.where(
        np.abs(low.astype(np.float64)) > np.abs(values), np.nextafter(low, np.float32(0)), low
    )
    down = low.view(np.uint32) & np.uint32(0xFFFF0000)
    up = down + np.uint32(0x10000)
    to_down = np.abs(values - down.view(np.float32).astype(np.float64))
    to_up = np.abs(up.view(np.float32).astype(np.float64) - values)
    even = (down >> 16) & 1 == 0
    pick = np.where(to_down == to_up, np.where(even, down, up), np.where(to_down < to_up, down, up))
    return (pick >> 16).astype(np.uint16)


def from_bfloat16(stored: np.ndarray) -> np.ndarray:
    """Return the float32 that bfloat16 bits stand for."""
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """Write tensors; arrays of uint16 are taken as bfloat16."""
    header: dict[str, Any] = {}
    place = 0
    for name, values in tensors.items():
        code = CODES[values.dtype.name]
        header[name] = {
            "dtype": code,
            "shape": list(values.shape),
            "data_offsets": [place, place + values.nbytes],
        }
        place += values.nbytes
    text = json.dumps(header).encode()
    data = b"".join(np.ascontiguousarray(v).tobytes() for v in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read tensors; bfloat16 as uint16."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    kinds = {code: name for name, code in CODES.items()}
    result = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + o for o in entry["data_offsets"])
            result[name] = np.frombuffer(raw[begin:end], kinds[entry["dtype"]]).reshape(
                entry["shape"]
            )
    return result


def write_model(folder: Path, tensors: Tensors, **config: Any) -> Path:
    """Write a model folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **config}))
    return folder


def bert(
    seed: int, around: Tensors | None = None, size: float = 0.05, layers: int = 3
) -> dict[str, np.ndarray]:
    """Return the tensors of a tiny BERT: drawn anew, or near another."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"bert.embeddings.word_embeddings.weight": (50, 16)}
    for number in range(layers):
        for part in ("attention.self.query", "attention.output.dense", "output.dense"):
            shapes[f"bert.encoder.layer.{number}.{part}.weight"] = (16, 16)
            shapes[f"bert.encoder.layer.{number}.{part}.bias"] = (16,)
    shapes |= {"classifier.weight": (2, 16), "classifier.bias": (2,)}
    drawn = {n: random.standard_normal(s, np.float32) for n, s in shapes.items()}
    if around is None:
        return drawn
    return {n: around[n] + np.float32(size) * v for n, v in drawn.items()}
