# SPDX-License-Identifier: Apache-2.0
"""Attention to entities: silent at first, then heard; linking; loading without Plait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from plait.graphs.knowledge.judges import Judge  # noqa: E402
from plait.modeling.knowledge import (  # noqa: E402
    EntityAttention,
    PlaitKnowledgeConfig,
    PlaitKnowledgeForSequenceClassification,
    PlaitKnowledgeProcessor,
)
from plait.pretrained import load_own  # noqa: E402

TEXT = "the capital of united states korea is borders on north seoul . a b c d"
NAMES = {"United States": 1, "Korea": 2, "North Korea": 3, "Seoul": 4}


def tokenizer() -> Any:
    vocabulary = {
        w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT.split()])
    }
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def inner(kind: str) -> Any:
    if kind == "distilbert":
        return transformers.DistilBertConfig(
            vocab_size=30, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=32
        )
    made = transformers.BertConfig if kind == "bert" else transformers.RobertaConfig
    return made(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip


def judge(kind: str = "bert") -> Judge:
    torch.manual_seed(0)
    config = PlaitKnowledgeConfig(inner(kind).to_dict(), 4, 6, heads=2, num_labels=2)
    model = PlaitKnowledgeForSequenceClassification(config).eval()
    model.vectors[1:] = torch.randn(4, 6)
    return Judge(model, PlaitKnowledgeProcessor(tokenizer(), NAMES, 32))


def test_the_longest_name_is_linked_at_its_tokens() -> None:
    processor = judge().processor
    text = "The United States borders on north korea."
    assert processor.link(text) == [(1, 4, 17), (3, 29, 40)]
    assert processor.link("Koreatown borders on Seoul") == [(4, 21, 26)]
    made = processor(text=[text, "the capital"], return_tensors="pt")
    assert made["entity_ids"].tolist() == [[1, 3], [0, 0]]
    assert made["entity_spans"][0].tolist() == [[2, 4], [6, 8]]
    with pytest.raises(ValueError, match="text"):
        processor(text=[None])


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_the_gate_starts_shut(kind: str) -> None:
    made = judge(kind)
    inputs = made.processor(text=["North Korea borders on Korea.", "The capital is Seoul."])
    alone = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        shut = made.model(**inputs).logits
        assert torch.equal(shut, made.model(**alone).logits)
        assert torch.equal(shut, made.model.classifier(**alone).logits)
        for attention in made.model.attentions:
            attention.gate.fill_(0.1)
        opened = made.model(**inputs).logits
    assert not torch.allclose(shut, opened)
    loss = made.model(**inputs, labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert all(bool(one.gate.grad.abs() > 0) for one in made.model.attentions)


def test_padding_and_absent_entities_are_not_read() -> None:
    torch.manual_seed(1)
    attention = EntityAttention(8, 4, 2).eval()
    with torch.no_grad():
        attention.gate.fill_(0.1)
        states, vectors = torch.randn(1, 5, 8), torch.randn(1, 2, 4)
        inside = torch.zeros(1, 5, 2, dtype=torch.bool)
        one = attention(states, vectors[:, :1], torch.tensor([[True]]), inside[..., :1])
        both = attention(states, vectors, torch.tensor([[True, False]]), inside)
        assert torch.allclose(one, both, atol=1e-6)
        none = attention(states, vectors, torch.tensor([[False, False]]), inside)
        assert torch.allclose(none - states, torch.tanh(torch.tensor(1.6)) * attention.out.bias)
    with pytest.raises(ValueError, match="multiple"):
        EntityAttention(9, 4, 2)


def test_saved_and_loaded_with_plait_and_without(tmp_path: Path) -> None:
    made = judge()
    with torch.no_grad():
        for attention in made.model.attentions:
            attention.gate.fill_(0.1)
    texts = ["North Korea borders on Korea.", "The capital of a is Seoul."]
    wanted = made.probabilities(texts)
    made.save(tmp_path / "judge")
    again = Judge(*load_own(tmp_path / "judge"))
    assert again.probabilities(texts) == pytest.approx(wanted, abs=1e-6)
    script = (
        "import sys, transformers as t\n"
        "sys.modules['plait'] = None\n"
        "o = dict(trust_remote_code=True)\n"
        "m = t.AutoModelForSequenceClassification.from_pretrained(sys.argv[1], **o)\n"
        "p = t.AutoProcessor.from_pretrained(sys.argv[1], **o)\n"
        "print(*m.eval()(**p(text=sys.argv[2:])).logits.softmax(-1)[:, 1].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "judge"), *texts],
        capture_output=True,
        text=True,
        check=True,
        env={
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HOME": str(tmp_path),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert [float(one) for one in done.stdout.split()] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_a_name_reads_more_of_an_entity_that_is_like_its_own() -> None:
    torch.manual_seed(2)
    attention = EntityAttention(8, 4, 2).eval()
    with torch.no_grad():
        attention.gate.fill_(0.1)
        for part in (attention.query, attention.key, attention.value, attention.out):
            part.weight.zero_()
            part.bias.zero_()
        attention.key.weight[:4].copy_(2 * torch.eye(4))
        attention.key.weight[4:].copy_(2 * torch.eye(4))
        attention.value.bias.fill_(1.0)  # what is read is how much is attended to
        attention.out.weight.copy_(torch.eye(8))
        own = torch.tensor([3.0, 0.0, 0.0, 0.0])
        inside = torch.tensor([[[True, False], [False, False]]])

        def read(other: torch.Tensor) -> torch.Tensor:
            states = torch.zeros(1, 2, 8)
            vectors = torch.stack([own, other])[None]
            return attention(states, vectors, torch.tensor([[True, True]]), inside)[0, :, 0]

        alike, unlike = read(own), read(-own)
    assert float(alike[0]) > float(unlike[0]) + 0.01
    assert float(alike[1]) == pytest.approx(float(unlike[1]))  # a token of no name
