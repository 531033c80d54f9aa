# SPDX-License-Identifier: Apache-2.0
"""Tables: what is read comes back, merges obey their laws, duplicates are found."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.tables import (
    Table,
    exact_duplicates,
    format_of,
    merge_tables,
    near_duplicates,
    read_table,
    write_table,
)
from plait.tables.duplicates import jaccard, shingles


def table(rows: list[dict[str, Any]], format: Any = "jsonl") -> Table:
    if format == "jsonl":
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        import pyarrow
        import pyarrow.parquet

        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        data = sink.getvalue().to_pybytes()
    return read_table(data, format, "data")


def values(made: Table | None) -> list[dict[str, Any]]:
    assert made is not None
    return [dict(row.values) for row in made.rows]


class TestFiles:
    @pytest.mark.parametrize(
        ("path", "format"),
        [("a/b.JSONL", "jsonl"), ("x.csv", "csv"), ("x.tsv", "tsv"), ("x.parquet", "parquet")],
    )
    def test_formats_go_by_suffix(self, path: str, format: str) -> None:
        assert format_of(path) == format
        assert format_of("README.md") is None

    def test_what_is_not_touched_comes_out_as_it_went_in(self) -> None:
        text = b'{"b":1,  "a": "\\u00e9"}\n{"a":"x" , "b":2}\n'
        assert write_table(read_table(text, "jsonl", "f")) == text
        text = b'id,text\n1,"quoted, ""so"""\n2,"two\nlines"\n3,plain\n'
        assert write_table(read_table(text, "csv", "f")) == text

    @pytest.mark.parametrize(
        ("format", "data", "says"),
        [
            ("jsonl", b'{"a": 1}\nnot json\n', "Line 2 of f is not JSON"),
            ("jsonl", b"[1]\n", "Line 1 of f must be an object"),
            ("jsonl", b'{"a": 1, "a": 2}\n', "has a key twice"),
            ("jsonl", b'{"a": NaN}\n', "holds NaN"),
            ("jsonl", b"\xff\xfe\n", "not UTF-8"),
            ("jsonl", b"[" * 100_000, "Line 1 of f is not JSON"),
            ("csv", b"a,b\n1\n", "Line 2 of f has 1 fields; the header has 2"),
            ("csv", b"a,a\n1,2\n", "two columns named 'a'"),
            ("csv", b'a,b\n"x"y,2\n', "not valid CSV"),
            ("parquet", b"PAR1 nothing", "not a readable Parquet file"),
        ],
    )
    def test_bad_files_are_named(self, format: Any, data: bytes, says: str) -> None:
        with pytest.raises(BadInput, match=says):
            read_table(data, format, "f")

    @given(st.binary(max_size=200), st.sampled_from(["jsonl", "csv", "tsv", "parquet"]))
    def test_any_bytes_are_read_or_refused(self, data: bytes, format: Any) -> None:
        try:
            made = read_table(data, format, "f")
        except BadInput:
            return
        again = read_table(write_table(made), format, "f")
        assert [r.values for r in again.rows] == [r.values for r in made.rows]


BASE = ({"id": 1, "text": "a", "label": 0}, {"id": 2, "text": "b", "label": 1})


class TestMergeByKey:
    def test_both_sides_changes_come_together(self) -> None:
        ours = [
            {"id": 1, "text": "a!", "label": 0},
            *BASE[1:],
            {"id": 3, "text": "c", "label": 0},
        ]
        theirs = [{"id": 1, "text": "a", "label": 1}, {"id": 4, "text": "d", "label": 1}]
        merge = merge_tables(table([*BASE]), table(ours), table(theirs))
        assert merge.key == ("id",)
        assert (merge.added, merge.removed, merge.changed) == (1, 1, 1)
        assert values(merge.table) == [
            {"id": 1, "text": "a!", "label": 1},
            {"id": 3, "text": "c", "label": 0},
            {"id": 4, "text": "d", "label": 1},
        ]

    def test_contradictions_are_named_by_row_and_column(self) -> None:
        ours = [{"id": 1, "text": "a", "label": 5}, {"id": 2, "text": "B", "label": 1}]
        theirs = [{"id": 1, "text": "a", "label": 7}]
        merge = merge_tables(table([*BASE]), table(ours), table(theirs))
        assert merge.table is None
        first, second = merge.conflicts
        assert (first.key, first.column, first.ours, first.theirs) == ((1,), "label", 5, 7)
        assert second.column is None
        assert "row 2" in str(second)

    def test_columns_come_and_go(self) -> None:
        ours = [{**row, "lang": "en"} for row in BASE]
        theirs = [{"id": row["id"], "text": row["text"]} for row in BASE]
        merge = merge_tables(table([*BASE]), table(ours), table(theirs))
        assert merge.columns_removed == ("label",)
        assert values(merge.table) == [
            {"id": 1, "text": "a", "lang": "en"},
            {"id": 2, "text": "b", "lang": "en"},
        ]

    def test_a_key_must_tell_rows_apart(self) -> None:
        twice = table([{"k": 1}, {"k": 1}])
        with pytest.raises(BadInput, match="must tell rows apart"):
            merge_tables(None, twice, twice, key=["k"])
        with pytest.raises(BadInput, match="no value in its key"):
            merge_tables(None, table([{"k": None}]), table([{"k": 1}]), key=["k"])

    def test_parquet_keeps_its_types_and_refuses_two(self) -> None:
        base = table([*BASE], "parquet")
        ours = table([*BASE, {"id": 3, "text": "c", "label": 1}], "parquet")
        theirs = table([*BASE, {"id": 4, "text": "d", "label": 0}], "parquet")
        merge = merge_tables(base, ours, theirs)
        assert merge.table is not None
        again = read_table(write_table(merge.table), "parquet", "f")
        assert dict(again.types) == {"id": "int64", "text": "string", "label": "int64"}
        assert [row["id"] for row in values(again)] == [1, 2, 3, 4]
        as_text = table([{**r, "label": str(r["label"])} for r in BASE], "parquet")
        as_real = table([{**r, "label": float(r["label"])} for r in BASE], "parquet")
        assert merge_tables(base, base, as_real).retyped == {"label": ("int64", "double")}
        with pytest.raises(BadInput, match="type of column 'label'"):
            merge_tables(base, as_text, as_real)


