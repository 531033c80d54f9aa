# SPDX-License-Identifier: Apache-2.0
"""``plait evaluate``: several models beside each other, and what is told of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from plait.cli.main import app
from plait.errors import BadInput
from plait.evaluation import predictors

PROJECT = """
tasks:
  - {name: shop, dataset: org/shop, metric: accuracy}
  - {name: news, dataset: org/news, metric: macro_f1, seen: false}
"""


class Model:
    """Right on all items but every so many-th; and sure of it."""

    labels = ("no", "yes")

    def __init__(self, folder: Path) -> None:
        self.every = int((Path(folder) / "every").read_text())

    def predict(self, samples: Sequence[str], progress: object = None) -> np.ndarray:
        out = np.zeros((len(samples), 2), dtype=np.float32)
        for place, text in enumerate(samples):
            number = int(text.split()[1])
            wrong = number % self.every == 0
            out[place, (number % 2) ^ wrong] = 0.9
            out[place, 1 - ((number % 2) ^ wrong)] = 0.1
        return out


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(predictors, "load_predictor", Model)
    for name, every in (("good", 10), ("bad", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "every").write_text(str(every))
        (tmp_path / name / "config.json").write_text("{}")
    for task in ("shop", "news"):
        for split in ("test", "validation"):
            data = tmp_path / "org" / task / "data"
            data.mkdir(parents=True, exist_ok=True)
            rows = [{"text": f"item {k}", "label": ["no", "yes"][k % 2]} for k in range(60)]
            (data / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "plait.yaml").write_text(PROJECT)
    return tmp_path


def run(place: Path, *arguments: str) -> tuple[int, str]:
    common = ("--project", str(place / "plait.yaml"), "--data", str(place))
    done = CliRunner().invoke(app, ["evaluate", *arguments, *common])
    return done.exit_code, done.output


def test_one_model_has_a_line_for_each_task_and_seen_beside_unseen(place: Path) -> None:
    code, told = run(place, str(place / "good"))
    assert code == 0, told
    assert "shop" in told
    assert "0.900 [" in told
    lines = [line.split()[0] for line in told.splitlines()[1:]]
    assert lines == ["task", "shop", "news", "average", "seen", "unseen"]


def test_several_models_are_compared_with_the_first(place: Path) -> None:
    good, bad = str(place / "good"), str(place / "bad")
    code, told = run(place, good, bad)
    assert code == 0, told
    assert f"{bad} minus {good}" in told
    assert "−23.3 points" in told
    assert "McNemar" in told
    code, told = run(place, good, bad, "--json")
    found = json.loads(told)
    assert list(found["models"]) == [good, bad]
    difference = found["comparisons"][bad]["tasks"]["shop"]
    assert difference["effect"] == pytest.approx(-14 / 60)
    assert difference["mcnemar"]["first_only"] < difference["mcnemar"]["second_only"]
    assert found["comparisons"][bad]["unseen"]["effect"] < 0


def test_comparisons_are_drawn(place: Path, tmp_path: Path) -> None:
    good, bad = str(place / "good"), str(place / "bad")
    common = ["--project", str(place / "plait.yaml"), "--data", str(place)]
    out = tmp_path / "compared.svg"
    done = CliRunner().invoke(app, ["compare", good, bad, *common, "--json", "--plot", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    drawn = out.read_text(encoding="utf-8")
    ElementTree.fromstring(drawn)
    for task in ("shop", "news"):
        assert f">{found['models'][good]['tasks'][task]['score']:.4g}<" in drawn
        gap = found["pairs"][0]["tasks"][task]
        assert f">{gap['effect']:+.4g}<" in drawn
    for wrong in ("compared.png", "gone/compared.svg"):
        bad_place = ["compare", good, bad, *common, "--plot", str(tmp_path / wrong)]
        refused = CliRunner().invoke(app, bad_place)
        assert isinstance(refused.exception, BadInput)
        assert "SVG" in refused.exception.message


def test_reports_confusion_and_calibration(place: Path) -> None:
    code, told = run(
        place, str(place / "bad"), "--task", "shop", "--report", "--confusion", "--calibration"
    )
    assert code == 0, told
    for words in (
        "precision    recall  f1-score   support",
        "weighted avg",
        "true classes in rows",
        "adaptive ECE",
        "temperature",
        "0.87 to 0.93",
    ):
        assert words in told


def test_scores_are_written_into_the_card(place: Path) -> None:
    (place / "good" / "README.md").write_text("---\nlicense: mit\n---\n# Good\n")
    code, told = run(place, str(place / "good"), "--write-card", "--json")
    assert code == 0, told
    card = ModelCard.load(place / "good" / "README.md")
    assert card.data.license == "mit"
    results = card.data.eval_results or []
    assert {(r.dataset_type, r.metric_type) for r in results} == {
        ("org/shop", "accuracy"),
        ("org/news", "macro_f1"),
    }
    assert sorted(p.name for p in (place / "good" / ".eval_results").iterdir()) == [
        "org__news.yaml",
        "org__shop.yaml",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Say which model"),
        (("good", "good"), "named twice"),
        (("good", "--task", "shoe"), "no task 'shoe'"),
    ],
)
def test_what_cannot_be_is_a_sentence(place: Path, arguments: tuple[str, ...], told: str) -> None:
    named = [str(place / one) if one == "good" else one for one in arguments]
    common = ("--project", str(place / "plait.yaml"), "--data", str(place))
    done = CliRunner().invoke(app, ["evaluate", *named, *common])
    assert done.exit_code != 0
    assert told in done.output + str(done.exception)


def test_metrics_are_listed_with_their_sources() -> None:
    done = CliRunner().invoke(app, ["evaluate", "--metrics"])
    assert done.exit_code == 0
    assert "balanced_accuracy_score" in done.output
    plain = CliRunner().invoke(app, ["evaluate", "--metrics", "--json"])
    rows = {row["metric"]: row for row in json.loads(plain.output)}
    assert rows["perplexity"]["better"] == "lower"
    assert rows["f1"]["tasks"] == ["token-classification"]
