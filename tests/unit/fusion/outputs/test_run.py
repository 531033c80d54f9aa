# SPDX-License-Identifier: Apache-2.0
"""Ensembles made from recipes: the same numbers wherever they are loaded, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import plait.fusion
from plait.cards import parse_card
from plait.errors import BadInput, Cancelled
from plait.evaluation import Item, Task, evaluate, load_predictor
from plait.evaluation.tasks import load_task
from plait.recipes.project import Columns, TaskSpec

from . import members
from .members import recipe

PAIRED = {"text": "text", "label": "label", "group": "document", "image": "image"}


def fuse(place: Path, data: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    plait.fusion.fuse(data, place)
    return place, json.loads((place / "plait_fusion.json").read_text())


def texts(folder: Path, split: str = "validation") -> list[str]:
    lines = (folder / "data" / f"{split}.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def by_hand(zoo: dict[str, Path], folder: Path, samples: list[Any]) -> Any:
    """What the members together should say, from each one's own predictor and the config."""
    told = json.loads((folder / "config.json").read_text())
    temperatures, weights = told["temperatures"], np.array(told["weights"])
    rows = []
    for member, temperature in zip(told["members"], temperatures, strict=True):
        logs = np.log(load_predictor(zoo[member["name"]]).predict(samples).astype(np.float64))
        logs = logs[:, member["columns"]] / temperature
        rows.append(np.exp(logs - logs.max(1, keepdims=True)))
        rows[-1] /= rows[-1].sum(1, keepdims=True)
    if told["combine"] == "probabilities":
        made = np.tensordot(weights / weights.sum(), np.stack(rows), 1)
    else:
        made = np.exp(np.tensordot(weights / weights.sum(), np.log(np.stack(rows)), 1))
    return made / made.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def made(zoo: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ensembles of several kinds."""
    place = tmp_path_factory.mktemp("made")
    data = zoo["data"]
    wanted = {
        "shared": recipe(zoo["bert"], zoo["distil"], data=data),
        "logits": recipe(
            zoo["bert"], zoo["llama"], zoo["bart"], data=data,
            parameters={"combine": "logits", "weights": [0.5, 0.3, 0.2]},
        ),
        "stacked": recipe(zoo["bert"], zoo["llama"], data=data, method="stacking"),
    }  # fmt: skip
    paired = recipe(zoo["bert"], zoo["vit"], data=zoo["pairs"])
    paired["tasks"][0]["columns"] = PAIRED
    wanted["paired"] = paired
    for name, data_of in wanted.items():
        plait.fusion.fuse(data_of, place / name)
    nested = recipe(place / "logits", zoo["distil"], data=data)
    plait.fusion.fuse(nested, place / "nested")
    return {name: place / name for name in (*wanted, "nested")}


@pytest.mark.parametrize("name", ["shared", "logits"])
def test_a_folder_answers_as_its_members_do_together(
    zoo: dict[str, Path], made: dict[str, Path], name: str
) -> None:
    samples = texts(zoo["data"], "test")
    found = load_predictor(made[name]).predict(samples)
    assert np.abs(found - by_hand(zoo, made[name], samples)).max() < 1e-5


def test_items_without_a_picture_are_answered_by_the_text_model(
    zoo: dict[str, Path], made: dict[str, Path]
) -> None:
    task = load_task(TaskSpec("t", "t", columns=Columns(**PAIRED)), zoo["pairs"], "validation")
    found = load_predictor(made["paired"]).predict([item.sample for item in task.items])
    config = json.loads((made["paired"] / "config.json").read_text())
    for place, item in enumerate(task.items):
        if item.image is None:
            alone = _calibrated(load_predictor(zoo["bert"]), [item.text], config, 0)
            assert found[place] == pytest.approx(alone[0], abs=1e-5)
        elif not item.text:
            alone = _calibrated(load_predictor(zoo["vit"]), [item.sample], config, 1)
            assert found[place] == pytest.approx(alone[0], abs=1e-5)


def _calibrated(model: Any, samples: list[Any], config: dict[str, Any], member: int) -> Any:
    logs = np.log(model.predict(samples)) / config["temperatures"][member]
    shares = np.exp(logs - logs.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


SCRIPT = """
import json, sys
sys.modules["plait"] = None  # whoever loads the folder need not have it
import torch
from transformers import (
    AutoModelForSequenceClassification, AutoProcessor, AutoTokenizer, pipeline
)
asked = json.loads(sys.argv[1])
found = {}
for name, (folder, texts, images) in asked.items():
    trust = {"trust_remote_code": True}
    model = AutoModelForSequenceClassification.from_pretrained(folder, **trust)
    with torch.no_grad():
        if images is None:
            reader = AutoTokenizer.from_pretrained(folder, **trust)
            inputs = reader(texts, padding=True, return_tensors="pt")
            if name == "shared":
                rows = pipeline("text-classification", folder, **trust)(texts, top_k=None)
                found["pipeline"] = [
                    [part["score"] for part in sorted(row, key=lambda p: p["label"])]
                    for row in rows
                ]
        else:
            reader = AutoProcessor.from_pretrained(folder, **trust)
            inputs = reader(text=texts, images=images)
        found[name] = model(**inputs).logits.softmax(-1).tolist()
print(json.dumps(found))
"""


def test_stock_transformers_loads_and_calls_the_folders_without_plait(
    zoo: dict[str, Path], made: dict[str, Path], tmp_path: Path
) -> None:
    samples = texts(zoo["data"], "test")[:8]
    asked: dict[str, Any] = {
        name: (str(made[name]), samples, None) for name in ("shared", "logits", "stacked")
    }
    pictures = sorted(str(p) for p in (zoo["pairs"] / "pictures").glob("*.png"))[:3]
    mixed = [samples[0], samples[1], None, samples[3]]
    images = [pictures[0], None, pictures[1], pictures[2]]
    asked["paired"] = (str(made["paired"]), mixed, images)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("shared", "logits", "stacked"):
        expected = load_predictor(made[name]).predict(samples)
        assert np.abs(np.array(found[name]) - expected).max() < 1e-5
        if name == "shared":
            assert np.abs(np.array(found["pipeline"]) - expected).max() < 1e-5
    parts = [{"text": t, "image": i} for t, i in zip(mixed, images, strict=True)]
    parts = [{k: v for k, v in part.items() if v is not None} for part in parts]
    expected = load_predictor(made["paired"]).predict(parts)
    assert np.abs(np.array(found["paired"]) - expected).max() < 1e-5


def test_registered_classes_load_the_folders_without_trust(made: dict[str, Path]) -> None:
    import transformers

    from plait.modeling import register
    from plait.modeling.ensemble import PlaitEnsembleForSequenceClassification

    register()
    for name in ("shared", "nested"):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(made[name])
        assert isinstance(model, PlaitEnsembleForSequenceClassification)
    reader = transformers.AutoTokenizer.from_pretrained(made["logits"])
    assert type(reader).__name__ == "PlaitEnsembleTokenizer"
    inputs = reader(["a good film"], return_tensors="pt")
    assert {"input_ids", "input_ids_1"} <= set(inputs)


def test_the_model_trains_and_saves_as_others_do(made: dict[str, Path], tmp_path: Path) -> None:
    import torch

    from plait.pretrained import load_own

    model, reader = load_own(made["shared"])
    inputs = reader(text=["a good film", "a bad day"])
    found = model(**inputs, labels=torch.tensor([1, 0]))
    found.loss.backward()
    assert all(p.grad is not None for p in model.member_0.classifier.parameters())
    model.save_pretrained(tmp_path / "again")
    reader.save_pretrained(tmp_path / "again")
    again, other = load_own(tmp_path / "again")
    with torch.no_grad():
        same = again(**other(text=["a good film", "a bad day"])).logits
    assert torch.allclose(same, found.logits, atol=1e-6)


def test_an_ensemble_can_be_a_member(zoo: dict[str, Path], made: dict[str, Path]) -> None:
    samples = texts(zoo["data"], "test")
    places = zoo | {"logits": made["logits"]}
    found = load_predictor(made["nested"]).predict(samples)
    assert np.abs(found - by_hand(places, made["nested"], samples)).max() < 1e-5


def test_members_weights_are_copied_as_they_are(
    zoo: dict[str, Path], made: dict[str, Path]
) -> None:
    from safetensors import safe_open

    with safe_open(made["stacked"] / "model.safetensors", "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with safe_open(zoo["llama"] / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name)
            assert kept[f"member_1.{name}"].dtype == tensor.dtype
            assert kept[f"member_1.{name}"].equal(tensor)
    assert {"stacker.weight", "stacker.bias"} <= set(kept)


def test_the_report_and_the_card_say_what_was_found(
    zoo: dict[str, Path], made: dict[str, Path]
) -> None:
    report = json.loads((made["shared"] / "plait_fusion.json").read_text())
    search = report["search"]
    assert report["schema"] == 1 and set(report["inputs"]) == {"bert", "distil"}
    assert "model.safetensors" in report["outputs"]
    assert search["parameter"] == "alpha" and len(search["points"]) == 101
    assert search["chosen"] == pytest.approx(search["weights"][0]) and search["default"] == 0.5
    assert {"effect", "low", "high"} <= set(search["gain"])
    for told in search["temperatures"].values():
        assert told["calibrated"] <= told["log_loss"] + 1e-9
    test = report["results"]["test"]
    tasks = [load_task(TaskSpec("mood", "mood"), zoo["data"], "test")]
    again = evaluate(made["shared"], tasks, "test")
    assert test["average"] == pytest.approx(again.average)
    card = (made["shared"] / "README.md").read_text()
    assert f"α = {search['chosen']:.3f}" in card and "alpha.svg" in card
    assert "text-classification" in card
    (entry,) = parse_card(card).data["model-index"]
    assert entry["name"] == "Output ensemble"
    (result,) = entry["results"]
    assert result["dataset"] == {"name": "mood", "type": "data", "split": "test"}
    assert result["metrics"][0]["value"] == pytest.approx(test["average"], abs=1e-6)
    assert (made["shared"] / "alpha.svg").read_text().startswith("<svg")
    three = json.loads((made["logits"] / "plait_fusion.json").read_text())["search"]
    assert [len(one["points"]) for one in three["curves"]] == [101] * 3
    assert three["rule"] == "given"


@pytest.mark.parametrize("poison", [True, False])
def test_test_items_have_no_say(zoo: dict[str, Path], tmp_path: Path, poison: bool) -> None:
    data = shutil.copytree(zoo["data"], tmp_path / "data")
    if poison:
        rows = members.sentences(45, 1)
        for row in rows:
            row["label"] = "positive" if row["label"] == "negative" else "negative"
        members.data_set(data, test=rows)
    else:
        (data / "data" / "test.jsonl").unlink()
    chosen = []
    for name, folder in (("before", zoo["data"]), ("after", data)):
        _, report = fuse(tmp_path / name, recipe(zoo["bert"], zoo["llama"], data=folder))
        chosen.append(report)
    assert chosen[0]["search"] == chosen[1]["search"]
    first, second = (chosen[i]["results"].get("test") for i in (0, 1))
    assert (second is None) is not poison
    if poison:
        assert first["average"] != second["average"]


def test_the_same_recipe_gives_the_same_bytes(zoo: dict[str, Path], tmp_path: Path) -> None:
    data = recipe(zoo["bert"], zoo["distil"], data=zoo["data"])
    hashes = [fuse(tmp_path / name, data)[1]["outputs"] for name in ("one", "two")]
    assert hashes[0] == hashes[1]


def test_labels_that_differ_are_refused_with_both_lists(
    zoo: dict[str, Path], tmp_path: Path
) -> None:
    other = members.text_model(tmp_path / "other", labels=("sad", "glad"))
    data = recipe(zoo["bert"], other, data=zoo["data"])
    with pytest.raises(BadInput, match=r"negative, positive.*sad, glad"):
        plait.fusion.fuse(data, tmp_path / "out")
    report = plait.fusion.check(data)
    assert not report.fits and "distillation" in str(report.instead)
    assert not (tmp_path / "out").exists()


def test_a_damaged_member_is_refused_and_nothing_stays(
    zoo: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    bad = shutil.copytree(zoo["bert"], tmp_path / "bad")
    weights = load_file(bad / "model.safetensors")
    weights["classifier.weight"] = torch.full_like(weights["classifier.weight"], float("nan"))
    save_file(weights, bad / "model.safetensors", {"format": "pt"})
    made = recipe(zoo["distil"], bad, data=zoo["data"])
    with pytest.raises(BadInput, match=r"'bad': tensor 'classifier\.weight' holds NaN"):
        plait.fusion.fuse(made, tmp_path / "out")
    found = plait.fusion.check(made)
    assert "'bad': tensor 'classifier.weight' holds NaN" in found.problems[0]
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


def test_a_member_that_overflows_is_named(zoo: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    bad = shutil.copytree(zoo["bert"], tmp_path / "bad")
    weights = load_file(bad / "model.safetensors")
    weights["classifier.weight"] = torch.full_like(weights["classifier.weight"], 3e38)
    save_file(weights, bad / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match="'bad' gives values that are not numbers"):
        plait.fusion.fuse(recipe(zoo["distil"], bad, data=zoo["data"]), tmp_path / "out")


def test_data_without_labels_or_with_unknown_ones_are_refused(
    zoo: dict[str, Path], tmp_path: Path
) -> None:
    rows = [{"text": "a good film", "document": f"d{i}"} for i in range(20)]
    bare = members.data_set(tmp_path / "bare", validation=rows)
    with pytest.raises(BadInput, match="no column 'label'"):
        plait.fusion.fuse(recipe(zoo["bert"], zoo["distil"], data=bare), tmp_path / "out")
    strange = members.data_set(
        tmp_path / "strange",
        validation=[row | {"label": ("joy", "fear")[i % 2]} for i, row in enumerate(rows)],
    )
    data = recipe(zoo["bert"], zoo["distil"], data=strange)
    assert any("'fear'" in problem for problem in plait.fusion.check(data).problems)
    with pytest.raises(BadInput, match="'fear'"):
        plait.fusion.fuse(data, tmp_path / "out")
    few = members.data_set(tmp_path / "few", validation=members.sentences(9))
    with pytest.raises(BadInput, match=r"3 documents .* too few for 5 folds"):
        plait.fusion.fuse(recipe(zoo["bert"], zoo["distil"], data=few), tmp_path / "out")


def test_a_picture_model_needs_pictures(zoo: dict[str, Path], tmp_path: Path) -> None:
    data = recipe(zoo["bert"], zoo["vit"], data=zoo["data"])
    assert any("reads images" in problem for problem in plait.fusion.check(data).problems)
    with pytest.raises(BadInput, match="No item has what 'vit' reads"):
        plait.fusion.fuse(data, tmp_path / "out")


def test_it_stops_when_it_is_told_and_leaves_nothing(zoo: dict[str, Path], tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(Cancelled):
        plait.fusion.fuse(
            recipe(zoo["bert"], zoo["distil"], data=zoo["data"]),
            tmp_path / "out",
            progress=lambda p: stages.append(p.stage),
            cancelled=lambda: "running distil" in stages,
        )
    assert list(tmp_path.iterdir()) == []


def test_check_says_what_it_takes(zoo: dict[str, Path]) -> None:
    report = plait.fusion.check(recipe(zoo["bert"], zoo["llama"], data=zoo["data"]))
    assert report.fits and [m.reference for m in report.models] == ["bert", "llama"]
    assert report.cost is not None
    stored = sum((zoo[n] / "model.safetensors").stat().st_size for n in ("bert", "llama"))
    assert report.cost.output_bytes == stored
    assert any("different tokenizers" in note for note in report.notes)
    json.dumps(report.as_dict())


def test_code_in_a_folder_is_never_run(made: dict[str, Path], tmp_path: Path) -> None:
    bad = shutil.copytree(made["logits"], tmp_path / "bad")
    for name in ("ensemble.py", "ensemble_processing.py"):
        (bad / name).write_text("raise SystemExit('run')\n")
    load_predictor(bad).predict(["a good film"])
    told = json.loads((bad / "config.json").read_text())
    (bad / "config.json").write_text(json.dumps(told | {"model_type": "stranger"}))
    with pytest.raises(BadInput, match="code of its own"):
        load_predictor(bad)


def test_images_are_classified_from_their_files(zoo: dict[str, Path]) -> None:
    predictor = load_predictor(zoo["vit"])
    pictures = sorted((zoo["pairs"] / "pictures").glob("*.png"))[:4]
    found = predictor.predict([{"image": p} for p in pictures])
    assert found.shape == (4, 2) and np.allclose(found.sum(1), 1)
    items = tuple(
        Item("", ("negative", "positive")[i % 2], f"g{i}", f"i{i}", image=p)
        for i, p in enumerate(pictures)
    )
    task = Task("pictures", "accuracy", items, ("negative", "positive"))
    assert evaluate(zoo["vit"], [task]).tasks["pictures"].n == 4
    with pytest.raises(BadInput, match="an item without one"):
        predictor.predict(["a text"])
    (zoo["pairs"] / "pictures" / "no.txt").write_text("no")
    with pytest.raises(BadInput, match="not a picture"):
        predictor.predict([{"image": zoo["pairs"] / "pictures" / "no.txt"}])
