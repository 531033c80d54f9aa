# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.web.tables import MOST_COLUMNS, MOST_ROWS, cell, is_table, read_table


def texts(path: str, text: str, *, whole: bool = True) -> list[list[str]]:
    return [[value.text for value in row] for row in read_table(path, text, whole=whole).rows]


def test_separated_values_are_read_with_their_quotes_and_ragged_rows() -> None:
    found = read_table("a.csv", 'name,score\n"a, b",1.50\nshort\n', whole=True)
    assert list(found.columns) == ["name", "score"]
    assert texts("a.csv", 'name,score\n"a, b",1.50\nshort\n') == [["a, b", "1.50"], ["short", ""]]
    assert found.numbers == [False, True]
    assert texts("a.TSV", "x\ty\n1\t2\n") == [["1", "2"]]


def test_a_line_that_the_beginning_cuts_is_not_a_row() -> None:
    found = read_table("a.csv", "a,b\n1,2\n3,", whole=False)
    assert len(found.rows) == 1 and found.cut


def test_lines_of_json_become_columns_in_the_order_of_their_coming() -> None:
    found = read_table("a.jsonl", '{"b": 1}\n\n{"a": [1, 2], "b": null}\n7\n', whole=True)
    assert list(found.columns) == ["b", "a", "value"]
    assert texts("a.jsonl", '{"b": 1}\n{"a": {"c": "é"}}\n') == [["1", ""], ["", '{"c": "é"}']]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.csv", ""),
        ("a.jsonl", ""),
        ("a.jsonl", "not json\n"),
        ("a.jsonl", "[" * 100_000 + "\n"),
        ("a.jsonl", '{"a": "' + "x" * 300_000 + '"}\n'),
        ("a.csv", "x" * 200_001 + "\n"),
    ],
)
def test_what_is_no_table_is_refused(path: str, text: str) -> None:
    with pytest.raises(BadInput):
        read_table(path, text, whole=True)


def test_a_long_cell_is_cut_short() -> None:
    found = read_table("a.csv", "a,b\n" + "x" * 200_000 + ",1\n", whole=True)
    assert len(found.rows[0][0].text) < 400 and found.rows[0][1].text == "1"


def test_rows_columns_and_cells_are_bounded() -> None:
    wide = ",".join(f"c{n}" for n in range(100))
    found = read_table("a.csv", "\n".join([wide] * 500), whole=True)
    assert len(found.columns) == MOST_COLUMNS and found.more_columns == 100 - MOST_COLUMNS
    assert len(found.rows) == MOST_ROWS and found.cut
    assert len(cell("x" * 10_000).text) < 400


@given(st.text(alphabet=string.printable, max_size=400), st.sampled_from(["a.csv", "a.jsonl"]))
def test_any_text_is_shown_or_refused(text: str, path: str) -> None:
    try:
        found = read_table(path, text, whole=True)
    except BadInput:
        return
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert len(found.numbers) == len(found.columns)


def test_tables_are_told_by_their_names() -> None:
    assert is_table("x/a.CSV") and is_table("a.ndjson") and not is_table("a.parquet")
