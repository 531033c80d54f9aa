# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning an encoder as a token classifier: a tag for each word, on the word's first piece.

Decoded as `plait.evaluation.runners.TokenTagger` does it. Words of some tags can be hidden behind
the mask token now and then, so that the tags are learnt from what stands around them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.pretrained import limited_threads, load_encoder, pad
from plait.training.classifier import check_numbers, freeze, save
from plait.training.loop import Progress, optimise

IGNORED = -100
"""The class of pieces that are not scored: all but a word's first."""
Judge = Callable[[Any, Any], float]
"""Scores a model and its tokenizer; more is better."""


@dataclass(frozen=True)
class TaggerOptions:
    """How a tagger is trained."""

    epochs: int = 4
    learning_rate: float = 2e-4
    batch_size: int = 16
    max_length: int = 128
    freeze_embeddings: bool = True
    hidden: float = 0.15
    """How often a word of one of `hide` is hidden behind the mask token."""
    hide: tuple[str, ...] = ()
    """Kinds of tags; of ``B-P:capital`` the kind is P."""
    patience: int = 2
    """Epochs without a better score after which the training ends; 0: never."""
    seed: int = 0
    threads: int | None = None


@dataclass(frozen=True)
class TaggerResult:
    """What a training did."""

    out: Path
    sentences: int
    steps: int
    losses: tuple[float, ...]
    """The mean loss of each epoch."""
    scores: tuple[float, ...]
    """What the judge said after each epoch; empty without one."""
    best: int
    """The epoch whose weights were kept, from 1."""
    seconds: float
    cpu_seconds: float


def train_tagger(
    encoder: Path,
    sentences: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    out: Path,
    *,
    labels: Sequence[str],
    options: TaggerOptions | None = None,
    judge: Judge | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> TaggerResult:
    """Fine-tune an encoder with a fresh head and write it to ``out``, which appears when whole.

    Args:
        encoder: a folder of a text encoder, or of a model whose encoder is taken.
        sentences: words; `tags` their tags, of `labels`.
        labels: the names of the tags, in the order that the model shall give them.
        judge: scores the model after each epoch, on sentences that are not trained on; the best
            epoch's weights are kept, and `options.patience` ends the training early.

    Raises:
        BadInput: there is nothing to learn from, a tag is unknown, or ``out`` exists.
        Cancelled: if ``cancelled`` says so; nothing is left behind.
        MissingExtra: torch or transformers is not installed.
    """
    options = options or TaggerOptions()
    started, cpu_started = time.monotonic(), time.process_time()
    out = Path(out)
    if out.exists():
        raise BadInput(f"{out} is there already; choose another folder or remove it first.")
    check_numbers(options.epochs, options.learning_rate, options.batch_size, options.max_length)
    numbers = _numbers(sentences, tags, labels)
    model, tokenizer = fresh_tagger(Path(encoder), labels, seed=options.seed)
    import torch

    kept: dict[str, Any] = {}
    scores: list[float] = []
    with limited_threads(options.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)  # dropout
        freeze(model, embeddings=options.freeze_embeddings, head=False)
        rows, truth, hidable = _encode(tokenizer, sentences, numbers, labels, options)
        random = np.random.default_rng(options.seed)
        mask = tokenizer.mask_token_id

        def loss(batch: list[int]) -> Any:
            ids = [list(rows[k]) for k in batch]
            if mask is not None and options.hidden > 0:
                for line, k in zip(ids, batch, strict=True):
                    for pieces in hidable[k]:
                        if random.random() < options.hidden:
                            for place in pieces:
                                line[place] = mask
            inputs = pad(tokenizer, ids)
            wanted = torch.full(inputs["input_ids"].shape, IGNORED)
            for place, k in enumerate(batch):
                wanted[place, : len(truth[k])] = torch.tensor(truth[k])
            logits = model(**inputs).logits
            return torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), wanted, ignore_index=IGNORED
            )

        def after_epoch(epoch: int) -> bool:
            if judge is None:
                return False
            model.eval()
            score = judge(model, tokenizer)
            model.train()
            if not scores or score > max(scores):
                kept.update(copy.deepcopy(model.state_dict()))
            scores.append(score)
            since = epoch - 1 - int(np.argmax(scores))
            return 0 < options.patience <= since

        model.train()
        losses, steps = optimise(
            list(model.parameters()),
            [len(row) for row in rows],
            loss,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            batch_size=options.batch_size,
            random=np.random.default_rng(options.seed),
            progress=progress,
            cancelled=cancelled,
            after_epoch=after_epoch,
        )
        if kept:
            model.load_state_dict(kept)
    save(model.eval(), tokenizer, out)
    return TaggerResult(
        out,
        len(sentences),
        steps,
        tuple(losses),
        tuple(scores),
        int(np.argmax(scores)) + 1 if scores else len(losses),
        time.monotonic() - started,
        time.process_time() - cpu_started,
    )


