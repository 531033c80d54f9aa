# SPDX-License-Identifier: Apache-2.0
"""Models whose weights stay as they are stored, and are computed in float32 all the same.

A checkpoint in bfloat16 or float16 is mapped from its file instead of being read and widened as a
whole: while a layer computes, its own weights alone are in memory in float32. Every such value is a
float32 value, so the results are those of the widened model, bit by bit; memory stays near the
largest layer, and so does what is paid for it: the widening of the weights once for every batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NARROW = ("bfloat16", "float16")
CODES = {"BF16": "bfloat16", "F16": "float16"}
"""What safetensors calls these formats."""
MAX_HEADER = 100_000_000
SMALLEST = 400_000_000
"""Bytes of weights below which a model is simply widened as a whole: that is faster."""
ARCHITECTURES = frozenset({"llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"})
"""Model types whose layers use their weights only while they compute, as the tests show of each."""


def stays_narrow(folder: Path, smallest: int | None = None) -> str | None:
    """Return the format in which a folder's weights stay, None where they are widened as a whole.

    Args:
        folder: of the model.
        smallest: bytes of weights from which it is worth it (default: `SMALLEST`).
    """
    try:
        config = json.loads((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict) or config.get("model_type") not in ARCHITECTURES:
        return None
    least = SMALLEST if smallest is None else smallest
    return stored_format(folder) if weights_size(folder) >= least else None


def stored_format(folder: Path) -> str | None:
    """Return the format of narrow weights, as their files have it, whatever a configuration says.

    None where they are in another format, in several, or cannot be read.
    """
    found: set[str] = set()
    for path in Path(folder).glob("*.safetensors"):
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header: Any = json.loads(file.read(size)) if size <= MAX_HEADER else None
            found |= {str(e["dtype"]) for n, e in header.items() if n != "__metadata__"}
        except (OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError):
            return None
    codes = {code for code in found if code.startswith(("F", "BF"))}
    return CODES.get(codes.pop()) if len(codes) == 1 else None


def memory_of(folder: Path) -> int:
    """Return about how many bytes of memory a model takes while it is measured."""
    size = weights_size(folder)
    # Mapped weights take memory of their own only where a fusion is written over them.
    return size + size // 8 if stays_narrow(folder) else 3 * size


def weights_size(folder: Path) -> int:
    """Return the bytes of a folder's safetensors files."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def compute_wide(model: Any) -> Any:
    """Make a torch module with narrow weights compute in float32, and return it.

    For prediction: what is computed has no gradients.
    """
    import torch

    narrow = [getattr(torch, name) for name in NARROW]
    for module in model.modules():
        own = [name for name, value in module._parameters.items() if value is not None]
        if not any(module._parameters[name].dtype in narrow for name in own):
            continue
        if isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(_widen_output)  # of the rows that were taken alone
            continue
        module.register_forward_pre_hook(_widen_weights)
        module.register_forward_hook(_narrow_weights, always_call=True)
    return model


def _widen_output(module: Any, arguments: Any, output: Any) -> Any:
    return output.float()


def _widen_weights(module: Any, arguments: Any) -> None:
    import torch

    kept = dict(module._parameters)
    module.__dict__["_narrow"] = kept
    for name, value in kept.items():
        if value is not None:
            module._parameters[name] = torch.nn.Parameter(value.float(), requires_grad=False)


def _narrow_weights(module: Any, arguments: Any, output: Any) -> None:
    kept = module.__dict__.pop("_narrow", None)
    if kept is not None:
        module._parameters.update(kept)
