# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning a sequence classification model, in a plain loop on the CPU.

Contributions that will be fused should stay near one another, and two options serve that: with
``freeze_embeddings`` words keep their vectors, and with ``freeze_head`` every contributor's encoder
learns to speak to the same head, so that fused encoders agree on what the classes look like.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.pretrained import limited_threads, load_classifier, pad
from plait.training.loop import Progress, optimise


@dataclass(frozen=True)
class TrainingResult:
    """What a fine-tuning did."""

    out: Path
    items: int
    steps: int
    losses: tuple[float, ...]
    """The mean loss of each epoch."""
    seconds: float
    cpu_seconds: float


def fine_tune(
    base: Path,
    texts: Sequence[str],
    labels: Sequence[int | str],
    out: Path,
    *,
    epochs: int = 2,
    learning_rate: float = 1e-4,
    batch_size: int = 16,
    max_length: int = 64,
    freeze_embeddings: bool = True,
    freeze_head: bool = False,
    balance_classes: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Fine-tune a text classifier and write it to ``out``, which appears only when it is whole.

    AdamW with linear warm-up over a tenth of the steps and linear decay, gradients clipped to norm
    1. Labels are class numbers or names of the base's ``id2label``. ``balance_classes`` weighs each
    class by the inverse of its frequency. One seed and number of threads give the same weights on
    one machine.

    Raises:
        BadInput: if there is nothing to learn from, a label is unknown, or ``out`` exists.
        Cancelled: if ``cancelled`` says so; nothing is left behind.
        MissingExtra: if torch or transformers is not installed.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    out = Path(out)
    if out.exists():
        raise BadInput(f"{out} is there already; choose another folder or remove it first.")
    check_numbers(epochs, learning_rate, batch_size, max_length)
    _check_texts(texts, labels)
    model, tokenizer = load_classifier(Path(base))
    classes = _classes(labels, model.config)
    import torch

    with limited_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        freeze(model, embeddings=freeze_embeddings, head=freeze_head)
        limit = min(max_length, getattr(model.config, "max_position_embeddings", max_length))
        encoded = tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        rows = [list(ids) for ids in encoded]
        truth = torch.tensor(classes)
        often = _class_weights(classes, model.config.num_labels) if balance_classes else None

        def loss(batch: list[int]) -> Any:
            logits = model(**pad(tokenizer, [rows[i] for i in batch])).logits
            return torch.nn.functional.cross_entropy(logits, truth[batch], weight=often)

        model.train()
        losses, steps = optimise(
            list(model.parameters()),
            [len(row) for row in rows],
            loss,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            random=np.random.default_rng(seed),
            progress=progress,
            cancelled=cancelled,
        )
    save(model, tokenizer, out)
    return TrainingResult(
        out,
        len(texts),
        steps,
        tuple(losses),
        time.monotonic() - started,
        time.process_time() - cpu_started,
    )


def add_head(
    encoder: Path,
    out: Path,
    labels: Sequence[str] = ("negative", "positive"),
    *,
    seed: int = 0,
    spread: float = 0.06,
) -> Path:
    """Write an encoder as a text classifier with a fresh head, the base for contributions to share.

    The head's weights are normal with standard deviation ``spread`` (0.06 is wide enough that the
    encoder alone can learn to use it with ``freeze_head``), its biases zero.

    Raises:
        BadInput: if the folder is not an encoder that transformers has, or ``out`` exists.
    """
    out = Path(out)
    if out.exists():
        raise BadInput(f"{out} is there already; choose another folder or remove it first.")
    if len(set(labels)) < 2 or len(set(labels)) != len(labels):
        raise BadInput("A classifier needs two or more labels, each with its own name.")
    model, tokenizer = load_classifier(Path(encoder), new_head=labels, seed=seed)
    import torch

    random = np.random.default_rng(seed)
    head = _head(model)
    with torch.no_grad():
        for name, parameter in sorted(head.named_parameters()):
            if name.endswith("bias"):
                parameter.zero_()
            else:
                drawn = random.normal(0.0, spread, size=tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(drawn.astype(np.float32)))
    save(model, tokenizer, out)
    return out


def check_numbers(epochs: int, learning_rate: float, batch_size: int, max_length: int) -> None:
    """Refuse settings of a training that cannot be.

    Raises:
        BadInput: naming the setting and its bounds.
    """
    for name, value, most in (
        ("epochs", epochs, 1_000),
        ("batch_size", batch_size, 4_096),
        ("max_length", max_length, 8_192),
    ):
        if not 1 <= value <= most:
            raise BadInput(f"{name} must be from 1 to {most:,}, not {value}.")
    if not 0 < learning_rate <= 1:
        raise BadInput(f"learning_rate must be above 0 and at most 1, not {learning_rate}.")


def _check_texts(texts: Sequence[str], labels: Sequence[int | str]) -> None:
    if not texts:
        raise BadInput("There are no texts to fine-tune on.")
    if len(texts) != len(labels):
        raise BadInput(f"There are {len(texts):,} texts but {len(labels):,} labels.")
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"Text {number} is empty or not a text; remove it.")
    if len(set(labels)) < 2:
        raise BadInput(
            f"Every text has the label '{labels[0]}'; a classifier needs texts of every label."
        )


def _classes(labels: Sequence[int | str], config: Any) -> list[int]:
    names = {str(name).lower(): int(index) for index, name in config.id2label.items()}
    classes = []
    for label in labels:
        index = names.get(label.lower()) if isinstance(label, str) else int(label)
        if index is None or not 0 <= index < config.num_labels:
            known = ", ".join(str(config.id2label[i]) for i in range(config.num_labels))
            raise BadInput(f"The label '{label}' is not one of the base's: {known}.")
        classes.append(index)
    return classes


def _class_weights(classes: Sequence[int], count: int) -> Any:
    import torch

    often = torch.bincount(torch.tensor(classes), minlength=count).float()
    return len(classes) / (torch.count_nonzero(often) * often.clamp(min=1))


def _head(model: Any) -> Any:
    for name in ("classifier", "score"):
        head = getattr(model, name, None)
        if head is not None:
            return head
    raise BadInput(f"The head of a {model.config.model_type} classifier is not known.")


def freeze(model: Any, *, embeddings: bool, head: bool) -> None:
    """Let a classifier's embeddings, its head, or both stay as they are while it is trained."""
    if embeddings:
        inner = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
        inner.requires_grad_(False)
    if head:
        _head(model).requires_grad_(False)


def save(model: Any, tokenizer: Any, out: Path) -> None:
    """Write a model beside ``out`` and rename, so that a crash leaves no half-written one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.chmod(0o755)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
