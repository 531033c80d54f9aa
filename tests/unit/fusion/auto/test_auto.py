# SPDX-License-Identifier: Apache-2.0
"""`method: auto` on small models: what is possible is measured, and the right one taken."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.unit.fusion import synthetic

import plait.fusion
from plait.errors import BadInput, Cancelled
from plait.evaluation.predictors import load_predictor
from plait.fusion.auto.table import plain
from plait.heads import split_head
from plait.pretrained import head_names
from plait.training import fine_tune

Make = Callable[..., dict[str, Any]]
DOMAINS = ("shop", "cinema")
QUICK = {
    "learning_rate": 1e-2,
    "search": 4,
    "methods": ["task_arithmetic", "ties"],
    "folds": 3,
    "epochs": 4,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that knows a little of both domains, a fine-tune for each, and strangers."""
    place = tmp_path_factory.mktemp("world")
    rows = [row for domain in DOMAINS for row in synthetic.texts_of(domain, 120, 7)]
    texts, labels = [row[0] for row in rows], [row[1] for row in rows]
    raw = synthetic.bert(place / "raw")
    quick = {"epochs": 2, "learning_rate": 4e-3, "freeze_embeddings": False, "threads": 1}
    fine_tune(raw, texts, labels, place / "base", **quick)
    for domain in (*DOMAINS, "topic"):
        synthetic.dataset(place / f"data-{domain}", domain, train=120, poisoned=True)
    for domain in DOMAINS:
        synthetic.train(place / "base", domain, place / domain, count=80)
    synthetic.train(synthetic.distilbert(place / "other"), "cinema", place / "stranger")
    synthetic.train(synthetic.bert(place / "large", width=48), "shop", place / "wide")
    synthetic.bert(place / "small", width=16)
    return place


@pytest.fixture
def recipe(world: Path) -> Make:
    def make(*names: str, tasks: tuple[str, ...] = DOMAINS, **parameters: Any) -> dict[str, Any]:
        return {
            "method": "auto",
            "models": [{"name": name, "model": str(world / name)} for name in names],
            "base_model": str(world / "base"),
            "tasks": [synthetic.task(task, world / f"data-{task}") for task in tasks],
            "splits": {"test": None},
            "parameters": QUICK | parameters,
        }

    return make


def run(recipe: dict[str, Any], out: Path, **work: Any) -> dict[str, Any]:
    result = plait.fusion.fuse(recipe, out, threads=1, **work)
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
    return dict(result.report["auto"])


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(one) for one in found["table"] if one["name"] == name)


def test_every_level_is_measured_and_a_cheap_one_taken(recipe: Make, tmp_path: Path) -> None:
    found = run(recipe(*DOMAINS), tmp_path / "out")
    assert {one["level"] for one in found["table"]} == {
        "members",
        "weights",
        "outputs",
        "distillation",
    }
    assert not any(found["levels"].values())
    taken = row(found, found["chosen"])
    assert taken["cost"] == pytest.approx(1, abs=0.01)
    assert taken["score"] >= max(one["score"] for one in found["table"]) - 0.05
    assert row(found, "average of outputs")["cost"] == pytest.approx(2)
    assert load_predictor(tmp_path / "out").labels == synthetic.LABELS
    # a poisoned test split was never touched
    assert json.loads((tmp_path / "out" / "plait_fusion.json").read_text())["auto"] == found
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"took '{found['chosen']}'" in card
    assert "**taken**" in card
    assert "<svg" in (tmp_path / "out" / "plait_auto.svg").read_text()
    assert found["chosen"] in plain(found)