def fresh_tagger(encoder: Path, labels: Sequence[str], *, seed: int = 0) -> tuple[Any, Any]:
    """Return a token classifier of an encoder's weights with a fresh head, and its tokenizer.

    Raises:
        BadInput: the folder holds no encoder that transformers has a token classifier for, or its
            tokenizer does not say which word a piece is of.
    """
    inner, tokenizer = load_encoder(encoder, "text")
    import torch
    import transformers

    if not tokenizer.is_fast:
        raise BadInput(
            f"{encoder.name} has a slow tokenizer, which does not tell the pieces of a word; it "
            "needs a tokenizer.json."
        )
    config = copy.deepcopy(inner.config)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: place for place, name in enumerate(labels)}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = transformers.AutoModelForTokenClassification.from_config(config)
    except ValueError:
        raise BadInput(
            f"{encoder.name} is a {config.model_type}, of which transformers has no token "
            "classifier; take an encoder like BERT."
        ) from None
    base = getattr(model, model.base_model_prefix)
    missing, _ = base.load_state_dict(inner.state_dict(), strict=False)
    if missing:
        raise BadInput(f"{encoder.name} lacks weights that a tagger needs ({missing[0]}).")
    return model.float(), tokenizer


def _numbers(
    sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], labels: Sequence[str]
) -> list[list[int]]:
    if not sentences:
        raise BadInput("There are no sentences to train a tagger on.")
    if len(sentences) != len(tags):
        raise BadInput(f"There are {len(sentences):,} sentences but tags for {len(tags):,}.")
    known = {name: place for place, name in enumerate(labels)}
    made = []
    for number, (words, row) in enumerate(zip(sentences, tags, strict=True), start=1):
        if not words or len(words) != len(row):
            raise BadInput(f"Sentence {number} has {len(words)} words but {len(row)} tags.")
        unknown = [tag for tag in row if tag not in known]
        if unknown:
            raise BadInput(
                f"Sentence {number} has the tag '{unknown[0][:60]}', which is none of "
                f"{', '.join(labels)}."
            )
        made.append([known[tag] for tag in row])
    return made


def _encode(
    tokenizer: Any,
    sentences: Sequence[Sequence[str]],
    numbers: Sequence[Sequence[int]],
    labels: Sequence[str],
    options: TaggerOptions,
) -> tuple[list[list[int]], list[list[int]], list[list[list[int]]]]:
    """Return the pieces of sentences, their classes, and the pieces of words that may be hidden."""
    hide: Collection[int] = {
        k for k, name in enumerate(labels) if name[2:].partition(":")[0] in options.hide
    }
    rows, truth, hidable = [], [], []
    for words, held in zip(sentences, numbers, strict=True):
        found = tokenizer(
            list(words), is_split_into_words=True, truncation=True, max_length=options.max_length
        )
        ids, classes = list(found["input_ids"]), []
        hidden: dict[int, list[int]] = {}
        before = None
        for place, word in enumerate(found.word_ids()):
            classes.append(IGNORED if word is None or word == before else held[word])
            if word is not None and held[word] in hide:
                hidden.setdefault(word, []).append(place)
            before = word
        rows.append(ids)
        truth.append(classes)
        hidable.append(list(hidden.values()))
    return rows, truth, hidable
