# SPDX-License-Identifier: Apache-2.0
"""Small models and texts whose class a word gives away: quick to learn, made in a moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("negative", "positive")
COMMON = ["the", "a", "this", "that", "very", "quite", "was", "is", "it", "and", "so", "here"]
WORDS = {
    "shop": (["broken", "late", "cheap", "loose"], ["sturdy", "quick", "useful", "neat"]),
    "cinema": (["dull", "slow", "noisy", "flat"], ["moving", "funny", "bright", "gripping"]),
}
"""By domain: words of the negative class, words of the positive."""
TOPICS = {"topic": ("animals", "plants", "stones")}
TOPIC_WORDS = (["cat", "dog", "bird"], ["oak", "fern", "rose"], ["flint", "slate", "marble"])
ALL = [
    *COMMON,
    *(word for pair in WORDS.values() for words in pair for word in words),
    *(word for words in TOPIC_WORDS for word in words),
]


def write_tokenizer(folder: Path, words: Sequence[str] = ALL) -> int:
    """Write a tokenizer of whole words; return how many tokens it has."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    return len(tokens)


def bert(folder: Path, labels: Sequence[str] = LABELS, *, width: int = 32, seed: int = 0) -> Path:
    """Write a small BERT classifier with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    count = write_tokenizer(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=count,
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=32,
            initializer_range=0.05,
            **_names(labels),
        )
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def distilbert(folder: Path, labels: Sequence[str] = LABELS, *, seed: int = 0) -> Path:
    """Write a small DistilBERT classifier with random weights and a vocabulary in another order."""
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    count = write_tokenizer(folder, sorted(ALL, reverse=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = DistilBertConfig(
            vocab_size=count,
            dim=24,
            n_layers=1,
            n_heads=2,
            hidden_dim=48,
            max_position_embeddings=32,
            initializer_range=0.05,
            **_names(labels),
        )
        DistilBertForSequenceClassification(config).save_pretrained(folder)
    return folder


def texts_of(domain: str, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Return texts, their labels and their documents (four texts each)."""
    random = np.random.default_rng([seed, len(domain)])
    if domain in WORDS:
        classes: Sequence[tuple[str, Sequence[str]]] = list(zip(LABELS, WORDS[domain], strict=True))
    else:
        classes = list(zip(TOPICS[domain], TOPIC_WORDS, strict=True))
    made = []
    for number in range(count):
        label, words = classes[number % len(classes)]
        row = [str(w) for w in random.choice(COMMON, size=5)]
        row.insert(int(random.integers(0, 6)), str(random.choice(list(words))))
        made.append((" ".join(row), label, f"{seed}-{number // 4}"))
    return made


def dataset(
    folder: Path, domain: str, *, train: int = 200, held: int = 40, poisoned: bool = False
) -> Path:
    """Write a data set with the splits train, validation and test.

    A poisoned one has a test split that cannot be read.
    """
    data = folder / "data"
    data.mkdir(parents=True)
    for seed, (split, count) in enumerate(
        {"train": train, "validation": held, "test": held}.items()
    ):
        rows = [
            json.dumps({"text": text, "label": label, "document": document})
            for text, label, document in texts_of(domain, count, seed)
        ]
        (data / f"{split}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    if poisoned:
        (data / "test.jsonl").write_text("this is not JSON\n", "utf-8")
    return folder


def task(name: str, folder: Path) -> dict[str, Any]:
    """Return a recipe's entry for a data set."""
    return {
        "name": name,
        "dataset": str(folder),
        "metric": "accuracy",
        "columns": {"group": "document"},
    }


def train(
    base: Path,
    domain: str,
    out: Path,
    *,
    seed: int = 0,
    count: int = 200,
    epochs: int = 6,
    learning_rate: float = 1e-2,
) -> Path:
    """Fine-tune a small classifier on a domain."""
    from plait.training import fine_tune

    rows = texts_of(domain, count, 0)
    fine_tune(
        base,
        [text for text, _, _ in rows],
        [label for _, label, _ in rows],
        out,
        epochs=epochs,
        learning_rate=learning_rate,
        freeze_embeddings=False,
        seed=seed,
        threads=1,
    )
    return out


def _names(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: place for place, label in enumerate(labels)},
    }
