# SPDX-License-Identifier: Apache-2.0
"""A fusion of features knows what no modality alone does, and does without one that is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled
from plait.fusion import check, fuse
from plait.fusion.forecast import STARTING

from .conftest import recipe, tone

pytestmark = pytest.mark.models
World = dict[str, Path]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def fused(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("fused") / "out"
    return out, fuse(recipe(world, "text", "image"), out, threads=1).report


@pytest.mark.parametrize("head", ["gated", "concat", "bilinear", "attention"])
def test_every_head_knows_what_neither_modality_alone_does(
    head: str, world: World, tmp_path: Path
) -> None:
    found = fuse(recipe(world, "text", "image", fusion=head), tmp_path / "out", threads=1)
    results = {name: one["average"] for name, one in found.report["results"].items()}
    assert results["all"] >= 0.9
    for name in ("text alone", "image alone"):  # two labels of four are left
        assert 0.3 <= results[name] <= 0.7


def test_a_modality_may_be_missing_when_it_predicts(fused: tuple[Path, Any], world: World) -> None:
    from plait.evaluation import load_predictor

    predictor = load_predictor(fused[0], threads=1)
    items = [json.loads(r) for r in (world["data"] / "data" / "test.jsonl").read_text().split("\n")
             if r]  # fmt: skip
    blue = [name.startswith("blue") for name in predictor.labels]
    moon = [name.endswith("moon") for name in predictor.labels]
    pictures = [{"image": world["data"] / i["image"]} for i in items]
    texts = [{"text": i["text"]} for i in items]
    by_picture = predictor.predict(pictures) @ np.array(blue)
    by_text = predictor.predict(texts) @ np.array(moon)
    assert np.mean((by_picture > 0.5) == [i["label"].startswith("blue") for i in items]) > 0.9
    assert np.mean((by_text > 0.5) == [i["label"].endswith("moon") for i in items]) > 0.9
    # items that lack something do not change those beside them
    both = [t | p for t, p in zip(texts, pictures, strict=True)]
    mixed = [both[0], pictures[1], texts[2], both[3]]
    alone = np.concatenate([predictor.predict([one]) for one in mixed])
    assert np.allclose(predictor.predict(mixed), alone, atol=1e-5)
    with pytest.raises(BadInput, match="reads image and text"):
        predictor.predict([{"audio": Path("x.wav")}])


def test_stock_transformers_loads_and_calls_it(fused: tuple[Path, Any], world: World) -> None:
    picture = next((world["data"] / "pictures").iterdir())
    code = f"""
