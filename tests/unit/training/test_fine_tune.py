# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning the small real encoder: it learns, repeats itself exactly, and leaves no halves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from plait.errors import BadInput, Cancelled, PlaitError

pytest.importorskip("torch")
pytest.importorskip("transformers")

from plait.demo.data import encoder_folder
from plait.training import add_head, fine_tune

pytestmark = pytest.mark.models

GOOD = ["I love this, it is great", "wonderful and happy", "excellent work", "the best day ever"]
BAD = ["I hate this, it is awful", "terrible and sad", "horrible work", "the worst day ever"]
TEXTS = (GOOD + BAD) * 4
LABELS = (["positive"] * 4 + ["negative"] * 4) * 4
QUICK: dict[str, Any] = {"epochs": 3, "learning_rate": 1e-3, "batch_size": 8, "threads": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        encoder = encoder_folder("tiny")
    except PlaitError as error:
        pytest.skip(error.message)
    return add_head(encoder, tmp_path_factory.mktemp("models") / "base")


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / "model.safetensors"))


def test_it_learns_and_says_what_it_did(base: Path, tmp_path: Path) -> None:
    from plait.evaluation import TextClassifier

    seen: list[tuple[int, int, float]] = []
    result = fine_tune(
        base, TEXTS, LABELS, tmp_path / "out", **QUICK, progress=lambda *now: seen.append(now)
    )
    assert (result.items, result.steps, result.out) == (32, 12, tmp_path / "out")
    assert result.losses[-1] < result.losses[0] / 2
    assert [done for done, _, _ in seen] == list(range(1, 13))
    assert result.cpu_seconds > 0
    model = TextClassifier.load(result.out)
    assert model.labels == ("negative", "positive")
    assert model.predict(TEXTS[:8]).argmax(axis=1).tolist() == [1] * 4 + [0] * 4
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_one_seed_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    made = [
        digest(fine_tune(base, TEXTS, LABELS, tmp_path / name, **QUICK, seed=seed).out)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert made[0] == made[1] != made[2]


def test_what_is_frozen_does_not_move(base: Path, tmp_path: Path) -> None:
    before = tensors(base)
    frozen = tensors(fine_tune(base, TEXTS, LABELS, tmp_path / "a", **QUICK, freeze_head=True).out)
    moved = {name for name in before if (before[name] != frozen[name]).any()}
    assert moved
    assert not {name for name in moved if "embeddings" in name or name.startswith("classifier")}
    free = fine_tune(
        base, TEXTS, LABELS, tmp_path / "b", **QUICK, freeze_embeddings=False, balance_classes=True
    )
    everything = tensors(free.out)
    assert (everything["classifier.weight"] != before["classifier.weight"]).any()
    word = "bert.embeddings.word_embeddings.weight"
    assert (everything[word] != before[word]).any()


def test_numbers_name_classes_as_well(base: Path, tmp_path: Path) -> None:
    numbers = [int(label == "positive") for label in LABELS]
    quick = QUICK | {"epochs": 1}
    by_number = fine_tune(base, TEXTS, numbers, tmp_path / "a", **quick)
    by_name = fine_tune(base, TEXTS, LABELS, tmp_path / "b", **quick)
    assert digest(by_number.out) == digest(by_name.out)


@pytest.mark.parametrize(
    ("texts", "labels", "options", "told"),
    [
        ([], [], {}, "no texts"),
        (["a"], [0, 1], {}, "1 texts but 2 labels"),
        (["a", " "], [0, 1], {}, "Text 2 is empty"),
        (["a", "b"], [1, 1], {}, "Every text has the label '1'"),
        (["a", "b"], ["positive", "neutral"], {}, "'neutral' is not one of the base's: negative"),
        (["a", "b"], [0, 2], {}, "'2' is not one"),
        (["a", "b"], [0, 1], {"epochs": 0}, "epochs must be from 1"),
        (["a", "b"], [0, 1], {"learning_rate": -1.0}, "learning_rate must be"),
        (["a", "b"], [0, 1], {"learning_rate": float("nan")}, "learning_rate must be"),
    ],
)
def test_refuses_what_cannot_be_learnt_from(
    base: Path,
    tmp_path: Path,
    texts: list[str],
    labels: list[int | str],
    options: dict[str, Any],
    told: str,
) -> None:
    with pytest.raises(BadInput, match=told):
        fine_tune(base, texts, labels, tmp_path / "out", **options)
    assert list(tmp_path.glob("*out*")) == []


def test_cancelling_leaves_nothing(base: Path, tmp_path: Path) -> None:
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    with pytest.raises(Cancelled):
        fine_tune(
            base,
            TEXTS,
            LABELS,
            tmp_path / "out",
            **QUICK,
            progress=count,
            cancelled=lambda: steps >= 3,
        )
    assert steps == 3
    assert list(tmp_path.glob("*out*")) == []


def test_a_failed_save_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerBase

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", full)
    with pytest.raises(OSError, match="No space"):
        fine_tune(base, TEXTS, LABELS, tmp_path / "out", **QUICK | {"epochs": 1})
    assert list(tmp_path.glob("*out*")) == [] and list(tmp_path.glob(".*")) == []


def test_never_writes_over_something(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="is there already"):
        fine_tune(base, TEXTS, LABELS, tmp_path / "out")
    with pytest.raises(BadInput, match="is there already"):
        add_head(base, tmp_path / "out")


def test_a_fresh_head_is_the_same_everywhere_and_names_its_labels(
    base: Path, tmp_path: Path
) -> None:
    again = add_head(encoder_folder("tiny"), tmp_path / "again")
    assert digest(again) == digest(base)
    config = json.loads((again / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    head = tensors(again)
    assert head["classifier.bias"].tolist() == [0, 0]
    assert 0.04 < head["classifier.weight"].std() < 0.08
    three = add_head(encoder_folder("tiny"), tmp_path / "three", ["a", "b", "c"], seed=1)
    assert tensors(three)["classifier.weight"].shape == (3, 128)
    with pytest.raises(BadInput, match="two or more labels"):
        add_head(encoder_folder("tiny"), tmp_path / "one", ["a", "a"])
