# SPDX-License-Identifier: Apache-2.0
"""Tiny classifiers of one base, each with texts of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "good", "bad", "day", "film", "soup", "rain", "sun", "cat", "dog", "old", "new"]
SHOP = ["good soup", "bad soup day", "new soup good", "old bad soup", "soup", "good new day soup"]
CINEMA = ["old film", "film good cat", "bad film dog", "new film", "rain film", "sun film old"]


@dataclass(frozen=True)
class Family:
    """A base, two fine-tunes named shop and cinema, and a folder with their texts."""

    base: Path
    models: dict[str, Path]
    data: dict[str, Path]
    texts: dict[str, list[str]]

    def recipe(self, method: str, **more: Any) -> dict[str, Any]:
        """Return a recipe over the fine-tunes, with their tasks."""
        return {
            "merge_method": method,
            "base_model": str(self.base),
            "models": [{"model": str(f)} for f in self.models.values()],
            "tasks": [{"name": n, "dataset": str(f)} for n, f in self.data.items()],
            **more,
        }


def config(layers: int = 3, **options: Any) -> Any:
    """Return the configuration of a tiny BERT."""
    transformers = pytest.importorskip("transformers")
    return transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        initializer_range=0.4,
        **options,
    )


def save(model: Any, folder: Path) -> Path:
    """Write a model with its tokenizer."""
    transformers = pytest.importorskip("transformers")
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def moved(model: Any, seed: int, size: float = 0.2) -> Any:
    """Return a model with random numbers added to its weights."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    with torch.no_grad():
        for values in model.parameters():
            values += size * torch.randn_like(values)
    return model


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("family")
    torch.manual_seed(0)
    made = transformers.BertForSequenceClassification(config(num_labels=2))
    base = save(made, folder / "base")
    models, data = {}, {}
    texts = {"shop": SHOP, "cinema": CINEMA}
    for seed, name in enumerate(texts, start=1):
        tuned = transformers.BertForSequenceClassification.from_pretrained(base)
        models[name] = save(moved(tuned, seed), folder / name)
        data[name] = folder / "data" / name
        (data[name] / "data").mkdir(parents=True)
        for split in ("train", "validation"):
            rows = [json.dumps({"text": t}) for t in texts[name]]
            (data[name] / "data" / f"{split}.jsonl").write_text("\n".join(rows))
    return Family(base, models, data, texts)
