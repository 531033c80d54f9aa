# SPDX-License-Identifier: Apache-2.0
"""A LoRA adapter's folder as it is combined with others: its pairs A and B, module by module."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.adapters.onto_base import CONFIG, WEIGHTS, scale_of
from plait.fusion.weights.checkpoints import MAX_CONFIG, read_json
from plait.fusion.weights.computed import rows_of
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.numbers import FLOATS, Array, all_finite
from plait.fusion.weights.safetensors import Entry, read_header

_PART = re.compile(r"\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?$")
_SAVED = re.compile(r"\.modules_to_save(?:\.default)?\.")


@dataclass(frozen=True)
class Pair:
    """The change of one module: `scale` B A, with A [rank, inputs] and B [outputs, rank].

    `a` and `b` are the entries as they are stored (an embedding's, or a convolution's of more
    dimensions).
    """

    module: str
    a: Entry
    b: Entry
    scale: float
    embedding: bool

    @property
    def rank(self) -> int:
        """How many rows A has."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape [outputs, inputs] of the change."""
        return (self.b.shape[0], math.prod(self.a.shape[1:]))


@dataclass(frozen=True)
class Lora:
    """An adapter whose header and configuration were read: pairs by module, whole tensors."""

    folder: Path
    config: Mapping[str, Any]
    pairs: Mapping[str, Pair]
    saved: Mapping[str, Entry]

    @property
    def file(self) -> Path:
        """The file of weights."""
        return self.folder / WEIGHTS

    @property
    def rank(self) -> int:
        """The largest rank that its configuration names, as PEFT reckons it."""
        patterns = self.config.get("rank_pattern")
        usual = self.config.get("r", 8)
        ranks = [usual, *(patterns.values() if isinstance(patterns, dict) else ())]
        if not all(type(r) is int and 0 < r <= 100_000 for r in ranks):
            raise BadInput(f"{self.folder}: 'r' and 'rank_pattern' must be whole numbers above 0.")
        return int(max(ranks))


def open_lora(folder: Path) -> Lora:
    """Read an adapter's header and configuration.

    Raises:
        BadInput: if it is no LoRA adapter, or one of a kind that cannot be combined.
    """
    config = read_json(folder / CONFIG, MAX_CONFIG)
    if not config or not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder} is not an adapter: it needs {CONFIG} and {WEIGHTS}.")
    kind = config.get("peft_type", "LORA")
    if kind != "LORA" or config.get("use_dora"):
        kind = "DoRA" if config.get("use_dora") else str(kind)[:30]
        raise BadInput(f"{folder} is an adapter of the kind {kind}; only LoRA can be combined.")
    if config.get("target_parameters"):
        raise BadInput(
            f"{folder} adapts bare parameters ('target_parameters'), which cannot be combined; "
            "put it on its base, as 'base+adapter'."
        )
    parts: dict[str, dict[str, Entry]] = {}
    saved = {}
    for key, entry in read_header(folder / WEIGHTS).items():
        found = _PART.search(key)
        if found:
            module = key[: found.start()]
            parts.setdefault(module, {})[f"{found.group(1) or ''}{found.group(2)}"] = entry
        elif _SAVED.search(key) or _is_saved(key, config):
            saved[key] = entry
        else:
            raise BadInput(
                f"{folder}: '{key[:100]}' is no part of a LoRA pair and cannot be combined; put "
                "the adapter on its base, as 'base+adapter'."
            )
    if not parts:
        raise BadInput(f"{folder}: {WEIGHTS} has no LoRA pairs in it.")
    pairs = {module: _pair(module, own, config, folder) for module, own in parts.items()}
    return Lora(folder, config, pairs, saved)


def _is_saved(key: str, config: Mapping[str, Any]) -> bool:
    """Tell whether a tensor is of a module that is saved whole; files do not say how it was."""
    names = config.get("modules_to_save") or []
    module = key.rpartition(".")[0]
    return any(module == n or f".{n}." in f".{module}." for n in map(str, names))


def _pair(module: str, parts: Mapping[str, Entry], config: Mapping[str, Any], folder: Path) -> Pair:
    embedding = "embedding_A" in parts
    a = parts.get("embedding_A" if embedding else "A")
    b = parts.get("embedding_B" if embedding else "B")
    if a is None or b is None or not {a.code, b.code} <= set(FLOATS):
        raise BadInput(f"{folder}: the adapter of '{module[:100]}' needs both A and B, of floats.")
    rank = a.shape[0] if a.shape else 0
    if len(a.shape) < 2 or len(b.shape) < 2 or math.prod(b.shape[1:]) != rank or not rank:
        raise BadInput(
            f"{folder}: the adapter of '{module[:100]}' has A {list(a.shape)} and B "
            f"{list(b.shape)}, which do not belong together."
        )
    plain = module.removeprefix("base_model.model.")
    return Pair(module, a, b, scale_of(plain, rank, config, folder), embedding)


def read_matrix(readers: Readers, entry: Entry) -> Array:
    """Return an entry [rows, everything else] as float32 (float64 if it is).

    Raises:
        BadInput: if it holds NaN or infinity.
    """
    values = rows_of(readers.read, entry, 0, entry.shape[0])
    if not all_finite(values.reshape(-1)):
        raise BadInput(
            f"{entry.path}: tensor '{entry.name[:100]}' holds NaN or infinity; an adapter with "
            "such weights cannot be fused: train or fetch it again."
        )
    return np.asarray(values)
