# SPDX-License-Identifier: Apache-2.0
"""A real but tiny BERT classifier, domains with words of their own, and fine-tunes on each."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

DOMAINS = ("shop", "cinema", "press")
NEUTRAL = [f"word{i}" for i in range(20)]
POLAR = {
    (domain, label): [f"{domain}{'bad' if label == 0 else 'good'}{i}" for i in range(8)]
    for domain in (*DOMAINS, "common")
    for label in (0, 1)
}


def sentences(domain: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Make labelled sentences, three to a document; one in twenty is labelled wrongly."""
    draw = random.Random(f"{domain}{seed}")
    rows = []
    for index in range(count):
        label = index % 2
        words = draw.sample(NEUTRAL, 3) + draw.sample(POLAR[domain, label], 2)
        draw.shuffle(words)
        shown = 1 - label if draw.random() < 0.05 else label
        rows.append(
            {"text": " ".join(words), "label": shown, "document": f"{domain}-{seed}-{index // 3}"}
        )
    return rows


def write_split(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    path = folder / "data" / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_base(folder: Path, *, hidden: int = 32, layers: int = 1, seed: int = 0) -> Path:
    """Write a classifier that knows common words only, with a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NEUTRAL]
    words += [word for some in POLAR.values() for word in some]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(words),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=2 * hidden,
            max_position_embeddings=32,
            id2label={0: "negative", 1: "positive"},
            label2id={"negative": 0, "positive": 1},
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    _train(model, made, sentences("common", 200, 0), list(model.parameters()), 5e-3)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def fine_tune(base: Path, folder: Path, rows: list[dict[str, Any]], *, seed: int = 0) -> Path:
    """Train a copy of the base on some sentences: its word vectors alone, which merge well."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    _train(model, tokenizer, rows, [model.bert.embeddings.word_embeddings.weight], 2e-2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _train(
    model: Any, tokenizer: Any, rows: list[dict[str, Any]], weights: list[Any], rate: float
) -> None:
    import torch

    batch = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    labels = torch.tensor([row["label"] for row in rows])
    optimizer = torch.optim.Adam(weights, lr=rate)
    model.train()
    for _ in range(30):
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()


def project(*, allow: tuple[str, ...] = DOMAINS, budget: int = 4, extra: str = "") -> str:
    """Write the plait.yaml of the model."""
    tasks = "".join(
        f"  - {{name: {name}, dataset: {name}/texts, columns: {{group: document}}, margin: 0.15}}\n"
        for name in allow
    )
    return f"fusion: {{budget: {budget}}}\ntasks:\n{tasks}{extra}"
