# SPDX-License-Identifier: Apache-2.0
"""Searches over real (small) models: from the recipe's file to the fused folder."""

from __future__ import annotations

import json
import shutil
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from plait.cards import parse_card
from plait.errors import BadInput, Cancelled
from plait.evaluation import tasks as evaluation_tasks
from plait.fusion import check, fuse
from plait.fusion.places import hash_folder
from plait.fusion.results import REPORT, Progress
from plait.fusion.search import PLOT, prepare
from plait.fusion.search.candidate_model import CandidateModel
from plait.fusion.weights import fused_tensors
from plait.recipes.fusion import load_recipe

from .. import synthetic

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, two fine-tunes with frozen embeddings, and data whose test split is poisoned."""
    from plait.training import fine_tune

    folder = tmp_path_factory.mktemp("search")
    base = synthetic.bert(folder / "base")
    for name in ("shop", "cinema"):
        rows = synthetic.texts_of(name, 160, 0)
        fine_tune(
            base,
            [text for text, _, _ in rows],
            [label for _, label, _ in rows],
            folder / name,
            epochs=4,
            learning_rate=1e-2,
            threads=1,
        )
        synthetic.dataset(folder / f"data-{name}", name, held=80, poisoned=True)
    return folder


def recipe(place: Path, **search: Any) -> Path:
    """Write a recipe beside the models and return its file."""
    data = {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [{"model": "shop"}, {"model": "cinema"}],
        "parameters": {"weight": 0.1},
        "tasks": [synthetic.task(n, Path(f"data-{n}")) for n in ("shop", "cinema")],
        "search": {"budget": 5, "folds": 4, **search},
    }
    file = place / "recipe.yaml"
    file.write_text(yaml.safe_dump(data), "utf-8")
    return file


GRID = {"sampler": "grid", "parameters": {"weight": [0.1, 1.0]}}


def test_what_was_chosen_is_fused_and_told(place: Path, tmp_path: Path) -> None:
    stages: list[Progress] = []
    result = fuse(recipe(place, **GRID), tmp_path / "out", progress=stages.append, threads=1)
    report = json.loads((tmp_path / "out" / REPORT).read_text("utf-8"))
    found = report["search"]
    assert found == json.loads(json.dumps(result.report["search"]))
    assert found["points"][found["default"]]["parameters"] == {"weight": 0.1}
    assert found["chosen"] != found["default"]  # a tenth of a change teaches nobody anything
    assert found["gain"]["clear"] and found["gain"]["low"] > 0
    assert found["gain"]["measured"] == "out of fold"
    assert len(found["out_of_fold"]["folds"]) == 4
    assert len(found["points"]) <= 5
    values = [point["value"] for point in found["curves"][0]["points"]]
    assert values == sorted(values)
    assert report["outputs"] == dict(result.outputs)
    assert {"searching", "fusing"} <= {stage.stage for stage in stages}
    picture = (tmp_path / "out" / PLOT).read_text("utf-8")
    assert "chosen" in "".join(ET.fromstring(picture).itertext())
    (entry,) = parse_card((tmp_path / "out" / "README.md").read_text("utf-8")).data["model-index"]
    assert entry["name"] == "Merged model"
    shop, cinema = entry["results"]
    assert shop["dataset"] == {"name": "shop", "type": "data-shop", "split": "validation"}
    assert cinema["metrics"][0]["value"] == found["tasks"][1]["score"]
    assert cinema["metrics"][0]["name"] == "Accuracy, out of fold"
    # the folder is a model, with nothing left of the work
    assert {p.name for p in tmp_path.iterdir() if p.name != "hf-home"} == {"out"}
    assert not (tmp_path / "out" / "fused").exists()


def test_the_chosen_recipe_by_itself_gives_the_same_bytes(place: Path, tmp_path: Path) -> None:
    fuse(recipe(place, **GRID), tmp_path / "searched", threads=1)
    report = json.loads((tmp_path / "searched" / REPORT).read_text("utf-8"))
    assert "search" not in report["recipe"]
    assert report["recipe"] == report["search"]["recipe"]
    chosen = place / "chosen.yaml"
    chosen.write_text(yaml.safe_dump(report["recipe"]), "utf-8")
    fuse(chosen, tmp_path / "chosen", threads=2)
    once, again = hash_folder(tmp_path / "searched"), hash_folder(tmp_path / "chosen")
    once.pop(PLOT), once.pop("README.md")
    assert once == again


def test_the_same_recipe_gives_the_same_search(place: Path, tmp_path: Path) -> None:
    file = recipe(place, sampler="tpe", budget=8, parameters={"weight": [0, 1.5]})
    found = [fuse(file, tmp_path / name, threads=1).report["search"] for name in ("a", "b")]
    assert found[0] == found[1]
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")


def test_only_validation_items_are_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test splits of these data sets cannot be read at all; and no other split is opened."""
    opened: list[Path] = []
    read = evaluation_tasks.read_rows

    def recording(file: Path, *rest: Any) -> Any:
        opened.append(file)
        return read(file, *rest)

    monkeypatch.setattr(evaluation_tasks, "read_rows", recording)
    everywhere = Path.open

    def watching(self: Path, *rest: Any, **more: Any) -> Any:
        assert self.name not in ("test.jsonl", "train.jsonl"), f"{self} was opened"
        return everywhere(self, *rest, **more)

    monkeypatch.setattr(Path, "open", watching)
    fuse(recipe(place, **GRID), tmp_path / "out", threads=1)
    assert {file.name for file in opened} == {"validation.jsonl"}
    monkeypatch.undo()
    with pytest.raises(BadInput, match="not JSON"):  # it is poisoned indeed
        list(read(place / "data-shop" / "data" / "test.jsonl", "it", ["text"]))


