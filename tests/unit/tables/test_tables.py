# SPDX-License-Identifier: Apache-2.0
"""Tables: what is read comes back, merges obey their laws, duplicates are found."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput, TooLarge
from plait.tables import (
    Settlement,
    Table,
    Value,
    check_memory,
    exact_duplicates,
    format_of,
    merge_tables,
    near_duplicates,
    read_table,
    shape_of,
    write_table,
)
from plait.tables.duplicates import jaccard, shingles
from plait.tables.reading import Format


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
        clash = merge_tables(base, as_text, as_real)
        assert clash.table is None
        assert [str(c) for c in clash.type_conflicts] == ["column 'label': string or double"]


class TestMergeByRow:
    def test_what_both_append_is_there_once(self) -> None:
        base = [{"text": "a"}, {"text": "a"}]
        ours = [*base, {"text": "b"}, {"text": "both"}]
        theirs = [{"text": "a"}, {"text": "c"}, {"text": "both"}]
        merge = merge_tables(table(base), table(ours), table(theirs))
        assert merge.key is None
        assert [row["text"] for row in values(merge.table)] == ["a", "b", "both", "c"]
        assert (merge.added, merge.removed) == (2, 0)


_VALUE = st.sampled_from(["x", "y", "z", None])
_KEYED = st.dictionaries(
    st.integers(0, 4), st.fixed_dictionaries({"a": _VALUE, "b": _VALUE}), max_size=5
).map(lambda d: [{"id": k, **v} for k, v in d.items()])
_PLAIN = st.lists(st.fixed_dictionaries({"a": _VALUE, "b": _VALUE}), max_size=6)
_SIDES = st.one_of(st.tuples(*[_KEYED] * 4), st.tuples(*[_PLAIN] * 4))


def written(made: Table | None) -> bytes:
    assert made is not None
    return write_table(made)


def distinct(made: Table) -> set[str]:
    return {row.identity for row in made.rows}


@settings(max_examples=60, deadline=None)
@given(_SIDES, st.sampled_from(["jsonl", "parquet"]))
def test_the_sides_can_be_exchanged_and_merging_again_changes_nothing(
    rows: tuple[list[Any], ...], format: str
) -> None:
    if format == "parquet" and not all(rows):
        return  # Arrow tells no columns of no rows
    base, ours, theirs = (table(side, format) for side in rows[:3])
    one, other = merge_tables(base, ours, theirs), merge_tables(base, theirs, ours)
    assert {c.id for c in one.conflicts} == {c.id for c in other.conflicts}
    assert one.settled is other.settled
    if one.table is not None:
        assert written(one.table) == written(other.table)
        assert written(merge_tables(base, one.table, theirs).table) == written(one.table)
        assert written(merge_tables(theirs, one.table, theirs).table) == written(one.table)


@settings(max_examples=60, deadline=None)
@given(_SIDES)
def test_contributions_over_one_base_give_the_same_bytes_in_any_order(
    rows: tuple[list[Any], ...],
) -> None:
    base, *contributions = (table(side) for side in rows)
    results = set()
    for order in permutations(contributions):
        main = base
        for one in order:
            merge = merge_tables(base, main, one)
            if merge.table is None:
                return
            # what is in the repository is what was written
            main = read_table(written(merge.table), "jsonl", "main")
        results.add(written(main))
    assert len(results) == 1


@settings(max_examples=60, deadline=None)
@given(_SIDES)
def test_rows_are_neither_lost_nor_invented(rows: tuple[list[Any], ...]) -> None:
    base, ours, theirs = (table(side) for side in rows[:3])
    merge = merge_tables(base, ours, theirs, key=[])
    if merge.table is None:
        return
    before, mine, other = distinct(base), distinct(ours), distinct(theirs)
    kept = before & mine & other
    assert distinct(merge.table) == kept | (mine - before) | (other - before)
    counts = bag(merge.table)
    assert all(counts[row] == 1 for row in counts if row not in before)


def bag(made: Table | None) -> Counter[str]:
    assert made is not None
    return Counter(row.identity for row in made.rows)


@settings(max_examples=60, deadline=None)
@given(_KEYED, _KEYED, _KEYED, st.sampled_from(["main", "pull"]))
def test_a_side_for_the_rest_settles_everything(
    base: list[Any], ours: list[Any], theirs: list[Any], side: Any
) -> None:
    b, o, t = table(base), table(ours), table(theirs)
    open_merge = merge_tables(b, o, t)
    merge = merge_tables(b, o, t, settlement=Settlement(rest=side))
    assert merge.table is not None
    after = {row.values["id"]: row.values for row in merge.table.rows}
    for clash in open_merge.conflicts:
        chosen = clash.ours if side == "main" else clash.theirs
        found = after.get(clash.key[0])
        if clash.column is None:
            assert (found is None) == (chosen is None)
        else:
            assert found is not None
            assert found.get(clash.column) == chosen
    cells = {clash.id: side for clash in open_merge.conflicts}
    by_cell = merge_tables(b, o, t, settlement=Settlement(cells=cells))
    if not open_merge.type_conflicts:
        assert written(by_cell.table) == written(merge.table)


class TestSettling:
    def test_cells_one_by_one_and_by_a_value_of_ones_own(self) -> None:
        base = table([{"id": 1, "a": "x", "b": "x"}])
        ours, theirs = (
            table([{"id": 1, "a": "m", "b": "m"}]),
            table([{"id": 1, "a": "p", "b": "p"}]),
        )
        first, second = merge_tables(base, ours, theirs).conflicts
        made = merge_tables(
            base, ours, theirs, settlement=Settlement({first.id: "pull", second.id: Value("mine")})
        )
        assert values(made.table) == [{"id": 1, "a": "p", "b": "mine"}]
        half = merge_tables(base, ours, theirs, settlement=Settlement({first.id: "pull"}))
        assert half.table is None
        assert [c.column for c in half.conflicts] == ["b"]

    def test_a_removed_row_is_no_conflict_if_only_columns_came(self) -> None:
        base = table([{"id": 1, "a": "x"}, {"id": 2, "a": "y"}])
        ours = table([{"id": 1, "a": "x", "n": 1}, {"id": 2, "a": "y", "n": 2}])
        made = merge_tables(base, ours, table([{"id": 2, "a": "y"}]))
        assert values(made.table) == [{"id": 2, "a": "y", "n": 2}]

    def test_a_row_is_not_settled_by_a_value(self) -> None:
        base, theirs = (
            table([{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]),
            table([{"id": 2, "a": "y"}]),
        )
        ours = table([{"id": 1, "a": "changed"}, {"id": 2, "a": "y"}])
        (clash,) = merge_tables(base, ours, theirs).conflicts
        with pytest.raises(BadInput, match="not with a value"):
            merge_tables(base, ours, theirs, settlement=Settlement({clash.id: Value("z")}))


class TestTypes:
    def parquet(self, *columns: tuple[str, Any, list[Any]]) -> Table:
        import pyarrow
        import pyarrow.parquet

        made = pyarrow.table({n: pyarrow.array(v, type=t) for n, t, v in columns})
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(made, sink)
        return read_table(sink.getvalue().to_pybytes(), "parquet", "data")

    def test_a_wider_type_holds_both(self) -> None:
        import pyarrow as pa

        ids = ("id", pa.int64(), [1, 2])
        base = self.parquet(ids, ("n", pa.int32(), [1, 2]), ("s", pa.float32(), [0.5, 1.5]))
        ours = self.parquet(
            ("id", pa.int64(), [1, 2, 3]), ("n", pa.int32(), [1, 2, 3]),
            ("s", pa.float32(), [0.5, 1.5, 2.5]),
        )  # fmt: skip
        theirs = self.parquet(ids, ("n", pa.int64(), [1, 2**40]), ("s", pa.float64(), [0.5, 1.5]))
        merge = merge_tables(base, ours, theirs)
        assert merge.table is not None
        assert merge.widened == {"n": ("int32", "int64"), "s": ("float", "double")}
        again = read_table(write_table(merge.table), "parquet", "f")
        assert dict(again.types) == {"id": "int64", "n": "int64", "s": "double"}
        assert [row["n"] for row in values(again)] == [1, 2**40, 3]

    def test_types_apart_are_a_conflict_that_can_be_settled(self) -> None:
        import pyarrow as pa

        base = self.parquet(("id", pa.int64(), [1, 2]), ("n", pa.int64(), [1, 2]))
        ours = self.parquet(("id", pa.int64(), [1, 2, 3]), ("n", pa.int64(), [1, 2, 3]))
        theirs = self.parquet(("id", pa.int64(), [1, 2]), ("n", pa.string(), ["1", "2"]))
        assert merge_tables(base, ours, theirs).table is None
        text = merge_tables(base, ours, theirs, settlement=Settlement(types={"n": "pull"}))
        assert [row["n"] for row in values(text.table)] == ["1", "2", "3"]
        whole = merge_tables(base, ours, theirs, settlement=Settlement(rest="main"))
        assert [row["n"] for row in values(whole.table)] == [1, 2, 3]
        words = self.parquet(("id", pa.int64(), [1, 2]), ("n", pa.string(), ["one", "two"]))
        with pytest.raises(BadInput, match="'one'"):
            merge_tables(base, ours, words, settlement=Settlement(types={"n": "main"}))


class TestMemory:
    def test_the_figure_is_told_before_anything_is_read(self) -> None:
        shape = shape_of(io.BytesIO(b'{"a": 1, "b": 2}\n' * 1000), 17_000, "jsonl", "f")
        assert (shape.rows, shape.columns) == (1001, 3)
        with pytest.raises(TooLarge, match=r"about \d+\.\d GiB of memory; 0\.0 GiB may be used"):
            check_memory([shape], "'f'", limit=1000)
        assert check_memory([shape], "'f'") < 2**22

    def test_the_estimate_is_not_below_what_it_takes(self) -> None:
        rows = [
            {"id": n, "text": f"row number {n} of many " * 3, "label": n % 2} for n in range(1000)
        ]
        kinds: list[Format] = ["jsonl", "parquet"]
        for kind in kinds:
            data = write_table(table(rows, kind))
            shape = shape_of(io.BytesIO(data), len(data), kind, "f")
            tracemalloc.start()
            b, o, t = (read_table(data, kind, "f") for _ in range(3))
            merge_tables(b, o, t)
            taken = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert taken < check_memory([shape] * 3, "f") < 4 * taken


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
