# SPDX-License-Identifier: Apache-2.0
"""Reading tasks: three formats, and a sentence for each thing that can be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.errors import BadInput
from plait.evaluation import Item, load_task, tasks
from plait.recipes.project import Columns, TaskSpec

SPEC = TaskSpec(name="shop", dataset="shop/reviews", columns=Columns(group="document"))
ROWS = [
    {"text": "good", "label": 1, "document": "7"},
    {"text": "bad", "label": 0, "document": "7"},
    {"text": "fine", "label": 1, "document": "8"},
]
ITEMS = (
    Item("good", 1, "7", "gate:0"),
    Item("bad", 0, "7", "gate:1"),
    Item("fine", 1, "8", "gate:2"),
)


def write(folder: Path, rows: list[dict[str, object]], split: str = "gate") -> Path:
    (folder / "data").mkdir(exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / f"{split}.jsonl").write_text(content)
    return folder


def test_reads_json_lines(tmp_path: Path) -> None:
    task = load_task(SPEC, write(tmp_path, ROWS), "gate")
    assert (task.name, task.metric, task.labels) == ("shop", "balanced_accuracy", (0, 1))
    assert task.items == ITEMS


def test_reads_csv_with_numbers_as_labels(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gate.csv").write_text(
        "document,text,label\n7,good,1\n7,bad,0\n8,fine,1\n"
    )
    assert load_task(SPEC, tmp_path, "gate").items == ITEMS


def test_reads_parquet_shards_as_push_to_hub_writes_them(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    for index, rows in enumerate((ROWS[:2], ROWS[2:])):
        path = tmp_path / "data" / f"gate-0000{index}-of-00002.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), path)
    assert load_task(SPEC, tmp_path, "gate").items == ITEMS


def test_without_a_group_column_every_item_stands_alone(tmp_path: Path) -> None:
    task = load_task(TaskSpec("a", "a/b"), write(tmp_path, ROWS), "gate")
    assert len({item.group for item in task.items}) == 3


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "is empty"),
        ([{"text": "a", "document": "1"}], "no column 'label'.*has: text, document"),
        ([{"text": "a", "label": 1}], "no column 'document'"),
        ([{**ROWS[0], "text": "  "}], "Column 'text' in row 1"),
        ([{**ROWS[0], "text": 3}], "Column 'text' in row 1"),
        ([{**ROWS[0], "text": "x" * 100_001}], "longer than 100,000"),
        ([ROWS[0], {**ROWS[1], "label": None}], "Column 'label' in row 2"),
        ([{**ROWS[0], "label": 0.5}], "whole number or a name"),
        ([{**ROWS[0], "document": None}], "Column 'document' in row 1"),
        ([ROWS[0], ROWS[2]], "every item has the label '1'"),
        ([ROWS[0], {**ROWS[1], "label": "negative"}], "mixes numbers and names"),
    ],
)
def test_refuses_rows_with_a_sentence(
    tmp_path: Path, rows: list[dict[str, object]], told: str
) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        load_task(SPEC, write(tmp_path, rows), "gate")
    assert "shop/reviews" in caught.value.message


def test_refuses_files_that_are_not_what_they_claim(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no split 'gate'.*data/gate\.jsonl"):
        load_task(SPEC, tmp_path, "gate")
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "gate.jsonl"
    for content, told in (
        (b"{not json}\n", "Line 1 of gate.jsonl"),
        (b"[1]\n", "must be an object"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"[" * 100_000 + b"\n", "Line 1 of gate.jsonl"),
    ):
        file.write_bytes(content)
        with pytest.raises(BadInput, match=told):
            load_task(SPEC, tmp_path, "gate")


def test_refuses_a_damaged_parquet_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gate.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    with pytest.raises(BadInput, match="not a readable Parquet file"):
        load_task(SPEC, tmp_path, "gate")


def test_refuses_absurd_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ROWS)
    monkeypatch.setattr(tasks, "MAX_ITEMS", 2)
    with pytest.raises(BadInput, match="more than 2 items"):
        load_task(SPEC, tmp_path, "gate")
    monkeypatch.setattr(tasks, "MAX_FILE_BYTES", 10)
    with pytest.raises(BadInput, match="10 is the most"):
        load_task(SPEC, tmp_path, "gate")
