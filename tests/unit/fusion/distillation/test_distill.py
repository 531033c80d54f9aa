# SPDX-License-Identifier: Apache-2.0
"""Teachers of several architectures and one student: it learns, and keeps what it promises."""

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
from plait.cards import parse_card
from plait.errors import BadInput, Cancelled
from plait.evaluation import evaluate
from plait.evaluation.predictors import load_predictor
from plait.fusion.datasets import load_tasks
from plait.fusion.levels import Work, level_of
from plait.heads import split_head
from plait.pretrained import head_names
from plait.recipes.project import parse_tasks
from plait.training import fine_tune

Make = Callable[..., dict[str, Any]]
QUICK = {"epochs": 6, "learning_rate": 1e-2, "freeze_embeddings": False, "patience": 6}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains with a teacher of its own architecture each, three topics, and a blank base."""
    place = tmp_path_factory.mktemp("world")
    base = synthetic.bert(place / "base")
    other = synthetic.distilbert(place / "other")
    for domain in ("shop", "cinema", "topic"):
        synthetic.dataset(place / f"data-{domain}", domain)
    synthetic.train(base, "shop", place / "shop")
    synthetic.train(other, "cinema", place / "cinema")
    blank = synthetic.bert(place / "blank", synthetic.TOPICS["topic"])
    # three classes from nothing: too fast a rate leaves two of them one
    synthetic.train(blank, "topic", place / "topic", epochs=12, learning_rate=4e-3)
    return place


@pytest.fixture
def recipe(world: Path) -> Make:
    def make(*domains: str, **parameters: Any) -> dict[str, Any]:
        return {
            "method": "distill",
            "models": [{"name": d, "model": str(world / d), "tasks": [d]} for d in domains],
            "base_model": str(world / "base"),
            "tasks": [synthetic.task(d, world / f"data-{d}") for d in domains],
            "parameters": QUICK | parameters,
        }

    return make


def run(recipe: dict[str, Any], out: Path, **work: Any) -> dict[str, Any]:
    result = plait.fusion.fuse(recipe, out, threads=1, **work)
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
    return dict(result.report["results"])


def scores(folder: Path, world: Path, *domains: str, split: str = "test") -> dict[str, float]:
    specs = parse_tasks([synthetic.task(d, world / f"data-{d}") for d in domains], "tasks")
    found = evaluate(load_predictor(folder, threads=1), load_tasks(specs, Path(), split))
    return {name: result.score for name, result in found.tasks.items()}


def test_a_student_learns_from_teachers_of_other_architectures_without_labels(
    world: Path, recipe: Make, tmp_path: Path
) -> None:
    made = recipe("shop", "cinema", teacher_weights="task", labels=False)
    results = run(made, tmp_path / "out")
    teachers = {d: scores(world / d, world, d)[d] for d in ("shop", "cinema")}
    assert min(teachers.values()) > 0.9
    student = scores(tmp_path / "out", world, "shop", "cinema")
    assert sum(student.values()) > sum(teachers.values()) - 0.1
    assert results["labelled"] == 0
    assert student == {n: t["score"] for n, t in results["test"]["tasks"].items()}


def test_the_result_is_a_plain_classifier(recipe: Make, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run(recipe("shop", epochs=1), tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model(**tokenizer("it was sturdy", return_tensors="pt")).logits.shape == (1, 2)
    report = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
    assert report["recipe"]["method"] == "distill"
    assert set(report["inputs"]) == {"shop"}
    assert "model.safetensors" in report["outputs"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Taught by `shop`" in card
    (entry,) = parse_card(card).data["model-index"]
    assert entry["name"] == "Distilled model"
    (result,) = entry["results"]
    assert result["dataset"] == {"name": "shop", "type": "data-shop", "split": "test"}
    score = report["results"]["test"]["tasks"]["shop"]["score"]
    assert result["metrics"][0]["value"] == pytest.approx(score, abs=1e-6)


def test_labels_count_where_they_are(world: Path, recipe: Make, tmp_path: Path) -> None:
    """A teacher that knows nothing of a domain cannot teach it; its labels can."""
    blind = recipe("cinema")
    blind["models"] = [{"name": "shop", "model": str(world / "shop")}]
    labelled = dict(blind, parameters=blind["parameters"] | {"alpha": 0.0})
    unlabelled = dict(blind, parameters=blind["parameters"] | {"labels": False})
    run(labelled, tmp_path / "labelled")
    run(unlabelled, tmp_path / "unlabelled")
    assert scores(tmp_path / "labelled", world, "cinema")["cinema"] > 0.9
    assert scores(tmp_path / "unlabelled", world, "cinema")["cinema"] < 0.8


def test_a_head_for_each_task_where_labels_differ(
    world: Path, recipe: Make, tmp_path: Path
) -> None:
    made = recipe("shop", "topic", labels=False, epochs=12, patience=12)
    run(made, tmp_path / "out")
    assert head_names(tmp_path / "out") == ("shop", "topic")
    student = scores(tmp_path / "out", world, "shop", "topic")
    assert student["shop"] > 0.9
    assert student["topic"] > 0.9


def test_heads_are_the_teachers_and_stay_if_told(world: Path, recipe: Make, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    made = recipe("shop", "topic", labels=False, tune_heads=False, epochs=1)
    made["models"] = []
    for name in ("shop", "topic"):
        folder = split_head(world / name, tmp_path / name, name)
        made["models"].append({"name": name, "model": str(folder)})
    merge = {
        "merge_method": "linear",
        "models": [{"model": n, "parameters": {"weight": 0.5}} for n in ("shop", "topic")],
    }
    made["parameters"]["student"] = merge
    results = run(made, tmp_path / "out")
    assert results["new_heads"] == []
    for name in ("shop", "topic"):
        head = Path("heads") / name / "head.safetensors"
        before, after = load_file(tmp_path / name / head), load_file(tmp_path / "out" / head)
        assert all((before[key] == after[key]).all() for key in before)


def test_matching_hidden_states_needs_one_width(recipe: Make, tmp_path: Path) -> None:
    results = run(recipe("shop", hidden=1.0, epochs=1), tmp_path / "out")
    assert results["steps"] > 0
    with pytest.raises(BadInput, match=r"'cinema' has hidden states of 24 .* student of 32"):
        run(recipe("shop", "cinema", hidden=1.0, teacher_weights="task"), tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("rule", ["equal", "given", "confidence", "validation"])
def test_every_rule_of_weights_teaches(
    world: Path, recipe: Make, tmp_path: Path, rule: str
) -> None:
    made = recipe("shop", teacher_weights=rule, labels=False)
    made["models"].append({"name": "again", "model": str(world / "shop"), "weight": 2})
    run(made, tmp_path / "out")
    assert scores(tmp_path / "out", world, "shop")["shop"] > 0.9


def test_texts_alone_are_enough(world: Path, recipe: Make, tmp_path: Path) -> None:
    made = recipe("shop", texts=[{"dataset": str(world / "data-shop"), "group": "document"}])
    del made["tasks"], made["models"][0]["tasks"]
    results = run(made, tmp_path / "out")
    assert results["selected_by"] == "agreement with the teachers"
    assert "test" not in results
    assert scores(tmp_path / "out", world, "shop")["shop"] > 0.9


def test_one_seed_gives_the_same_bytes(recipe: Make, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        plait.fusion.fuse(recipe("shop", epochs=1) | {"seed": seed}, tmp_path / name, threads=1)
        found.append((tmp_path / name / "model.safetensors").read_bytes())
    assert found[0] == found[1] != found[2]


def test_the_start_is_kept_when_teaching_makes_it_worse(
    world: Path, recipe: Make, tmp_path: Path
) -> None:
    made = recipe("cinema", student=str(world / "shop"), labels=False)
    rows = synthetic.texts_of("shop", 200, 0)
    swapped = {"negative": "positive", "positive": "negative"}
    texts, labels = [row[0] for row in rows], [swapped[row[1]] for row in rows]
    quick = {"epochs": 4, "learning_rate": 1e-2, "freeze_embeddings": False, "threads": 1}
    fine_tune(world / "base", texts, labels, tmp_path / "liar", **quick)
    made["models"] = [{"name": "liar", "model": str(tmp_path / "liar")}]
    made["tasks"] = [synthetic.task("shop", world / "data-shop")]
    results = run(made, tmp_path / "out")
    assert results["best_epoch"] == 0
    assert scores(tmp_path / "out", world, "shop") == scores(world / "shop", world, "shop")
    made["parameters"] |= {"stop_by": "nothing", "epochs": 2, "patience": 1}
    results = run(made, tmp_path / "last")
    assert (results["best_epoch"], results["epochs"]) == (2, [])
    assert results["selected_by"] == "nothing: the last epoch"
    assert scores(tmp_path / "last", world, "shop") != scores(world / "shop", world, "shop")


def test_nothing_is_left_when_it_is_cancelled(recipe: Make, tmp_path: Path) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(Cancelled):
        plait.fusion.fuse(recipe("shop"), tmp_path / "out", cancelled=cancelled)
    assert asked == 21
    assert list(tmp_path.iterdir()) == []


def test_the_test_split_is_read_at_the_end_and_only_if_wanted(
    world: Path, recipe: Make, tmp_path: Path
) -> None:
    poisoned = synthetic.dataset(tmp_path / "data", "shop", poisoned=True)
    made = recipe("shop", epochs=1)
    made["tasks"] = [synthetic.task("shop", poisoned)]
    seen = []
    with pytest.raises(BadInput, match=r"test\.jsonl"):
        plait.fusion.fuse(made, tmp_path / "out", progress=lambda now: seen.append(now))
    last = seen[-1]
    assert (last.stage, last.done) == ("Training the student", last.total)
    made["splits"] = {"test": None}
    results = run(made, tmp_path / "out")
    assert "test" not in results


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"temprature": 2}}, "did you mean 'temperature'"),
        ({"parameters": {"temperature": 0}}, "from 0.1 to 100"),
        ({"base_model": None}, "what the student starts as"),
        ({"tasks": None}, "has the task 'shop', which the recipe lacks"),
        ({"parameters": {"texts": "all"}}, "must be a list"),
        ({"parameters": {"texts": [{"dataset": "x", "task": "shp"}]}}, "the tasks are shop"),
        ({"parameters": {"student": 3}}, "must name a model"),
        ({"parameters": {"student": {"models": []}}}, "a recipe with 'merge_method'"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    recipe: Make, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    made = recipe("shop") | change
    with pytest.raises(BadInput, match=told):
        plait.fusion.fuse(made, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_check_says_who_cannot_teach(world: Path, recipe: Make) -> None:
    assert plait.fusion.check(recipe("shop", "topic")).fits
    made = recipe("shop", "topic")
    del made["models"][1]["tasks"]
    found = plait.fusion.check(made)
    assert not found.fits
    assert "No teacher owns the task 'topic'" in found.problems[0]
    made["models"] = [{"name": "none", "model": str(world / "data-shop")}]
    assert "no config.json" in plait.fusion.check(made).problems[0]


def test_a_check_says_what_it_takes(world: Path, recipe: Make) -> None:
    found = plait.fusion.check(recipe("shop", "cinema"))
    assert [m.reference for m in found.models] == ["shop", "cinema", str(world / "base")]
    assert all(m.parameters > 1000 and m.vocabulary for m in found.models)
    assert found.cost is not None
    assert found.cost.output_bytes == (world / "base" / "model.safetensors").stat().st_size
    assert found.cost.read_bytes > 2 * found.cost.output_bytes
    assert found.cost.memory_bytes > 400_000_000
    longer = plait.fusion.check(recipe("shop", "cinema", epochs=2_000 // 2))
    assert longer.cost is not None
    assert longer.cost.cpu_seconds > found.cost.cpu_seconds > 5
    of_merge = {"merge_method": "linear", "models": [{"model": "shop"}, {"model": "cinema"}]}
    found = plait.fusion.check(recipe("shop", "cinema", student=of_merge))
    assert any("starts as a merge" in note for note in found.notes)
    assert [m.reference for m in found.models] == ["shop", "cinema"]


def test_a_teacher_whose_weights_are_no_numbers_is_named(
    world: Path, recipe: Make, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    made = recipe("shop", "cinema")
    source = Path(made["models"][1]["model"])
    bad = shutil.copytree(source, tmp_path / "bad")
    weights = load_file(bad / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = torch.full_like(weights[name], float("inf"))
    save_file(weights, bad / "model.safetensors", {"format": "pt"})
    made["models"][1]["model"] = str(bad)
    told = f"'{made['models'][1]['name']}': tensor '{name}' holds infinity"
    assert told in plait.fusion.check(made).problems[0]
    with pytest.raises(BadInput, match=re.escape(told)):
        plait.fusion.fuse(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_level_is_found_by_its_method() -> None:
    assert level_of("distill").__name__ == "plait.fusion.distillation"  # type: ignore[attr-defined]
    assert Work().threads is None