import sys
sys.modules["plait"] = None
import torch
from transformers import AutoModelForSequenceClassification, AutoModel, AutoProcessor
options = dict(trust_remote_code=True, local_files_only=True)
model = AutoModelForSequenceClassification.from_pretrained({str(fused[0])!r}, **options).eval()
same = AutoModel.from_pretrained({str(fused[0])!r}, **options).eval()
processor = AutoProcessor.from_pretrained({str(fused[0])!r}, **options)
inputs = processor(text=["the moon", None], images=[{str(picture)!r}] * 2, return_tensors="pt")
with torch.no_grad():
    assert torch.equal(model(**inputs).logits, same(**inputs).logits)
    print(torch.softmax(model(**inputs).logits, -1).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    from plait.evaluation import load_predictor

    samples = [{"text": "the moon", "image": picture}, {"image": picture}]
    ours = load_predictor(fused[0], threads=1).predict(samples)
    assert np.allclose(json.loads(done.stdout.splitlines()[-1]), ours, atol=1e-5)


def test_the_report_says_how_it_was_trained_and_the_same_seed_gives_the_same_bytes(
    fused: tuple[Path, dict[str, Any]], world: World, tmp_path: Path
) -> None:
    out, report = fused
    training = report["training"]
    assert (training["items"], training["validation_items"]) == (80, 32)
    assert [stage["name"] for stage in training["stages"]] == ["joint"]
    fuse(recipe(world, "text", "image"), tmp_path / "again", threads=1)
    content = [(f / "model.safetensors").read_bytes() for f in (out, tmp_path / "again")]
    assert content[0] == content[1]


def test_the_test_items_change_nothing_but_the_last_score(
    fused: tuple[Path, dict[str, Any]], world: World, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world["data"], data)
    test = data / "data" / "test.jsonl"
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    for row in rows:  # every label wrong
        row["label"] = {"red": "blue", "blue": "red"}[row["label"].split("-")[0]] + "-sun"
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = fuse(recipe(world, "text", "image", data=data), tmp_path / "out", threads=1).report
    assert found["results"]["all"]["average"] < 0.2 < fused[1]["results"]["all"]["average"]
    same = [weights(folder) for folder in (fused[0], tmp_path / "out")]
    assert all(np.array_equal(same[0][name], same[1][name]) for name in same[0])


@pytest.mark.parametrize("training", ["joint", "transfer", "combined"])
def test_each_training_has_its_stages_and_changes_what_it_says(
    training: str, world: World, tmp_path: Path
) -> None:
    made = recipe(world, "text", "image", tune=("text",), training=training, epochs=3,
                  encoder_learning_rate=0.01)  # fmt: skip
    out = tmp_path / "out"
    stages = [s["name"] for s in fuse(made, out, threads=1).report["training"]["stages"]]
    alone = ["text alone", "image alone"]
    wanted = {"joint": ["joint"], "transfer": [*alone, "fusion"]}
    assert stages == wanted.get(training, [*alone, "fusion", "together"])
    after = weights(out)
    pooler = "encoders.text.model.pooler"
    for modality in ("text", "image"):
        before = weights(world[modality])
        body = {name.split(".", 1)[1]: value for name, value in before.items()
                if name.startswith(("bert.", "vit."))}  # fmt: skip
        start = f"encoders.{modality}.model."
        changed = [
            name for name, value in body.items()
            if start + name in after and not pooler.startswith(start + name.split(".")[0])
            and not np.array_equal(after[start + name], value)
        ]  # fmt: skip
        assert bool(changed) == (modality == "text")


def test_what_an_encoder_learnt_in_one_task_is_carried_into_another(
    world: World, tmp_path: Path
) -> None:
    """An audio encoder learns which word a tone says, and is then fused with pictures."""
    first = tmp_path / "first"
    fuse(recipe(world, "audio", tune=("audio",), epochs=8), first, threads=1)
    made = recipe(world, "audio", "image", fusion="concat")
    made["models"][0]["model"] = str(first)
    found = fuse(made, tmp_path / "out", threads=1).report
    before, after = weights(first), weights(tmp_path / "out")
    learnt = [name for name in before if name.startswith("encoders.audio.")]
    assert learnt
    assert all(np.array_equal(before[name], after[name]) for name in learnt)
    assert found["results"]["all"]["average"] >= 0.9
    made["models"][1]["model"] = str(first)
    with pytest.raises(BadInput, match="reads audio, not image"):
        fuse(made, tmp_path / "other")


def test_a_text_encoder_is_taken_out_of_an_earlier_fusion(
    fused: tuple[Path, Any], world: World, tmp_path: Path
) -> None:
    made = recipe(world, "text", epochs=1)
    made["models"][0]["model"] = str(fused[0])
    fuse(made, tmp_path / "out", threads=1)
    before, after = weights(fused[0]), weights(tmp_path / "out")
    for name in (n for n in before if n.startswith("encoders.text.")):
        assert np.array_equal(before[name], after[name])
    assert check(made).problems == []


def test_cancelling_leaves_nothing(world: World, tmp_path: Path) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Cancelled):
        fuse(recipe(world, "text", "image"), tmp_path / "out", cancelled=cancelled, threads=1)
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"fusoin": "gated"}}, "fusion"),
        ({"parameters": {"fusion": "gatde"}}, "gated"),
        ({"parameters": {"modality_dropout": 1}}, "0.9"),
        ({"parameters": {"fusion": "attention", "width": 18}}, "multiple of 4"),
        ({"base_model": "x/y"}, "no 'base_model'"),
        ({"splits": {"test": "train"}}, "learns or chooses"),
        ({"tasks": []}, "one task"),
    ],
)
def test_bad_recipes(change: dict[str, Any], told: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=told):
        fuse(recipe(world, "text", "image") | change, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_encoders_of_one_modality_and_one_of_the_wrong_one(
    world: World, tmp_path: Path
) -> None:
    made = recipe(world, "text", "image")
    made["models"][1] |= {"modality": "text"}
    with pytest.raises(BadInput, match="Two encoders read 'text'"):
        fuse(made, tmp_path / "out")
    made = recipe(world, "text", "image")
    made["models"][1]["model"] = str(world["text"])
    with pytest.raises(BadInput, match=r"as an encoder of image|reads 'input_ids'"):
        fuse(made, tmp_path / "out")
    made["models"][1]["model"] = "log-mel"
    with pytest.raises(BadInput, match="reads audio"):
        fuse(made, tmp_path / "out")


@pytest.mark.parametrize("damage", ["gone", "text", "short"])
def test_a_damaged_file_is_named_and_nothing_stays(
    damage: str, world: World, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world["data"], data)
    row = json.loads((data / "data" / "train.jsonl").read_text().splitlines()[0])
    file = data / row["audio"]
    if damage == "gone":
        file.unlink()
    elif damage == "text":
        file.write_text("no sound")
    else:
        tone(file, 440, 0.0)
    with pytest.raises(BadInput, match=file.name):
        fuse(recipe(world, "audio", data=data), tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()


def test_a_check_tries_the_encoders_and_tells_what_training_takes(world: World) -> None:
    frozen = check(recipe(world, "text", "image", epochs=4))
    tuned = check(recipe(world, "text", "image", epochs=4, tune=("text", "image")))
    longer = check(recipe(world, "text", "image", epochs=40, tune=("text", "image")))
    for report in (frozen, tuned, longer):
        assert report.problems == []
        assert report.cost is not None
    costs = [report.cost.cpu_seconds for report in (frozen, tuned, longer) if report.cost]
    assert STARTING < costs[0] < costs[1] < costs[2]
    assert any("all 40 epochs" in note for note in longer.notes)
    assert not any("epochs" in note for note in frozen.notes)


def test_an_encoder_of_nan_is_named_before_anything_is_trained(
    world: World, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    broken = tmp_path / "broken"
    shutil.copytree(world["text"], broken)
    values = dict(weights(broken))
    name = sorted(values)[0]
    values[name].reshape(-1)[3] = np.nan
    save_file(values, broken / "model.safetensors", metadata={"format": "pt"})
    made = recipe(world, "text", "image", text=broken)
    assert any(name in told and "NaN" in told for told in check(made).problems)
    with pytest.raises(BadInput, match="holds NaN"):
        fuse(made, tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()
