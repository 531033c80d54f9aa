# SPDX-License-Identifier: Apache-2.0
"""Results in cards: read by the stock client, replaced one by one, others' words kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_eval_result, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from plait.cards import validate_card
from plait.errors import BadInput
from plait.evaluation import Evaluation, ItemScore, model_index, write_card, write_eval_results
from plait.evaluation.results import score_items, summarise
from plait.recipes.project import TaskSpec

SPECS = [
    TaskSpec("shop", "org/shop", metric="accuracy"),
    TaskSpec("news", "org/news", metric="macro_f1", revision="abc"),
]


def measured(right: int = 8, split: str = "test") -> Evaluation:
    items = tuple(ItemScore(str(k), str(k), k % 2, k % 2 ^ (k >= right), 0.9) for k in range(10))
    return summarise(
        split,
        {spec.name: score_items(spec.metric, items, {"classes": 2}) for spec in SPECS},
    )


def told(card: Path) -> dict[tuple[Any, ...], Any]:
    """What the stock client reads: value by task, data set, split and metric."""
    results = ModelCard.load(card).data.eval_results or []
    return {
        (r.task_type, r.dataset_type, r.dataset_split, r.metric_type, r.source_name): r.metric_value
        for r in results
    }


def test_the_index_is_what_the_stock_client_makes() -> None:
    index = model_index("model", measured(), SPECS[:1] + SPECS[1:])
    name, results = model_index_to_eval_results(index)
    assert name == "model"
    shop, news = results
    theirs = metadata_eval_result(
        model_pretty_name="model",
        task_pretty_name="Text Classification",
        task_id="text-classification",
        metrics_pretty_name="Accuracy",
        metrics_id="accuracy",
        metrics_value=0.8,
        dataset_pretty_name="shop",
        dataset_id="org/shop",
        dataset_split="test",
    )["model-index"][0]["results"][0]
    ours = index[0]["results"][0]
    assert ours["task"] == theirs["task"]
    assert ours["dataset"] == theirs["dataset"]
    assert {"verified": False, **ours["metrics"][0]} == theirs["metrics"][0] | {
        "args": {"interval": ours["metrics"][0]["args"]["interval"], "n": 10, "groups": 10}
    }
    assert news.dataset_revision == "abc"
    assert shop.metric_value == pytest.approx(0.8)


def test_a_card_is_written_read_and_written_again(tmp_path: Path) -> None:
    card = write_card(tmp_path, measured(), SPECS)
    key = ("text-classification", "org/shop", "test", "accuracy", None)
    assert told(card)[key] == 0.8
    assert validate_card(card.read_text()).errors == ()
    write_card(tmp_path, measured(10), SPECS)
    assert told(card)[key] == 1.0
    assert len(told(card)) == 2
    write_card(tmp_path, measured(7, "gate"), SPECS)
    assert len(told(card)) == 4
    write_card(tmp_path, measured(9), SPECS, every=True)
    assert len(told(card)) == 2 + 6


def test_what_others_wrote_stays(tmp_path: Path) -> None:
    ours = model_index("theirs", measured(3), SPECS)[0]["results"][0]
    sourced = {**ours, "source": {"name": "board", "url": "https://example.org"}}
    verified = {**ours, "metrics": [{"type": "accuracy", "value": 0.1, "verified": True}]}
    another = {**ours, "metrics": [{"type": "accuracy", "value": 0.3}, {"type": "x", "value": 1}]}
    head = {
        "license": "mit",
        "model-index": [{"name": "theirs", "results": [sourced, verified, another]}],
    }
    card = tmp_path / "README.md"
    card.write_text(f"---\n{json.dumps(head)}\n---\n# A title\n\nWords.\n")
    write_card(tmp_path, measured(), SPECS)
    content = card.read_text()
    assert content.endswith("# A title\n\nWords.\n")
    data = yaml.safe_load(content.split("---\n")[1])
    assert data["license"] == "mit"
    model = data["model-index"][0]
    assert model["name"] == "theirs"
    values = [(m["type"], m["value"]) for r in model["results"] for m in r["metrics"]]
    assert values[:3] == [("accuracy", 0.3), ("accuracy", 0.1), ("x", 1)]
    assert values[3:] == [("accuracy", 0.8), ("macro_f1", pytest.approx(0.8, abs=0.01))]
    assert sourced in model["results"]
    assert verified in model["results"]


@pytest.mark.parametrize("index", ["text", [], [3], {"name": "x"}, [{"results": 5}]])
def test_an_index_that_is_none_gives_way(tmp_path: Path, index: Any) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"---\n{yaml.safe_dump({'model-index': index})}---\n")
    write_card(tmp_path, measured(), SPECS)
    assert len(told(card)) == 2


def test_a_card_that_is_no_yaml_is_left_alone(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\n[\n---\n")
    with pytest.raises(BadInput, match="YAML head"):
        write_card(tmp_path, measured(), SPECS)
    assert card.read_text() == "---\n[\n---\n"
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_a_task_without_a_spec_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no spec of task 'news'"):
        write_card(tmp_path, measured(), SPECS[:1])


def test_eval_results_are_the_hubs_newer_form(tmp_path: Path) -> None:
    folder = [TaskSpec("shop", "data/of/mine", metric="accuracy"), SPECS[1]]
    (file,) = write_eval_results(tmp_path, measured(), folder, today="2026-01-02")
    assert file == tmp_path / ".eval_results" / "org__news.yaml"
    entries = yaml.safe_load(file.read_text())
    (entry,) = parse_eval_result_entries(entries)
    assert (entry.dataset_id, entry.task_id, entry.date) == ("org/news", "news", "2026-01-02")
    assert entry.dataset_revision == "abc"
    assert entry.value == pytest.approx(0.8, abs=0.01)
    assert "macro_f1 on test, n=10" in str(entry.notes)
    # theirs, with a source, stays; ours is replaced
    file.write_text(json.dumps([*entries, {**entries[0], "source": {"url": "https://a.b"}}]))
    write_eval_results(tmp_path, measured(10), folder, today="2026-01-03")
    found = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert [(one.value, one.source_url) for one in found][1] == (1.0, None)
    assert found[0].source_url == "https://a.b"
    assert len(found) == 2
