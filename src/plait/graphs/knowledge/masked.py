# SPDX-License-Identifier: Apache-2.0
"""Continued training on a graph's sentences: words are masked and must be guessed.

As BERT was trained (Devlin et al. 2019, arXiv:1810.04805): of 15% of the tokens, eight in ten are
masked, one is exchanged and one stays. Loss is taken at these tokens alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.pretrained import limited_threads, load_model, pad
from plait.training.loop import Progress, optimise

SHARE = 0.15
MAX_LENGTH = 64


def load_masked(folder: Path) -> tuple[Any, Any]:
    """Load a masked language model and its tokenizer, in float32.

    Raises:
        BadInput: the folder holds none.
        MissingExtra: torch or transformers is not installed.
    """
    folder = Path(folder)
    try:
        model, tokenizer = load_model(folder, "AutoModelForMaskedLM")
    except BadInput as error:
        raise BadInput(
            f"{folder.name} is no masked language model, which --how text trains: {error}"
        ) from error
    if tokenizer.mask_token_id is None:
        raise BadInput(
            f"{folder.name} is no masked language model, which --how text trains: it lacks a mask "
            "token."
        )
    return model, tokenizer


def train_masked(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 3e-4,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> float:
    """Train a masked language model in place; return the mean loss.

    Raises:
        BadInput: there are no texts.
        Cancelled: if `cancelled` says so.
    """
    import torch

    if not texts:
        raise BadInput("There are no sentences to train on.")
    random = np.random.default_rng(seed)
    rows = _encoded(tokenizer, texts)
    order = repeated(len(rows), steps * batch_size, random)

    def loss(batch: list[int]) -> Any:
        return _loss(model, tokenizer, [rows[order[i]] for i in batch], random)

    with limited_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.train()
        losses, _ = optimise(
            list(model.parameters()),
            [len(rows[i]) for i in order],
            loss,
            epochs=1,
            learning_rate=learning_rate,
            batch_size=batch_size,
            random=random,
            progress=progress,
            cancelled=cancelled,
        )
        model.eval()
    return losses[0]


def masked_loss(model: Any, tokenizer: Any, texts: Sequence[str], *, seed: int = 0) -> float:
    """Return the mean loss of masked words in texts: the same ones for every model of a seed."""
    import torch

    random = np.random.default_rng(seed)
    rows = _encoded(tokenizer, texts)
    with torch.inference_mode():
        found = [
            float(_loss(model, tokenizer, rows[start : start + 64], random))
            for start in range(0, len(rows), 64)
        ]
    return float(np.mean(found))


def repeated(count: int, wanted: int, random: np.random.Generator) -> list[int]:
    """Return so many numbers below `count`: each as often as the others, in random rounds."""
    rounds = [random.permutation(count) for _ in range(-(-wanted // count))]
    found: list[int] = np.concatenate(rounds)[:wanted].tolist()
    return found


def _encoded(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    found = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return [list(ids) for ids in found]


def _loss(
    model: Any, tokenizer: Any, rows: Sequence[list[int]], random: np.random.Generator
) -> Any:
    import torch

    made = pad(tokenizer, list(rows))
    ids = made["input_ids"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chosen = torch.from_numpy(random.random(tuple(ids.shape)) < SHARE) & ~special
    if not bool(chosen.any()):
        chosen = ~special
    how = torch.from_numpy(random.random(tuple(ids.shape)))
    drawn = torch.from_numpy(random.integers(0, len(tokenizer), tuple(ids.shape)))
    masked = torch.where(chosen & (how < 0.8), torch.tensor(tokenizer.mask_token_id), ids)
    masked = torch.where(chosen & (how >= 0.9), drawn, masked)
    inputs = {**made, "input_ids": masked}
    head = getattr(model, "cls", None) or getattr(model, "lm_head", None)
    if head is not None:  # words are scored where they are masked: a ninth of the work
        states = model.base_model(**inputs)[0][chosen]
        logits = head(states)
    else:
        logits = model(**inputs).logits[chosen]
    return torch.nn.functional.cross_entropy(logits, ids[chosen])