class TestMergeByRow:
    def test_what_both_append_is_there_once(self) -> None:
        base = [{"text": "a"}, {"text": "a"}]
        ours = [*base, {"text": "b"}, {"text": "both"}]
        theirs = [{"text": "a"}, {"text": "c"}, {"text": "both"}]
        merge = merge_tables(table(base), table(ours), table(theirs))
        assert merge.key is None
        assert [row["text"] for row in values(merge.table)] == ["a", "b", "both", "c"]
        assert (merge.added, merge.removed) == (2, 1)


_VALUE = st.sampled_from(["x", "y", 1, None])
_KEYED = st.dictionaries(
    st.integers(0, 4), st.fixed_dictionaries({"a": _VALUE, "b": _VALUE}), max_size=5
).map(lambda d: [{"id": k, **v} for k, v in d.items()])
_PLAIN = st.lists(st.fixed_dictionaries({"a": _VALUE}), max_size=5)


def bag(made: Table | None) -> Counter[str]:
    assert made is not None
    return Counter(row.identity for row in made.rows)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.tuples(_KEYED, _KEYED, _KEYED), st.tuples(_PLAIN, _PLAIN, _PLAIN)))
def test_laws(sides: tuple[list[Any], list[Any], list[Any]]) -> None:
    base, ours, theirs = (table(rows) for rows in sides)
    one, other = merge_tables(base, ours, theirs), merge_tables(base, theirs, ours)
    assert bool(one.conflicts) == bool(other.conflicts)
    if not one.conflicts:
        assert bag(one.table) == bag(other.table)
        # merging the same again changes nothing
        again = merge_tables(theirs, one.table, theirs)  # type: ignore[arg-type]
        assert bag(again.table) == bag(one.table)
    assert bag(merge_tables(base, ours, base).table) == bag(ours)
    assert bag(merge_tables(base, base, theirs).table) == bag(theirs)
    assert bag(merge_tables(base, ours, ours).table) == bag(ours)


class TestDuplicates:
    def test_case_width_and_spaces_do_not_matter(self) -> None:
        texts = ["Ａ  cat", "a cat", "a dog"]
        assert [(p.first, p.second) for p in exact_duplicates(texts)] == [(0, 1)]
        assert [(p.first, p.second) for p in exact_duplicates(["A CAT"], texts)] == [(0, 0)]

    def test_near_duplicates_are_found_and_none_is_wrong(self) -> None:
        pytest.importorskip("datasketch")
        source = random.Random(0)
        words = [f"w{n}" for n in range(400)]
        texts = [" ".join(source.choices(words, k=60)) for _ in range(150)]
        edited = []
        for text in texts[:80]:
            parts = text.split()
            parts[source.randrange(60)] = "changed"
            edited.append(" ".join(parts))
        pairs = near_duplicates(edited, texts, threshold=0.8)
        assert {(p.first, p.second) for p in pairs} == {(n, n) for n in range(80)}
        for pair in pairs:
            exact = jaccard(shingles(edited[pair.first]), shingles(texts[pair.second]))
            assert pair.likeness == exact >= 0.8

    def test_text_without_spaces_is_cut_by_character(self) -> None:
        pytest.importorskip("datasketch")
        texts = [
            "今天天气很好我们去公园散步吧",
            "今天天气很好我们去公园散步呢",
            "股票市场今天大幅下跌",
        ]
        found = near_duplicates(texts, threshold=0.7)
        assert [(p.first, p.second) for p in found] == [(0, 1)]

    def test_a_threshold_must_be_one(self) -> None:
        with pytest.raises(BadInput, match="threshold"):
            near_duplicates(["a"], threshold=0)
