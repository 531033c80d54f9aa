# SPDX-License-Identifier: Apache-2.0
"""Folders with one encoder and a head for each task: taken apart, put together, fused, judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plait.errors import BadInput, Conflict
from plait.evaluation import evaluate
from plait.evaluation.headed import HeadedClassifier
from plait.evaluation.tasks import Item, Task
from plait.fusion import fuse
from plait.heads import head_names, join_head, split_head
from plait.pretrained import load_classifier

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "cat", "dog", "sun", "rain"]
TEXTS = ["good cat", "bad dog", "sun", "rain rain bad"]


def classifier(folder: Path, labels: list[str], seed: int) -> Path:
    """Write a tiny random BERT classifier; its encoder and head differ with the seed."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model = transformers.BertForSequenceClassification(config)
    model.classifier.weight.data.normal_(0, 1)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def logits(folder: Path, task: str | None = None) -> np.ndarray:
    model, tokenizer = load_classifier(folder, task=task)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model.eval()(**inputs).logits.numpy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classifiers with different labels, whole and taken apart, and their encoders fused."""
    place = tmp_path_factory.mktemp("heads")
    classifier(place / "mood", ["bad", "good"], 1)
    classifier(place / "topic", ["cat", "dog", "weather"], 2)
    split_head(place / "mood", place / "mood-split", "mood")
    split_head(place / "topic", place / "topic-split", "topic")
    models = [
        {"model": str(place / f"{name}-split"), "parameters": {"weight": 0.5}}
        for name in ("mood", "topic")
    ]
    fuse({"merge_method": "linear", "models": models}, place / "fused")
    return place


def test_the_top_of_the_folder_is_the_encoder_as_transformers_loads_it(made: Path) -> None:
    whole, _ = load_classifier(made / "mood")
    encoder = transformers.AutoModel.from_pretrained(made / "mood-split")
    expected = whole.base_model.state_dict()
    assert encoder.state_dict().keys() == expected.keys()
    assert all(torch.equal(t, expected[n]) for n, t in encoder.state_dict().items())
    config = json.loads((made / "mood-split" / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]
    assert "id2label" not in config


def test_taking_apart_and_putting_together_gives_the_same_classifier(made: Path) -> None:
    join_head(made / "topic-split", "topic", made / "topic-again")
    assert np.array_equal(logits(made / "topic-again"), logits(made / "topic"))
    assert np.array_equal(logits(made / "topic-split"), logits(made / "topic"))
    told = json.loads((made / "topic-again" / "config.json").read_text())
    assert told["id2label"] == {"0": "cat", "1": "dog", "2": "weather"}
    assert (made / "topic-again" / "model.safetensors").is_file()
    assert not (made / "topic-again" / "heads").exists()


def test_fusion_keeps_every_head_and_fuses_the_encoders(made: Path) -> None:
    assert head_names(made / "fused") == ("mood", "topic")
    both = [transformers.AutoModel.from_pretrained(made / f"{n}-split") for n in ("mood", "topic")]
    fused, _ = load_classifier(made / "fused", task="topic")
    one, other, mean = (m.get_input_embeddings().weight for m in (*both, fused))
    assert torch.allclose(mean, (one + other) / 2, atol=1e-6)
    kept, _ = load_classifier(made / "topic")
    assert torch.equal(fused.classifier.weight, kept.classifier.weight)


def test_every_task_is_judged_with_its_own_head(made: Path) -> None:
    tasks = []
    expected = {}
    for name, labels in (("mood", ("bad", "good")), ("topic", ("cat", "dog", "weather"))):
        predicted = logits(made / "fused", name).argmax(1)
        # one text is given the label that is not predicted
        truth = [labels[p] for p in predicted[:-1]] + [labels[predicted[-1] - 1]]
        items = tuple(
            Item(t, y, str(i), str(i)) for i, (t, y) in enumerate(zip(TEXTS, truth, strict=True))
        )
        tasks.append(Task(name, "accuracy", items, labels))
        expected[name] = 0.75
    seen: list[tuple[int, int]] = []
    found = evaluate(made / "fused", tasks, progress=lambda done, total: seen.append((done, total)))
    assert {name: result.score for name, result in found.tasks.items()} == expected
    assert seen[-1] == (8, 8)
    assert found.tasks["topic"].classes == 3


def test_a_candidate_encoder_can_be_judged_without_writing_it(made: Path) -> None:
    predictor = HeadedClassifier.load(made / "fused")
    other = transformers.AutoModel.from_pretrained(made / "mood-split").state_dict()
    predictor.load_tensors((n, t.numpy()) for n, t in other.items())
    found = predictor.for_task("mood").predict(TEXTS)
    expected = torch.softmax(torch.from_numpy(logits(made / "mood")), -1).numpy()
    assert np.allclose(found, expected, atol=1e-6)
    with pytest.raises(BadInput, match="not given"):
        predictor.load_tensors([])


def test_a_task_without_a_head_is_refused(made: Path) -> None:
    with pytest.raises(BadInput, match="none of them for 'spam'"):
        load_classifier(made / "fused", task="spam")
    with pytest.raises(BadInput, match="mood, topic; say which"):
        load_classifier(made / "fused")
    predictor = HeadedClassifier.load(made / "fused")
    with pytest.raises(BadInput, match="no head for the task 'spam'"):
        predictor.for_task("spam")
    with pytest.raises(BadInput, match="for_task"):
        predictor.predict(TEXTS)
    with pytest.raises(BadInput, match="no heads"):
        join_head(made / "mood", "mood", made / "never")
    assert not (made / "never").exists()


def test_bad_names_and_taken_places_are_refused(made: Path, tmp_path: Path) -> None:
    for name in ("", "../up", "two words", ".hidden"):
        with pytest.raises(BadInput, match="one word"):
            split_head(made / "mood", tmp_path / "out", name)
    with pytest.raises(Conflict):
        split_head(made / "mood", made / "topic", "mood")
    with pytest.raises(BadInput, match="already"):
        split_head(made / "mood-split", tmp_path / "out", "mood")
    assert list(tmp_path.glob("*out*")) == []


def test_two_different_heads_of_one_name_are_refused_before_anything_is_fused(
    made: Path, tmp_path: Path
) -> None:
    split_head(made / "topic", tmp_path / "other", "mood")
    models = [{"model": str(p)} for p in (made / "mood-split", tmp_path / "other")]
    recipe = {"merge_method": "linear", "models": models, "parameters": {"weight": 1}}
    with pytest.raises(BadInput, match="different heads for the task 'mood'"):
        fuse(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_head_that_does_not_fit_the_encoder_is_refused(made: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(made / "fused", broken)
    place = broken / "heads" / "mood"
    head = load_file(place / "head.safetensors")
    save_file({**head, "classifier.weight": torch.zeros(2, 5)}, place / "head.safetensors")
    with pytest.raises(BadInput, match=r"shape \[2, 5\].*\[2, 16\]"):
        load_classifier(broken, task="mood")
    save_file({"classifier.bias": head["classifier.bias"]}, place / "head.safetensors")
    with pytest.raises(BadInput, match=r"holds classifier.bias, but"):
        load_classifier(broken, task="mood")
    (place / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="id2label"):
        load_classifier(broken, task="mood")
    assert logits(broken, "topic").shape == (4, 3)


def test_statistics_of_an_encoder_have_the_names_of_its_tensors(made: Path) -> None:
    from safetensors.torch import load_file

    from plait.training.statistics import collect_statistics

    out = made / "statistics.safetensors"
    collect_statistics(made / "mood-split", TEXTS, out, kinds=("gram", "fisher"))
    tensors = load_file(made / "mood-split" / "model.safetensors")
    found = load_file(out)
    names = {name.split(".", 1)[1] for name in found}
    assert names <= set(tensors)
    assert "fisher.pooler.dense.weight" in found
    assert found["gram.encoder.layer.1.output.dense.weight"].shape == (32, 32)
