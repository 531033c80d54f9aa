# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters in PEFT's format, put on their base while it is read.

Hu et al. 2022, LoRA, arXiv:2106.09685: W + (alpha / r) B A. Nothing is written: each block of the
adapted tensor is made of the base's block and the rows of B that belong to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import MAX_CONFIG, Checkpoint, read_json
from plait.fusion.weights.checksums import file_stamp
from plait.fusion.weights.computed import Computed, Read, float_code, rows_of
from plait.fusion.weights.numbers import FLOATS, Array
from plait.fusion.weights.safetensors import Entry, read_header

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PART = re.compile(r"\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?$")


@dataclass(frozen=True)
class Adapted(Computed):
    """A base's tensor with a low-rank change on it."""

    a: Entry
    b: Entry
    scale: float
    transposed: bool

    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return the base's rows plus those of scale * B A."""
        values = rows_of(read, self.origin, low, high)
        a, b = (_matrix(read, e) for e in (self.a, self.b))
        # in float64, so that how many rows are multiplied at once does not show
        change = a.T[low:high] @ b.T if self.transposed else b[low:high] @ a
        return np.asarray(values + (self.scale * change).astype(values.dtype))


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds an adapter rather than a whole model."""
    return (folder / CONFIG).is_file()


def adapt(base: Checkpoint, folder: Path) -> Checkpoint:
    """Return the base with the adapter of a folder on it.

    Raises:
        BadInput: if it is not a LoRA adapter, or does not fit this base.
    """
    config = read_json(folder / CONFIG, MAX_CONFIG)
    path = folder / WEIGHTS
    if not config or not path.is_file():
        raise BadInput(f"{folder} is not an adapter: it needs {CONFIG} and {WEIGHTS}.")
    if config.get("peft_type", "LORA") != "LORA" or config.get("use_dora"):
        kind = "DoRA" if config.get("use_dora") else str(config.get("peft_type"))[:30]
        raise BadInput(
            f"{folder} is an adapter of the kind {kind}; only LoRA can be put on a base here. "
            "Merge it with peft's merge_and_unload()."
        )
    tensors = dict(base.tensors)
    pairs: dict[str, dict[str, Entry]] = {}
    for key, entry in read_header(path).items():
        found = _PART.search(key)
        if found:
            module = _module(key[: found.start()])
            pairs.setdefault(module, {})[f"{found.group(1) or ''}{found.group(2)}"] = entry
            continue
        # whole tensors: modules that were trained, and embeddings that an adapter is put on
        whole = re.sub(r"\.modules_to_save(\.default)?|\.base_layer", "", _module(key))
        name = _target(whole, tensors, folder)
        _same_shape(entry, tensors[name], folder)
        tensors[name] = replace(entry, name=name)
    for module, parts in pairs.items():
        name = _target(f"{module}.weight", tensors, folder)
        tensors[name] = _adapted(module, tensors[name], parts, config, folder)
    stamps = dict(base.stamps) | {path: file_stamp(path)}
    return Checkpoint(base.folder, (*base.files, path), tensors, base.config, stamps)


def _adapted(
    module: str, weight: Entry, parts: Mapping[str, Entry], config: Mapping[str, Any], folder: Path
) -> Adapted:
    embedding = "embedding_A" in parts
    a = parts.get("embedding_A" if embedding else "A")
    b = parts.get("embedding_B" if embedding else "B")
    if a is None or b is None or not {a.code, b.code} <= set(FLOATS):
        raise BadInput(f"{folder}: the adapter of '{module[:100]}' needs both A and B, of floats.")
    rank = a.shape[0] if a.shape else 0
    wide = (math.prod(a.shape[1:]), b.shape[0] if b.shape else 0)
    wanted = (weight.shape[0] if weight.shape else 0, math.prod(weight.shape[1:]))
    # the setting holds for the layers that store inputs first; others of the model do not
    transposed = embedding or (bool(config.get("fan_in_fan_out")) and wide == wanted)
    if math.prod(b.shape[1:]) != rank or (wide if transposed else wide[::-1]) != wanted:
        raise BadInput(
            f"{folder}: the adapter of '{module[:100]}' (A {list(a.shape)}, B {list(b.shape)}) "
            f"does not fit the base's weight {list(weight.shape)}; it was trained on another base."
        )
    return Adapted(
        name=weight.name,
        code=float_code(weight),
        shape=weight.shape,
        path=weight.path,
        offset=weight.offset,
        nbytes=weight.nbytes,
        origin=weight,
        a=a,
        b=b,
        scale=scale_of(module, rank, config, folder),
        transposed=transposed,
    )


def scale_of(module: str, rank: int, config: Mapping[str, Any], folder: Path) -> float:
    """Return what B A is multiplied by, as an adapter's configuration says for a module.

    Raises:
        BadInput: if that is no number.
    """
    alpha = _by_pattern(module, config.get("alpha_pattern"), config.get("lora_alpha", rank))
    if not isinstance(alpha, int | float) or not math.isfinite(alpha) or rank < 1:
        raise BadInput(f"{folder}: 'lora_alpha' must be a number and the rank at least 1.")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(module: str, patterns: object, default: Any) -> Any:
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        # PEFT's patterns are the ends of module names (or expressions for them)
        if module == pattern or module.endswith(f".{pattern}"):
            return value
    return default


def _module(key: str) -> str:
    return key.removeprefix("base_model.model.")


def _target(name: str, tensors: Mapping[str, Entry], folder: Path) -> str:
    """Return the base's tensor that an adapter's name means; a prefix may be there or not."""
    if name in tensors:
        return name
    ends = [t for t in tensors if t.endswith(f".{name}") or name.endswith(f".{t}")]
    if len(ends) != 1:
        raise BadInput(
            f"{folder}: the adapter changes '{name[:100]}', which its base does not have; "
            "it was trained on another base."
        )
    return ends[0]


def _same_shape(entry: Entry, weight: Entry, folder: Path) -> None:
    if entry.shape != weight.shape:
        raise BadInput(
            f"{folder}: '{weight.name}' has the shape {list(entry.shape)} in the adapter and "
            f"{list(weight.shape)} in its base."
        )


def _matrix(read: Read, entry: Entry) -> Array:
    return rows_of(read, entry, 0, entry.shape[0]).astype(np.float64)
