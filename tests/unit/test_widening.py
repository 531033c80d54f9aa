# SPDX-License-Identifier: Apache-2.0
"""Large models keep their weights as stored and give the results of float32, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait import widening
from plait.errors import BadInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def make(folder: Path, kind: str, stored: str = "bfloat16") -> Path:
    """Write a tiny classifier of an architecture, with a tokenizer of whole words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    config = transformers.AutoConfig.for_model(
        kind, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, vocab_size=70, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=1, num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    model.to(getattr(torch, stored)).save_pretrained(folder)
    words = {"[PAD]": 0, "[UNK]": 1} | {f"w{n}": n for n in range(2, 60)}
    made = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


TEXTS = ["w3 w4 w5 w6", "w7 w8", "w9 w10 w11 w12 w13 w14", "w50"]


def load(folder: Path) -> Any:
    from plait.evaluation import TextClassifier

    return TextClassifier.load(folder, threads=1)


@pytest.mark.parametrize("kind", sorted(widening.ARCHITECTURES))
def test_results_are_those_of_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = make(tmp_path / kind, kind)
    whole = load(folder)
    monkeypatch.setattr(widening, "SMALLEST", 1)
    kept = load(folder)
    assert {value.dtype for value in whole._model.parameters()} == {torch.float32}
    before = {name: value.dtype for name, value in kept._model.named_parameters()}
    assert set(before.values()) == {torch.bfloat16}
    # By number: transformers gives some of these types tokenizers of their own.
    ids = torch.randint(2, 60, (5, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    ids[2, 7:] = mask[2, 7:] = 0
    with torch.inference_mode():
        one, other = (m._model(input_ids=ids, attention_mask=mask).logits for m in (whole, kept))
    assert one.dtype == other.dtype == torch.float32
    assert torch.equal(one, other)
    assert {n: v.dtype for n, v in kept._model.named_parameters()} == before, "narrow again"


def test_fusions_in_memory_replace_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "model", "llama")
    monkeypatch.setattr(widening, "SMALLEST", 1)
    whole, kept = load(folder), load(folder)
    draw = np.random.default_rng(0)
    state = {name: value.float().numpy() for name, value in whole._model.state_dict().items()}
    narrow = {  # values of the stored format, as a fusion gives them
        name: torch.from_numpy(value + draw.normal(0, 0.1, value.shape).astype(np.float32))
        .bfloat16().float().numpy()
        for name, value in state.items()
    }  # fmt: skip
    fine = {name: value + np.float32(1e-4) for name, value in narrow.items()}
    monkeypatch.setattr(widening, "SMALLEST", 2**40)
    plain = load(folder)
    for tensors in (narrow, fine):
        for model in (kept, plain):
            model.load_tensors(tensors.items())
        assert np.array_equal(plain.log_probabilities(TEXTS), kept.log_probabilities(TEXTS))
    assert np.array_equal(  # the file's own were not written to
        load(folder).log_probabilities(TEXTS), whole.log_probabilities(TEXTS)
    )


def test_a_layer_that_fails_leaves_the_weights_narrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widening, "SMALLEST", 1)
    model = load(make(tmp_path / "model", "llama"))._model
    with pytest.raises(RuntimeError):
        model.model.layers[0].mlp.up_proj(torch.zeros(1, 7))
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


def test_what_is_small_or_unknown_is_widened_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "model", "llama")
    assert widening.stays_narrow(folder) is None, "small"
    assert widening.memory_of(folder) == 3 * widening.weights_size(folder)
    monkeypatch.setattr(widening, "SMALLEST", 1)
    assert widening.stays_narrow(folder) == "bfloat16"
    assert widening.memory_of(folder) < 2 * widening.weights_size(folder)
    assert widening.stays_narrow(make(tmp_path / "wide", "llama", "float32")) is None
    wide = make(tmp_path / "said", "llama", "float32")
    (wide / "config.json").write_text((folder / "config.json").read_text())
    assert widening.stays_narrow(wide) is None, "the files say it, not the configuration"
    (folder / "config.json").write_text('{"model_type": "bert", "dtype": "bfloat16"}')
    assert widening.stays_narrow(folder) is None
    (folder / "config.json").write_text("[")
    assert widening.stays_narrow(folder) is None
    with pytest.raises(BadInput):
        load(folder)
