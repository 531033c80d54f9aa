# SPDX-License-Identifier: Apache-2.0
"""Statistics of a model on data that stay at home, which fusion can use instead of the data.

`gram`: the inner products of the inputs of each linear layer, per token, for RegMean (Jin et al.
2023). `fisher`: the expected squared gradient of the log-likelihood for each weight, per text, for
Fisher-weighted averaging (Matena and Raffel 2022). Labels are not needed: the expectation is over
the model's own predictions. The statistics are exact, not anonymous.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.pretrained import head_names, limited_threads, load_classifier, pad

KINDS = ("gram", "fisher")
BATCH = 16
MAX_TOKENS = 256
MAX_TEXTS = 100_000


def collect_statistics(
    folder: Path,
    texts: Sequence[str],
    out: Path,
    *,
    kinds: Sequence[str] = ("gram",),
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute a text classifier's statistics on texts and write them as one safetensors file.

    Args:
        folder: the model, as for fine-tuning.
        texts: what the model is used on; some hundreds are enough.
        out: the file to write; it appears when it is whole.
        kinds: "gram", "fisher" or both.
        threads: how many threads torch may use.
        progress: called with how many texts are done, and of how many.

    Returns:
        How many tensors were written.

    Raises:
        BadInput: for no texts, too many, or an unknown kind.
        MissingExtra: if torch or transformers is not installed.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise BadInput(f"Statistics are of the kinds {' and '.join(KINDS)}, not '{unknown[:1]}'.")
    if not texts or len(texts) > MAX_TEXTS:
        raise BadInput(f"Statistics need 1 to {MAX_TEXTS:,} texts, not {len(texts):,}.")
    model, tokenizer = load_classifier(folder)
    rows = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
    total = len(rows) * len(kinds)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    found: dict[str, Any] = {}
    model.eval()
    with limited_threads(threads):
        if "gram" in kinds:
            found |= _grams(model, tokenizer, rows, tell)
        if "fisher" in kinds:
            found |= _fisher(model, tokenizer, rows, tell)
    if head_names(folder):
        # the folder's tensors are the encoder's, by its own names; the heads are not fused
        start = f"{model.base_model_prefix}."
        found = {
            f"{kind}.{name.removeprefix(start)}": values
            for kind, name, values in ((*full.split(".", 1), v) for full, v in found.items())
            if name.startswith(start)
        }
    _write(found, out, len(rows))
    return len(found)


def _grams(
    model: Any, tokenizer: Any, rows: list[list[int]], tell: Callable[[int], None]
) -> dict[str, Any]:
    """Sum up XᵀX of every linear layer's inputs, without padding, and divide by the rows of X."""
    import torch

    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}
    mask: Any = None

    def hook(name: str) -> Callable[[Any, Any], None]:
        def add(module: Any, inputs: Any) -> None:
            values = inputs[0].detach()
            if values.dim() == 3 and values.shape[:2] == mask.shape:
                values = values[mask.bool()]
            values = values.reshape(-1, values.shape[-1]).double()
            sums[name] = sums.get(name, 0) + values.T @ values
            counts[name] = counts.get(name, 0) + len(values)

        return add

    handles = [
        module.register_forward_pre_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    try:
        with torch.inference_mode():
            for start in range(0, len(rows), BATCH):
                batch = pad(tokenizer, rows[start : start + BATCH])
                mask = batch["attention_mask"]
                model(**batch)
                tell(len(mask))
    finally:
        for handle in handles:
            handle.remove()
    return {f"gram.{n}.weight": (s / max(counts[n], 1)).float() for n, s in sums.items()}


def _fisher(
    model: Any, tokenizer: Any, rows: list[list[int]], tell: Callable[[int], None]
) -> dict[str, Any]:
    """Average the squared gradients of log p(class) over classes, as the model predicts them."""
    import torch

    parameters = dict(model.named_parameters())
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for row in rows:
        logs = torch.log_softmax(model(**pad(tokenizer, [row])).logits[0].float(), -1)
        for number, log in enumerate(logs):
            slopes = torch.autograd.grad(
                log,
                list(parameters.values()),
                retain_graph=number + 1 < len(logs),
                allow_unused=True,
            )
            for total, slope in zip(sums.values(), slopes, strict=True):
                if slope is not None:
                    total.addcmul_(slope, slope, value=float(log.detach().exp()) / len(rows))
        tell(1)
    return {f"fisher.{name}": total for name, total in sums.items()}


def _write(found: dict[str, Any], out: Path, count: int) -> None:
    from safetensors.torch import save_file

    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save_file(
            {n: t.contiguous() for n, t in found.items()}, partial, metadata={"texts": str(count)}
        )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