def test_every_row_can_be_made_again_by_its_recipe(recipe: Make, tmp_path: Path) -> None:
    found = run(recipe(*DOMAINS, levels=["weights", "distillation"]), tmp_path / "out")
    merged = row(found, "ties")["recipe"]
    plait.fusion.fuse(merged, tmp_path / "ties")
    taught = next(one for one in found["table"] if one["level"] == "distillation")
    plait.fusion.fuse(taught["recipe"], tmp_path / "taught", threads=1)
    if found["chosen"] == taught["name"]:
        weights = [tmp_path / name / "model.safetensors" for name in ("out", "taught")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_strangers_are_averaged_by_their_outputs(recipe: Make, world: Path, tmp_path: Path) -> None:
    found = run(
        recipe("wide", "stranger", levels=["members", "weights", "outputs"]), tmp_path / "out"
    )
    assert "vocabularies" in found["levels"]["weights"]
    assert row(found, found["chosen"])["level"] == "outputs"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "plait_ensemble"


def test_what_is_larger_than_the_budget_is_not_taken(recipe: Make, tmp_path: Path) -> None:
    made = recipe("shop", "stranger", search=0)
    sizes = [
        (Path(model["model"]) / "model.safetensors").stat().st_size for model in made["models"]
    ]
    made["budget"] = {"bytes": max(sizes) + 100}
    found = run(made, tmp_path / "out")
    taken = row(found, found["chosen"])
    assert taken["bytes"] <= made["budget"]["bytes"]
    assert taken["level"] in ("members", "distillation")
    assert "above the budget" in row(found, "average of outputs")["usable"]
    sizes = [one["bytes"] for one in found["best_for"]]
    assert sizes == sorted(sizes)


def test_a_smaller_student_is_taught_where_nothing_else_fits(
    recipe: Make, world: Path, tmp_path: Path
) -> None:
    most = (world / "small" / "model.safetensors").stat().st_size + 1_000
    made = recipe(*DOMAINS) | {"budget": {"bytes": most}}
    with pytest.raises(BadInput, match=r"Nothing that was measured.*parameters\.student"):
        run(made, tmp_path / "no")
    assert list(tmp_path.iterdir()) == []
    made["parameters"]["student"] = str(world / "small")
    found = run(made, tmp_path / "out")
    assert found["chosen"] == "distilled, from small"
    assert (tmp_path / "out" / "model.safetensors").stat().st_size <= most


def test_cpu_seconds_end_the_trying(recipe: Make, tmp_path: Path) -> None:
    made = recipe(*DOMAINS) | {"budget": {"cpu_seconds": 1}}
    made["parameters"]["epochs"] = 1_000
    found = run(made, tmp_path / "out")
    assert found["not_tried"]
    assert all(one["reason"] for one in found["not_tried"])
    assert found["budget"]["cpu_seconds"] == 1


def test_heads_of_several_tasks_become_one_encoder(
    recipe: Make, world: Path, tmp_path: Path
) -> None:
    made = recipe(tasks=("shop", "topic"), search=0)
    # two fine-tunes of one encoder, each with a head for its own task
    split_head(world / "shop", tmp_path / "shop", "shop")
    split_head(world / "base", tmp_path / "base", "shop")
    rows = synthetic.texts_of("topic", 200, 0)
    from plait.fusion.distillation.student import Student
    from plait.pretrained import load_classifier

    start, tokenizer = load_classifier(world / "base", new_head=synthetic.TOPICS["topic"])
    (tmp_path / "start").mkdir()
    Student({"": start}, tokenizer, 32).save(tmp_path / "start")
    fine_tune(
        tmp_path / "start",
        [text for text, _, _ in rows],
        [label for _, label, _ in rows],
        tmp_path / "whole",
        epochs=6,
        learning_rate=5e-3,
        freeze_embeddings=False,
        threads=1,
    )
    split_head(tmp_path / "whole", tmp_path / "topic", "topic")
    made["models"] = [{"name": n, "model": str(tmp_path / n)} for n in ("shop", "topic")]
    made["base_model"] = str(tmp_path / "base")
    found = run(made, tmp_path / "out")
    assert head_names(tmp_path / "out") == ("shop", "topic")
    assert "labels or heads of their own" in found["levels"]["outputs"]
    apart = row(found, "each task's own model")
    assert "several models" in apart["usable"]
    taken = row(found, found["chosen"])
    assert taken["level"] in ("weights", "distillation")
    assert taken["bytes"] < apart["bytes"]


def test_the_same_recipe_chooses_the_same(recipe: Make, tmp_path: Path) -> None:
    made = recipe(*DOMAINS, search=4)
    found = [run(made, tmp_path / name) for name in ("a", "b")]
    for one in found:
        for entry in one["table"]:
            entry.pop("make_seconds")
            entry.pop("measure_seconds")
            entry.pop("found")
        one["budget"].pop("spent_cpu_seconds")
    assert found[0] == found[1]
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_the_test_split_is_read_after_everything_is_chosen(recipe: Make, tmp_path: Path) -> None:
    made = recipe(*DOMAINS, levels=["members", "weights"]) | {"splits": {"test": "test"}}
    stages = []
    with pytest.raises(BadInput, match=r"test\.jsonl"):
        run(made, tmp_path / "out", progress=lambda now: stages.append(now.stage))
    assert "Merging weights" in stages
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", [3, 40, 120])
def test_nothing_is_left_when_it_is_cancelled(recipe: Make, tmp_path: Path, after: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    with pytest.raises(Cancelled):
        plait.fusion.fuse(recipe(*DOMAINS), tmp_path / "out", threads=1, cancelled=cancelled)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"levels": ["weight"]}}, "did you mean 'weights'"),
        ({"parameters": {"methods": ["tie"]}}, "did you mean 'ties'"),
        ({"parameters": {"fold": 3}}, "did you mean 'folds'"),
        ({"tasks": None}, "needs 'tasks'"),
        ({"models": [{"model": "x"}]}, "2 to 100 models"),
        ({"budget": {"cpu_second": 3}}, "did you mean 'cpu_seconds'"),
        ({"budget": {"bytes": 0}}, "from 1"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    recipe: Make, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        plait.fusion.fuse(recipe(*DOMAINS) | change, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_check_says_what_it_takes(recipe: Make, world: Path) -> None:
    made = recipe("shop", "cinema")
    found = plait.fusion.check(made)
    assert [m.reference for m in found.models] == ["shop", "cinema", "base_model"]
    assert any("states no licence" in note for note in found.notes)
    told = next(note for note in found.notes if note.startswith("CPU-seconds without a limit"))
    assert "members" in told and "weights" in told and "distillation" in told
    assert found.cost is not None
    assert found.cost.cpu_seconds > 5
    assert found.cost.output_bytes == sum(
        (world / n / "model.safetensors").stat().st_size for n in ("shop", "cinema")
    )
    found = plait.fusion.check(made | {"budget": {"cpu_seconds": 2, "bytes": 5_000}})
    assert found.cost is not None
    assert found.cost.cpu_seconds == 2
    assert found.cost.output_bytes == 5_000
    assert any("what promises least is left out" in note for note in found.notes)


def test_a_member_whose_weights_are_no_numbers_is_named(recipe: Make, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    made = recipe("shop", "cinema")
    bad = shutil.copytree(Path(made["models"][0]["model"]), tmp_path / "bad")
    weights = load_file(bad / "model.safetensors")
    name = sorted(weights)[-1]
    weights[name] = torch.full_like(weights[name], float("nan"))
    save_file(weights, bad / "model.safetensors", {"format": "pt"})
    made["models"][0]["model"] = str(bad)
    told = f"'{made['models'][0]['name']}': tensor '{name}' holds NaN"
    assert told in plait.fusion.check(made).problems[0]
    with pytest.raises(BadInput, match=re.escape(told)):
        plait.fusion.fuse(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_check_names_the_levels_that_are_possible(recipe: Make) -> None:
    found = plait.fusion.check(recipe("shop", "stranger"))
    notes = {note.split(":")[0]: note for note in found.notes}
    assert found.fits
    assert notes["weights"] != "weights: possible"
    assert notes["outputs"] == "outputs: possible"
    assert notes["distillation"] == "distillation: possible"
