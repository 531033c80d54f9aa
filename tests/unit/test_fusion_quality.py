# SPDX-License-Identifier: Apache-2.0
"""The quality benchmark's splits: nothing that belongs together is torn apart."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True, scope="module")
def path() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@given(st.integers(0, 10_000), st.integers(30, 200))
@settings(max_examples=30, deadline=None)
def test_no_group_is_in_two_splits_and_classes_are_alike(seed: int, count: int) -> None:
    from fusion_quality.corpora import Text
    from fusion_quality.splits import PER_GROUP, deal

    draw = random.Random(seed)
    drawn = [(draw.randrange(20), draw.choice("abc")) for _ in range(count)]
    texts = [Text(f"text {i}", label, str(group)) for i, (group, label) in enumerate(drawn)]
    found = deal("task", texts, {"test": 9, "validation": 6, "train": 30}, seed)
    groups = {split: {t.group for t in items} for split, items in found.items()}
    assert not groups["test"] & groups["validation"]
    assert not groups["test"] & groups["train"]
    assert not groups["validation"] & groups["train"]
    for split, most in (("test", 3), ("validation", 2), ("train", 10)):
        assert max(Counter(t.label for t in found[split]).values(), default=0) <= most
        assert max(Counter(t.group for t in found[split]).values(), default=0) <= PER_GROUP
    again = deal("task", list(reversed(texts)), {"test": 9, "validation": 6, "train": 30}, seed)
    assert again == found


def test_statistics_of_another_kind_have_another_folder() -> None:
    from fusion_quality.models import Statistics

    wanted = [
        Statistics(kind, texts, epsilon, diagonal)
        for kind in ("gram", "fisher")
        for texts in (64, 640)
        for epsilon in (None, 2, 8)
        for diagonal in (False, True)
    ]
    assert len({one.folder for one in wanted}) == len(wanted)


def found(right: str, average: float) -> dict[str, object]:
    from fusion_quality import settings

    return {
        "seen": dict.fromkeys(settings.SEEN, average),
        "left_out": {},
        "cpu_seconds": 1.0,
        "told": {},
        "answers": dict.fromkeys(settings.SEEN, right),
    }


def test_differences_are_paired_by_item_and_documents_drawn_whole(tmp_path: Path) -> None:
    from fusion_quality import settings, table
    from fusion_quality.corpora import Text
    from fusion_quality.models import Suite

    def suite(groups: int) -> Suite:
        items = [Text(f"text {i}", "a", str(i % groups)) for i in range(40)]
        seen = {task: {"test": items} for task in settings.SEEN}
        return Suite(0, tmp_path, "", seen, {})

    one, other = found("1" * 30 + "0" * 10, 0.75), found("1" * 20 + "0" * 20, 0.5)
    apart = table._difference([(one, other, suite(4))])
    assert apart[0] == pytest.approx(0.25)
    assert table._difference([(other, one, suite(4))])[0] == pytest.approx(-0.25)
    assert table._difference([(one, one, suite(4))]) == (0.0, (0.0, 0.0))
    alone = table._difference([(one, other, suite(40))])
    # items 20 to 29 differ: of four documents each has two or three of them, of forty ten differ
    width = [bounds[1][1] - bounds[1][0] for bounds in (apart, alone)]
    assert apart[1][0] <= 0.25 <= apart[1][1]
    assert 0 < width[0] < width[1]


def test_the_table_marks_the_best_fused_model_and_rows_that_lack_seeds() -> None:
    from fusion_quality import table

    rows = []
    for name, title, group, average, seeds in (
        ("multitask", "MTL", "bounds", 0.9, 3),
        ("tsv_m", "TSV-M", "weights", 0.8, 3),
        ("auto", "auto", "Plait", 0.7, 2),
        ("regmean_epsilon8", "private", "privacy", 0.85, 3),
    ):
        each = [found("", average)] * seeds + [None] * (3 - seeds)
        rows.append({"name": name, "title": title, "group": group} | table._row(each, each))
    lines = table.markdown(rows, [])
    assert [line for line in lines if "**" in line] == [lines[3]]
    assert "| *auto* (2 seeds) |" in lines[4]
    assert not any("private" in line for line in lines)


def test_a_seed_s_row_comes_back_from_the_json_as_it_was_measured(tmp_path: Path) -> None:
    from fusion_quality import judging, settings, table
    from fusion_quality.corpora import Text
    from fusion_quality.models import Suite

    items = {"test": [Text(f"text {i}", "a", str(i)) for i in range(21)]}
    suite = Suite(1, tmp_path, "key", dict.fromkeys(settings.SEEN, items), {})
    answers = dict.fromkeys(settings.SEEN, "000" + "110" * 6)
    measured = {
        "seen": judging.accuracies(answers),
        "left_out": {"verbs": 0.5, "emoji": 0.25},
        "cpu_seconds": 3.5,
        "told": {"factor": 0.7},
        "answers": answers,
    }
    earlier = {"by_seed": {"1": json.loads(json.dumps(table._stored(measured, suite)))}}
    (back,) = table._read([suite], "row", earlier)
    assert back is not None
    assert {k: back[k] for k in measured} == measured
    other = Suite(1, tmp_path, "another", suite.seen, {})
    assert table._read([other], "row", earlier) == [None]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "row.json").write_text(json.dumps(measured | {"cpu_seconds": 9.0}))
    (newer,) = table._read([suite], "row", earlier)
    assert newer is not None
    assert newer["cpu_seconds"] == 9.0
