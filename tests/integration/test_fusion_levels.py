# SPDX-License-Identifier: Apache-2.0
"""Ensembles and students made by `plait fuse` from a hub's repositories, and used from the hub."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

from integration.live import LiveHub, Person
from plait.cards import parse_card
from plait.evaluation import load_predictor
from unit.fusion import synthetic

TEXTS = ["it was sturdy and quick", "the film is dull", "so very moving here", "a broken one"]

PLAIT = [sys.executable, "-m", "plait.cli.main"]

# whoever downloads a model has stock transformers and not Plait
STOCK = """
import json, sys
sys.modules["plait"] = None
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
name, texts = sys.argv[1], json.loads(sys.argv[2])
trust = {"trust_remote_code": True}
model = AutoModelForSequenceClassification.from_pretrained(name, **trust).eval()
tokenizer = AutoTokenizer.from_pretrained(name, **trust)
with torch.no_grad():
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    found = model(**inputs).logits.softmax(-1).tolist()
rows = pipeline("text-classification", name, **trust)(texts, top_k=None)
order = [model.config.id2label[i] for i in range(model.config.num_labels)]
scores = [{part["label"]: part["score"] for part in row} for row in rows]
print(json.dumps([found, [[row[label] for label in order] for row in scores]]))
"""


@dataclass
class World:
    """Models and data of one person on a hub, by name, and the same as folders."""

    person: Person
    folder: Path
    prefix: str

    def repository(self, name: str) -> str:
        return f"{self.person.name}/{self.prefix}{name}"

    def plait(
        self, *arguments: str, cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with this person's token, without any cache."""
        return subprocess.run(
            [*PLAIT, *arguments],
            cwd=cwd,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        return {
            **{k: os.environ[k] for k in ("PATH", "TMPDIR") if k in os.environ},
            "HOME": str(self.person.home),
            "HF_HOME": str(self.person.home / "hf"),
            "HF_ENDPOINT": self.person.server.url,
            "HF_TOKEN": self.person.token,
            "OMP_NUM_THREADS": "1",
        }


@pytest.fixture(scope="module")
def world(live_hub: LiveHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A BERT that knows shops, a DistilBERT that knows films, and data of both: all private."""
    person = live_hub.person("owner")
    folder = tmp_path_factory.mktemp("fusion")
    made = World(person, folder, "f-")
    synthetic.train(synthetic.bert(folder / "base"), "shop", folder / "shop", epochs=3)
    synthetic.train(
        synthetic.distilbert(folder / "base-small"), "cinema", folder / "cinema", epochs=3
    )
    for name in ("shop", "cinema", "base-small"):
        repo = person.api.create_repo(made.repository(name), private=True).repo_id
        person.api.upload_folder(repo_id=repo, folder_path=folder / name)
    for domain in ("shop", "cinema"):
        data = synthetic.dataset(folder / f"data-{domain}", domain, train=60, held=40)
        repo = made.repository(f"data-{domain}")
        person.api.create_repo(repo, repo_type="dataset", private=True)
        person.api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=data)
    yield made
    shutil.rmtree(person.home, ignore_errors=True)


def recipe(world: World, method: str, **more: Any) -> dict[str, Any]:
    """A recipe whose models and data are named as the hub has them."""
    names = ("shop", "cinema")
    data: dict[str, Any] = {
        "method": method,
        "models": [{"name": n, "model": world.repository(n)} for n in names],
        "tasks": [
            synthetic.task(n, Path(world.repository(f"data-{n}"))) | {"metric": "accuracy"}
            for n in names
        ],
    }
    if method == "distill":
        data["base_model"] = world.repository("base-small")
        data["parameters"] = {"epochs": 2, "learning_rate": 5e-3, "labels": False}
        for model, name in zip(data["models"], names, strict=True):
            model["tasks"] = [name]
    return data | more


def write(folder: Path, data: dict[str, Any]) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(data), "utf-8")
    return file


@pytest.mark.parametrize("method", ["ensemble", "stacking", "distill"])
def test_fused_from_a_hub_and_used_from_it(world: World, tmp_path: Path, method: str) -> None:
    write(tmp_path, recipe(world, method))
    checked = world.plait("check", "recipe.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = world.plait("fuse", "recipe.yaml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    out = tmp_path / "out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "recipe.yaml"]
    head = parse_card((out / "README.md").read_text("utf-8")).data
    sources = ["shop", "cinema", *(["base-small"] if method == "distill" else [])]
    assert head["base_model"] == [world.repository(n) for n in sources]
    (entry,) = head["model-index"]
    assert [r["dataset"]["type"] for r in entry["results"]] == [
        world.repository(f"data-{n}") for n in ("shop", "cinema")
    ]
    # up with the stock client, and back by stock transformers, which lacks Plait
    repo = world.repository(method)
    world.person.api.create_repo(repo, private=True)
    world.person.api.upload_folder(repo_id=repo, folder_path=out)
    found, piped = json.loads(
        world.person.run(STOCK, repo, json.dumps(TEXTS)).strip().splitlines()[-1]
    )
    expected = load_predictor(out, threads=1).predict(TEXTS)
    assert np.abs(np.array(found) - expected).max() < 1e-5
    assert np.abs(np.array(piped) - expected).max() < 1e-5
    # what the hub shows of it
    info = world.person.api.model_info(repo)
    assert info.card_data is not None and info.card_data.eval_results is not None
    shown = {r.dataset_name: r.metric_value for r in info.card_data.eval_results}
    report = json.loads((out / "plait_fusion.json").read_text("utf-8"))["results"]["test"]
    for name, value in shown.items():
        assert value == pytest.approx(report["tasks"][name]["score"], abs=1e-6)


def test_a_repository_that_is_not_there_or_not_yours(
    world: World, bob: Person, tmp_path: Path
) -> None:
    write(tmp_path, recipe(world, "ensemble"))
    theirs = World(bob, tmp_path, "")
    done = theirs.plait("fuse", "recipe.yaml", "-o", "out", cwd=tmp_path)
    assert done.returncode != 0
    assert world.repository("shop") in done.stderr
    told = " ".join(done.stderr.split())
    assert "There is no folder" in told
    assert "that you may read. Correct the name, or give HF_TOKEN" in told
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "hf") == ["recipe.yaml"]


def local(world: World, method: str) -> dict[str, Any]:
    """A recipe over folders."""
    data = recipe(world, method)
    for model in data["models"]:
        model["model"] = str(world.folder / model["name"])
    for task in data["tasks"]:
        task["dataset"] = str(world.folder / f"data-{task['name']}")
    if method == "distill":
        data["base_model"] = str(world.folder / "base-small")
    return data


def without_labels(data: dict[str, Any], world: World, place: Path) -> str:
    folder = place / "data-shop"
    shutil.copytree(world.folder / "data-shop", folder)
    for file in (folder / "data").iterdir():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({"text": r["text"]}) + "\n" for r in rows))
    data["tasks"][0]["dataset"] = str(folder)
    return "has no column 'label'"


def scored_on_training(data: dict[str, Any], world: World, place: Path) -> str:
    data["splits"] = {"test": "train"}
    return "the result would flatter itself"


def copied_from_training(data: dict[str, Any], world: World, place: Path) -> str:
    folder = place / "data-shop"
    shutil.copytree(world.folder / "data-shop", folder)
    shutil.copy(folder / "data" / "train.jsonl", folder / "data" / "test.jsonl")
    data["tasks"][0]["dataset"] = str(folder)
    return "are the same, so that what is scored in the end was seen before"


def other_labels(data: dict[str, Any], world: World, place: Path) -> str:
    synthetic.bert(place / "topic", synthetic.TOPICS["topic"])
    data["models"][1]["model"] = str(place / "topic")
    return "same labels" if data["method"] != "distill" else "labels"


SPOILT = [
    (method, spoil)
    for method in ("ensemble", "stacking", "distill", "auto")
    for spoil in (without_labels, scored_on_training, copied_from_training, other_labels)
    if (method, spoil) != ("auto", other_labels)  # it takes the levels that such models allow
]


@pytest.mark.parametrize(("method", "spoil"), SPOILT)
def test_bad_input_is_a_sentence_and_leaves_nothing(
    world: World, tmp_path: Path, method: str, spoil: Any
) -> None:
    from plait.errors import BadInput
    from plait.fusion import fuse

    data = local(world, method)
    (tmp_path / "inputs").mkdir()
    says = spoil(data, world, tmp_path / "inputs")
    if method == "distill" and spoil is without_labels:
        data["parameters"]["labels"] = True
    with pytest.raises(BadInput, match=says):
        fuse(data, tmp_path / "out", threads=1)
    assert [p.name for p in tmp_path.iterdir()] == ["inputs"]


# a limit on the size of a file stands for a full disk: the system refuses the write likewise
LITTLE_ROOM = """
import resource, signal, sys
from plait.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.argv[1:] = ["fuse", "recipe.yaml", "-o", "out", "--overwrite"]
main()
"""


@pytest.mark.parametrize("method", ["ensemble", "distill"])
def test_a_disk_that_fills_leaves_the_earlier_result(
    world: World, tmp_path: Path, method: str
) -> None:
    write(tmp_path, local(world, method))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plait_fusion.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_ROOM],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = " ".join(done.stderr.split())
    assert done.returncode != 0
    assert "There is no room for" in said and "Nothing of it was kept" in said, said[-2000:]
    assert "Traceback" not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "recipe.yaml"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["plait_fusion.json"]


@pytest.mark.parametrize("method", ["ensemble", "distill"])
def test_killed_in_the_middle_nothing_half_written_is_there(
    world: World, tmp_path: Path, method: str
) -> None:
    write(tmp_path, local(world, method))
    child = subprocess.Popen(
        [*PLAIT, "fuse", "recipe.yaml", "-o", "out"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    try:
        # there is work on the disk, and the result is not there yet
        while not list(tmp_path.glob(".out.plait-*")) and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    done = world.plait("fuse", "recipe.yaml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "recipe.yaml"]
    assert load_predictor(tmp_path / "out", threads=1).predict(TEXTS).shape == (4, 2)
