# SPDX-License-Identifier: Apache-2.0
"""The benchmark of modalities: its intervals, and that the docs show what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from plait.evaluation.tasks import Item

pytestmark = pytest.mark.models
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def path() -> Iterator[None]:
    pytest.importorskip("torch")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


def bench(families: int, seeds: int = 1) -> Any:
    """A bench of 80 items of two labels, each seed with all of them as its test."""
    items = [Item(f"text {i}", "ab"[i % 2], str(i // 2 % families), str(i)) for i in range(80)]
    pairs = [SimpleNamespace(family=item.group) for item in items]
    return SimpleNamespace(
        pairs=pairs, labels=["a", "b"], splits=dict.fromkeys(range(seeds)), test=lambda seed: items
    )


def answers(right: list[bool]) -> Any:
    """What a model says that has some items of `bench` right."""
    named = [i % 2 if good else 1 - i % 2 for i, good in enumerate(right)]
    return np.log(np.eye(2)[named] * 0.8 + 0.1)


def told(made: Any, *models: Any) -> Any:
    import modalities_report as report

    draws = report.Draws(made)
    scores = [{seed: draws.score(seed, model) for seed in made.splits} for model in models]
    return report._told(scores[0] if len(scores) == 1 else report._minus(*scores))


def test_scores_are_balanced_and_intervals_widen_with_fewer_families() -> None:
    half = answers([i % 2 == 0 or i < 40 for i in range(80)])  # b is right half of the time
    found = told(bench(40), half)
    assert found["value"] == pytest.approx(0.75)
    assert found["interval"][0] < 0.75 < found["interval"][1]
    few = told(bench(40), answers([i // 2 % 4 < 3 for i in range(80)]))
    fewer = told(bench(4), answers([i // 2 % 4 < 3 for i in range(80)]))
    width = [one["interval"][1] - one["interval"][0] for one in (few, fewer)]
    assert few["value"] == fewer["value"] == pytest.approx(0.75)
    assert 0 < width[0] < width[1]


def test_differences_are_paired_and_seeds_of_the_same_items_are_no_new_evidence() -> None:
    one, other = (answers([i < most for i in range(80)]) for most in (60, 40))
    assert told(bench(40), one, one) == {"value": 0.0, "interval": [0.0, 0.0], "by_seed": [0.0]}
    found = told(bench(40), one, other)
    assert found["value"] == pytest.approx(0.25)
    again = told(bench(40, seeds=3), one, other)
    assert again["interval"] == found["interval"]
    assert len(again["by_seed"]) == 3


def test_a_word_known_from_the_label_makes_an_item_less_strange() -> None:
    import modalities

    items = {
        "train": [Item("red apple of the tree", "food", "1", "1"),
                  Item("tree", "nature", "2", "2")],
        "test": [Item("an apple", "food", "3", "3"), Item("the tree house", "travel", "4", "4"),
                 Item("of the", "food", "5", "5"), Item("tree tops", "nature", "6", "6")],
    }  # fmt: skip
    made = modalities.Bench.__new__(modalities.Bench)
    made.items_of = lambda seed, split: SimpleNamespace(items=items[split])
    made.items_of(0, "train").items.append(Item("bus", "travel", "7", "7"))
    assert made.strange(0).tolist() == [False, True, True, False]


def test_the_docs_show_what_was_measured() -> None:
    import modalities_report as report

    results = json.loads((ROOT / "benchmarks" / "results" / "modalities.json").read_text())
    text = (ROOT / "docs" / "fusion" / "features.md").read_text("utf-8")
    shown = text.split(report.BEGIN)[1].split(report.END)[0].strip("\n")
    assert shown == "\n".join(report.markdown(results))
    images = ROOT / "docs" / "images"
    assert (images / "fusion-modalities.svg").read_text() == report.scores_picture(results)
    assert (images / "fusion-alpha.svg").read_text() == report.alpha_picture(results)
    for one in results["sets"]:
        rows = {row["name"]: row for row in results["rows"] if row["set"] == one["name"]}
        assert one["best_single"] in rows
        assert rows[one["best_single"]]["over_best"] is None


def test_rows_that_the_cache_lacks_stay_and_those_with_as_many_seeds_are_replaced() -> None:
    import modalities_report as report

    encoders = {"text": ("t",), "sound": ("s",), "gated": ("t", "s"), "concat": ("t", "s")}
    rows = [SimpleNamespace(name=name, encoders=own) for name, own in encoders.items()]
    made = SimpleNamespace(set=SimpleNamespace(rows=rows))

    def row(name: str, seeds: int, score: float) -> dict[str, Any]:
        return {"name": name, "seeds": list(range(seeds)), "score": score}

    earlier = [row("concat", 5, 0.1), row("gated", 3, 0.2), row("gone", 3, 0.3), row("text", 5, 0)]
    now = [row("gated", 3, 0.9), row("average", 2, 0.8), row("concat", 2, 0.7), row("sound", 1, 0)]
    found = report.whole(made, now, earlier)
    assert [one["name"] for one in found] == ["text", "sound", "average", "gated", "concat"]
    assert {one["name"]: one["score"] for one in found} == {
        "text": 0, "sound": 0, "average": 0.8, "gated": 0.9, "concat": 0.1
    }  # fmt: skip
