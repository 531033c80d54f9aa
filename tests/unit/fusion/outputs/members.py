# SPDX-License-Identifier: Apache-2.0
"""Small random models of several architectures and tokenizers, and labelled texts and pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LABELS = ("negative", "positive")
GOOD = ["good", "great", "fine", "lovely", "bright", "sweet"]
BAD = ["bad", "awful", "poor", "nasty", "dull", "sour"]
PLAIN = ["the", "a", "film", "book", "plot", "song", "was", "is", "very", "so", "day", "it", "but"]


def tokenizer(words: Sequence[str], *, start: str = "[CLS]", pairs: bool = True) -> Any:
    """A whole-word tokenizer that puts `start` before every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", start, "[SEP]", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A [SEP]" if pairs else f"{start} $A",
        special_tokens=[(start, vocabulary[start]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token=start
    )


def config(kind: str, size: int, labels: Sequence[str], **more: Any) -> Any:
    import transformers

    names = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    if kind == "bert":
        return transformers.BertConfig(
            vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, initializer_range=0.4,
            **names, **more,
        )  # fmt: skip
    if kind == "distilbert":
        return transformers.DistilBertConfig(
            vocab_size=size, dim=16, n_layers=1, n_heads=2, hidden_dim=32,
            max_position_embeddings=64, initializer_range=0.4, **names, **more,
        )  # fmt: skip
    if kind == "llama":
        return transformers.LlamaConfig(
            vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=0,
            initializer_range=0.4, **names, **more,
        )  # fmt: skip
    if kind == "bart":
        return transformers.BartConfig(
            vocab_size=size, d_model=16, encoder_layers=1, decoder_layers=1, pad_token_id=0,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
            decoder_ffn_dim=32, max_position_embeddings=64, eos_token_id=3, bos_token_id=2,
            init_std=0.4, **names, **more,
        )  # fmt: skip
    if kind == "vit":
        return transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            image_size=16, patch_size=8, initializer_range=0.4, **names, **more,
        )  # fmt: skip
    raise AssertionError(kind)


def text_model(
    folder: Path,
    kind: str = "bert",
    *,
    words: Sequence[str] = (*PLAIN, *GOOD, *BAD),
    labels: Sequence[str] = LABELS,
    seed: int = 0,
    start: str = "[CLS]",
    dtype: str = "float32",
) -> Path:
    import torch
    import transformers

    torch.manual_seed(seed)
    reader = tokenizer(words, start=start)
    model = transformers.AutoModelForSequenceClassification.from_config(
        config(kind, len(reader), labels)
    )
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder


def image_model(
    folder: Path, *, labels: Sequence[str] = LABELS, seed: int = 0, mean: float = 0.5
) -> Path:
    import torch
    import transformers

    torch.manual_seed(seed)
    model = transformers.ViTForImageClassification(config("vit", 0, labels))
    model.save_pretrained(folder)
    reader = transformers.AutoImageProcessor
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "image_mean": [mean] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    reader.from_pretrained(folder).save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Labelled texts in documents of three."""
    draw = random.Random(seed)
    rows = []
    for place in range(count):
        label = draw.randrange(2)
        words = draw.choices(PLAIN, k=draw.randrange(2, 8)) + draw.choices(
            (BAD, GOOD)[label if draw.random() < 0.9 else 1 - label], k=2
        )
        draw.shuffle(words)
        rows.append({"text": " ".join(words), "label": LABELS[label], "document": f"d{place // 3}"})
    return rows


def data_set(folder: Path, **splits: Sequence[dict[str, Any]]) -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        content = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / f"{split}.jsonl").write_text(content)
    return folder


def recipe(*models: Path, data: Path, **more: Any) -> dict[str, Any]:
    columns = {"text": "text", "label": "label", "group": "document"}
    return {
        "method": "ensemble",
        "models": [{"name": m.name, "model": str(m)} for m in models],
        "tasks": [{"name": "mood", "dataset": str(data), "columns": columns}],
    } | more
