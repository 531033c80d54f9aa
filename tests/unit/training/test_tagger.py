# SPDX-License-Identifier: Apache-2.0
"""A token classifier is trained, stops when it gets no better, and reads as it was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from plait.demo.data import encoder_folder
from plait.errors import BadInput, Cancelled, PlaitError
from plait.evaluation.runners import TokenTagger
from plait.training.tagger import TaggerOptions, TaggerResult, fresh_tagger, train_tagger

LABELS = ("O", "B-X", "I-X")
WORDS = [("the", "red", "fox", number) for number in ("one", "two", "three", "four")] * 8
TAGS = [("O", "B-X", "I-X", "O")] * len(WORDS)


@pytest.fixture(scope="module")
def encoder() -> Path:
    try:
        return encoder_folder("tiny")
    except PlaitError as error:
        pytest.skip(str(error))


def train(encoder: Path, out: Path, **given: object) -> TaggerResult:
    options = TaggerOptions(epochs=3, learning_rate=2e-3, freeze_embeddings=False, threads=1)
    return train_tagger(
        encoder,
        WORDS,
        TAGS,
        out,
        labels=LABELS,
        **({"options": options} | given),  # type: ignore[arg-type]
    )


def test_a_tagger_learns_and_is_read_back(encoder: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    made = train(
        encoder, tmp_path / "t", progress=lambda done, total, loss: steps.append((done, total))
    )
    assert made.losses[-1] < made.losses[0]
    assert steps[-1] == (6, 6)
    tagger = TokenTagger.load(tmp_path / "t", 1)
    assert tagger.labels == LABELS
    assert tagger.tag([WORDS[0]]) == [list(TAGS[0])]
    (table,) = tagger.probabilities([WORDS[0]])
    assert table.shape == (4, 3)
    assert np.allclose(table.sum(axis=1), 1.0, atol=1e-5)
    assert [LABELS[k] for k in table.argmax(axis=1)] == list(TAGS[0])


def test_the_best_epoch_is_kept_and_patience_ends_it(encoder: Path, tmp_path: Path) -> None:
    told = iter([0.2, 0.7, 0.5, 0.4, 0.9])
    options = TaggerOptions(epochs=5, learning_rate=1e-3, patience=2, threads=1)
    made = train(
        encoder, tmp_path / "t", options=options, judge=lambda model, tokenizer: next(told)
    )
    assert made.scores == (0.2, 0.7, 0.5, 0.4)
    assert made.best == 2


def test_one_seed_gives_the_same_weights(encoder: Path, tmp_path: Path) -> None:
    options = TaggerOptions(epochs=1, hidden=0.5, hide=("X",), seed=3, threads=1)
    for name in "ab":
        train(encoder, tmp_path / name, options=options)
    first, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == again


def test_cancelling_leaves_nothing(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        train(encoder, tmp_path / "t", cancelled=lambda: True)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_told(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "t"
    with pytest.raises(BadInput, match="no sentences"):
        train_tagger(encoder, [], [], out, labels=LABELS)
    with pytest.raises(BadInput, match="2 words but 1 tags"):
        train_tagger(encoder, [("a", "b")], [("O",)], out, labels=LABELS)
    with pytest.raises(BadInput, match="the tag 'B-Y'"):
        train_tagger(encoder, [("a",)], [("B-Y",)], out, labels=LABELS)
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="is there already"):
        train(encoder, tmp_path / "there")


def test_the_head_is_fresh_and_the_encoder_is_the_encoders(encoder: Path) -> None:
    import torch

    from plait.pretrained import load_encoder

    model, _ = fresh_tagger(encoder, LABELS, seed=1)
    inner, _ = load_encoder(encoder, "text")
    held = dict(inner.named_parameters())
    for name, value in getattr(model, model.base_model_prefix).named_parameters():
        assert torch.equal(value, held[name]), name
    assert model.classifier.out_features == 3