def test_a_cancelled_search_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    with pytest.raises(Cancelled):
        fuse(recipe(place, **GRID), tmp_path / "sub" / "out", cancelled=cancelled, threads=1)
    assert not (tmp_path / "sub").exists() or not list((tmp_path / "sub").iterdir())
    assert not list(scratch.iterdir())


def test_candidates_in_memory_are_those_on_disk(place: Path, tmp_path: Path) -> None:
    """Whatever was loaded before: what did not change is not fused again, and is right."""
    space = prepare(
        load_recipe(
            recipe(
                place,
                per="layers",
                layers=2,
                parameters={"weight": [0, 1], "method": ["task_arithmetic", "ties"]},
            )
        )
    )
    from plait.fusion.search.sampling import initial_candidates

    def resolve(reference: str) -> Path:
        return place / reference

    listed = [space.default, *initial_candidates(space, 3, 0), space.default]
    with CandidateModel(space.apply(space.default), resolve, threads=1) as running:
        for candidate in listed:
            applied = space.apply(candidate)
            running.load(applied)
            for name, values in fused_tensors(applied, resolve=resolve, threads=1):
                assert np.array_equal(values, running._tensors[name]), name
        tensors = len(running._tensors)
        frozen = [name for name in running._tensors if "embeddings" in name]
        assert frozen and set(frozen) <= running._same
        # once all of them, and of the others only what differs
        assert running.made <= tensors + (len(listed) - 1) * (tensors - len(frozen))
        before = running.made
        running.load(space.apply(space.default))
        assert running.made == before


def test_a_search_is_checked_before_it_is_run(place: Path) -> None:
    report = check(recipe(place, **GRID))
    assert report.fits
    assert any("at most 5 candidates" in note for note in report.notes)
    file = recipe(place, **GRID)
    data = yaml.safe_load(file.read_text("utf-8")) | {"splits": {"validation": "dev"}}
    file.write_text(yaml.safe_dump(data), "utf-8")
    assert any("'dev'" in problem for problem in check(file).problems)


def test_what_is_missing_is_told(place: Path, tmp_path: Path) -> None:
    file = recipe(place, **GRID)
    data = yaml.safe_load(file.read_text("utf-8"))
    file.write_text(yaml.safe_dump(data | {"tasks": []}), "utf-8")
    with pytest.raises(BadInput, match="needs 'tasks'"):
        fuse(file, tmp_path / "out")
    many = yaml.safe_dump_all([data | {"name": "first"}, data | {"name": None}])
    file.write_text(many, "utf-8")
    with pytest.raises(BadInput, match="several documents"):
        fuse(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_with_heads_of_their_own_are_searched(place: Path, tmp_path: Path) -> None:
    from plait.heads import split_head

    for name in ("shop", "cinema"):
        split_head(place / name, tmp_path / name, name)
    shutil.copytree(tmp_path / "shop", tmp_path / "base")
    shutil.rmtree(tmp_path / "base" / "heads")
    data = {
        "merge_method": "linear",
        "models": [{"model": "shop"}, {"model": "cinema"}],
        "parameters": {"weight": 1.0},
        "tasks": [synthetic.task(n, place / f"data-{n}") for n in ("shop", "cinema")],
        "search": {"budget": 4, "folds": 3, "per": "model", "parameters": {"weight": [0.1, 1]}},
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(data), "utf-8")
    result = fuse(file, tmp_path / "out", threads=1)
    assert set(result.report["search"]["points"][1]["parameters"]) == {
        "weight[shop]",
        "weight[cinema]",
    }
    assert (tmp_path / "out" / "heads" / "cinema" / "head.safetensors").is_file()
