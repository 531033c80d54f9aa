# SPDX-License-Identifier: Apache-2.0
"""The low-rank adapter that is nearest to what a fine-tune changed of its base."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plait.errors import BadInput, Conflict
from plait.fusion.weights.adapters import CONFIG, WEIGHTS
from plait.fusion.weights.alike import check_alike
from plait.fusion.weights.checkpoints import Checkpoint, open_checkpoint
from plait.fusion.weights.computed import rows_of
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.numbers import FLOATS, Array
from plait.fusion.weights.safetensors import Entry, layout

_NOT_LINEAR = re.compile(r"embed|wte|wpe|shared|norm|(^|\.)ln_|lm_head|classifier|score")
_INPUTS_FIRST = re.compile(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$")


@dataclass(frozen=True)
class Extraction:
    """What an adapter holds: how many matrices, how much of their change, and what is left out.

    `kept` is the share of the squared change of the matrices; `left_out` names changed tensors that
    are no matrices of linear layers.
    """

    out: Path
    matrices: int
    rank: int
    kept: float
    left_out: tuple[str, ...]


def extract_adapter(
    base: Path,
    model: Path,
    out: Path,
    *,
    rank: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Write the LoRA adapter of a given rank that is nearest to a fine-tune's change of its base.

    By the largest singular vectors of each linear layer's change (Eckart and Young 1936), in
    PEFT's format. Embeddings, heads, norms and biases are not part of it.

    Raises:
        BadInput: if the models do not fit, or no linear layer was changed.
        Conflict: if `out` is there already.
    """
    if not 1 <= rank <= 4096:
        raise BadInput(f"The rank must be from 1 to 4096, not {rank}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(f"{out} exists already; choose another folder.")
    start, tuned = open_checkpoint(base), open_checkpoint(model)
    check_alike({str(base): start, str(model): tuned})
    parts: dict[str, Array] = {}
    modules, left_out = [], []
    whole = kept = 0.0
    with Readers() as readers:
        names = [n for n in start.tensors if _comparable(start, tuned, n)]
        for number, name in enumerate(names, 1):
            change = _change(readers, start.tensors[name], tuned.tensors[name])
            if progress:
                progress(number, len(names))
            if not change.any():
                continue
            if change.ndim != 2 or not name.endswith(".weight") or _NOT_LINEAR.search(name):
                left_out.append(name)
                continue
            if _turned(start, name):
                change = change.T
            left, sizes, right = np.linalg.svd(change, full_matrices=False)
            root = np.sqrt(sizes[:rank])
            module = name.removesuffix(".weight")
            modules.append(module)
            key = f"base_model.model.{module}"
            parts[f"{key}.lora_A.weight"] = root[:, None] * right[:rank]
            parts[f"{key}.lora_B.weight"] = left[:, :rank] * root
            whole += float(np.square(sizes).sum())
            kept += float(np.square(sizes[:rank]).sum())
    if not modules:
        raise BadInput(f"{model} changes no linear layer of {base}; there is nothing to extract.")
    ranks = {m: int(parts[f"base_model.model.{m}.lora_A.weight"].shape[0]) for m in modules}
    _write(out, parts, _config(base, start, modules, ranks, rank))
    return Extraction(out, len(modules), rank, kept / whole, tuple(left_out))


def _comparable(start: Checkpoint, tuned: Checkpoint, name: str) -> bool:
    one, other = start.tensors[name], tuned.tensors.get(name)
    if other is None:
        raise BadInput(f"{tuned.folder} does not have '{name}', which its base has.")
    if one.code not in FLOATS:
        return False
    if one.shape != other.shape:
        raise BadInput(
            f"'{name}' has the shape {list(one.shape)} in the base and {list(other.shape)} in "
            f"{tuned.folder}."
        )
    return bool(one.size)


def _change(readers: Readers, one: Entry, other: Entry) -> Array:
    rows = one.shape[0] if one.shape else 1
    change = rows_of(readers.read, other, 0, rows) - rows_of(readers.read, one, 0, rows)
    return change.reshape(one.shape)


def _turned(model: Checkpoint, name: str) -> bool:
    """Tell whether a layer stores inputs first, as GPT-2's do."""
    kind = str(model.config.get("model_type"))
    return kind.startswith("gpt2") and bool(_INPUTS_FIRST.search(name))


def _config(
    base: Path, start: Checkpoint, modules: list[str], ranks: dict[str, int], rank: int
) -> dict[str, object]:
    smaller = {m: r for m, r in ranks.items() if r != rank}
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "task_type": None,
        "inference_mode": True,
        "target_modules": modules,
        "rank_pattern": smaller,
        "alpha_pattern": smaller,
        "fan_in_fan_out": any(_turned(start, f"{m}.weight") for m in modules),
    }


def _write(out: Path, parts: dict[str, Array], config: dict[str, object]) -> None:
    """Write the folder, whole or not at all."""
    partial = out.with_name(f".{out.name}.extracting")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    header, starts, size = layout((n, "F32", v.shape) for n, v in parts.items())
    with (partial / WEIGHTS).open("wb") as file:
        file.write(header)
        for name, values in parts.items():
            file.seek(starts[name])
            file.write(np.ascontiguousarray(values, "<f4").tobytes())
        file.truncate(size)
    (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    if out.is_dir():
        out.rmdir()
    partial.rename(out)
