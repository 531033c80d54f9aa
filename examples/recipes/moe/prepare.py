# SPDX-License-Identifier: Apache-2.0
"""Make what the recipe fuses: a small language model, and two of it that know one kind of text.

A Llama of a million parameters is trained from nothing on the demo's film reviews and tweets; then
two copies learn on, each on one of them, with nothing but their feed-forward layers. Everything is
written into `work/` beside this file, once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.demo.data import load_domains

WORK = Path(__file__).parent / "work"
DOMAINS = ("cinema", "social")
LENGTH, BATCH = 32, 24


@dataclass(frozen=True)
class Sizes:
    """Texts of each domain, by split."""

    train: dict[str, int] = field(
        default_factory=lambda: {"cinema": 5000, "social": 2300, "shop": 1, "press": 1}
    )
    validation: int = 1
    gate: int = 0
    test: int = 600


def texts(split: str) -> dict[str, list[str]]:
    """Return the texts of both domains."""
    domains = load_domains(Sizes())
    return {name: [t.text for t in domains[name].splits[split]] for name in DOMAINS}


def make_tokenizer(found: Sequence[str], folder: Path) -> Any:
    """Train byte-pair encoding of 1,200 tokens and save it as transformers does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet
    )
    words.train_from_iterator(found, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>")
    made.save_pretrained(folder)
    return made


def rows(tokenizer: Any, found: Sequence[str]) -> Any:
    """Return texts, one after the other, as rows of `LENGTH` tokens."""
    import torch

    stream = [n for t in found for n in [0, *tokenizer(t)["input_ids"], 1]]
    whole = len(stream) // LENGTH * LENGTH
    return torch.tensor(stream[:whole]).reshape(-1, LENGTH)


def train(model: Any, data: Any, steps: int, rate: float, seed: int) -> None:
    """Train for some steps; the rate falls along a cosine."""
    import torch

    tuned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(tuned, lr=rate, weight_decay=0.05)
    draws = torch.Generator().manual_seed(seed)
    model.train()
    for step in range(steps):
        batch = data[torch.randint(len(data), (BATCH,), generator=draws)]
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
        loss = model(input_ids=batch, labels=batch).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tuned, 1.0)
        optimiser.step()
        if step % 200 == 0:
            print(f"  step {step}: loss {loss.item():.3f}", flush=True)
    model.eval()


def prepare(work: Path = WORK, seed: int = 0) -> None:
    """Make the models and the recipe's texts that are not there yet."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    found = texts("train")
    work.mkdir(parents=True, exist_ok=True)
    (work / "test.json").write_text(json.dumps(texts("test")), "utf-8")
    base = work / "base"
    if not base.exists():
        print("base", flush=True)
        tokenizer = make_tokenizer([t for own in found.values() for t in own], base)
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            bos_token_id=0,
            eos_token_id=1,
            tie_word_embeddings=True,
        )
        model = AutoModelForCausalLM.from_config(config)
        data = torch.cat([rows(tokenizer, own) for own in found.values()])
        train(model, data, 900, 3e-3, seed)
        model.save_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name in DOMAINS:
        if (work / name).exists():
            continue
        print(name, flush=True)
        model = AutoModelForCausalLM.from_pretrained(base)
        for part, values in model.named_parameters():
            values.requires_grad_(".mlp." in part)
        train(model, rows(tokenizer, found[name]), 300, 1e-3, seed)
        model.save_pretrained(work / name)
        tokenizer.save_pretrained(work / name)


if __name__ == "__main__":
    prepare()
