# SPDX-License-Identifier: Apache-2.0
"""What strangers send: tables that unfold, cells of megabytes, claims in circles, mixed types."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from plait.errors import BadInput, TooLarge
from plait.graphs import schema, unpacking
from plait.graphs.align import align
from plait.graphs.exchange.formats import import_graph
from plait.graphs.graph import Builder, Graph, make
from plait.graphs.identity import claim, resolve
from plait.graphs.merging import merge
from plait.graphs.storage import graph_files, path_of, read_graph_from
from plait.graphs.view import collapsed, truthy
from plait.recipes.graph import GraphFile, Predicate, Source


def small() -> Graph:
    builder = Builder()
    builder.label("berlin", "Berlin", language="de", source="a")
    builder.statement("berlin", "in", object="germany", source="a")
    return builder.build()


def with_table(name: str, table: pa.Table, **options: Any) -> dict[str, bytes]:
    """Return the files of a graph one of whose tables is another."""
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd", **options)
    return {**graph_files(small()), path_of(name): out.getvalue()}


@pytest.mark.parametrize("as_arrow", [True, False])
def test_a_dictionary_that_unfolds_is_refused_before_it_does(as_arrow: bool) -> None:
    count = 200_000
    long = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * 500_000])
    one = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["e"])
    columns = {
        column.name: long if column.name == "value" else one
        for column in schema.schema("statements")
        if column.type == pa.string()
    }
    files = with_table(
        "statements", pa.table(columns), dictionary_pagesize_limit=1 << 24, store_schema=as_arrow
    )
    assert len(files[path_of("statements")]) < 100_000, "100 GB in less than 100 kB"
    with pytest.raises(TooLarge, match=r"statements\.parquet (unfolds to more|has rows that unf)"):
        read_graph_from(files.get, "bomb")


@pytest.mark.parametrize("as_arrow", [True, False])
def test_a_list_that_unfolds_in_one_row_is_refused(as_arrow: bool) -> None:
    labels = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000_000, pa.int8()), ["x" * 4096])
    types = pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), labels)
    table = pa.table({"id": ["e"], "types": types})
    files = with_table("entities", table, store_schema=as_arrow)
    assert len(files[path_of("entities")]) < 1_000_000
    with pytest.raises(TooLarge, match=r"entities\.parquet .* of up to 50,000,000 rows"):
        read_graph_from(files.get, "bomb")


def test_more_rows_or_bytes_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    files = graph_files(small())
    monkeypatch.setattr(unpacking, "MAX_ROWS", 2)
    with pytest.raises(TooLarge, match=r"unfolds to more than 3 rows and .* of up to 2 rows"):
        read_graph_from(files.get, "small")
    monkeypatch.setattr(unpacking, "MAX_ROWS", 50)
    monkeypatch.setattr(unpacking, "MAX_MEMORY", 64)
    with pytest.raises(TooLarge, match="64 bytes in memory"):
        read_graph_from(files.get, "small")


def test_columns_of_other_kinds_are_refused_or_left_out() -> None:
    entities = small().entities
    extra = entities.append_column("bomb", pa.array(["y"] * entities.num_rows))
    files = with_table("entities", extra)
    assert read_graph_from(files.get, "extra").entities.equals(entities)
    numbers = pa.table({name: pa.array([1]) for name in entities.column_names})
    with pytest.raises(BadInput, match=r"entities\.parquet does not hold to its schema"):
        read_graph_from(with_table("entities", numbers).get, "numbers")
    with pytest.raises(BadInput, match="lacks the column 'labels'"):
        read_graph_from(with_table("entities", entities.select(["id"])).get, "short")


@pytest.mark.parametrize(
    ("table", "row", "said"),
    [
        ("entities", {"id": "e", "labels": [("x" * 5_000_000, "en")]}, "of more than 4,096 char"),
        ("entities", {"id": "e", "labels": [("Name", "e" * 2000)]}, "label without a text, or of"),
        ("entities", {"id": "e", "types": ["t" * 2000]}, "something in types of more than 1,024"),
        ("entities", {"id": "e", "types": [str(i) for i in range(10_001)]}, "10,000 types"),
        ("statements", {"evidence": ["x" * 1_100_000]}, "in evidence of more than 1,048,576"),
        ("statements", {"evidence": [str(i) for i in range(10_001)]}, "more than 10,000 evidence"),
        ("statements", {"licence": "L" * 2000}, "licence of more than 1024 characters"),
        ("statements", {"recorded": "soon"}, "has a recorded that is no date"),
        ("statements", {"predicate": ""}, "has an empty predicate"),
        ("identities", {"explanation": "x" * 1_100_000}, "explanation of more than 1,048,576"),
        ("decisions", {"reason": "x" * 1_100_000}, "reason of more than 1,048,576"),
    ],
)
def test_cells_of_megabytes_are_named(table: str, row: dict[str, Any], said: str) -> None:
    good: dict[str, dict[str, Any]] = {
        "entities": {"id": "e"},
        "statements": {"subject": "a", "predicate": "p", "object": "b", "datatype": "entity",
                       "source": "s"},
        "identities": {"a": "a", "b": "b", "relation": "same", "source": "s"},
        "decisions": {"statement": "s", "by": "ann"},
    }  # fmt: skip
    row = dict(row)
    if "labels" in row:
        row["labels"] = [{"text": t, "language": one, "source": "s"} for t, one in row["labels"]]
    with pytest.raises(BadInput, match=said) as caught:
        make(None, **{table: [{**good[table], **row}]})
    assert "Row 1 of" in caught.value.message
    assert len(caught.value.message) < 2000


def test_claims_in_circles_unite_once_and_in_time() -> None:
    ring = 100_000
    names = [f"e{number:06}" for number in range(ring)]
    rows = [
        claim(a, b, source="align", score=0.9)
        for a, b in zip(names, [*names[1:], names[0]], strict=True)
    ]
    # One claim of difference across the ring, and one in each of its parts.
    rows += [claim(names[0], names[ring // 2], schema.DIFFERENT, source="person:ann")]
    graph = make(None, identities=rows)
    started = time.process_time()
    found = resolve(graph)
    assert time.process_time() - started < 20
    assert found.of(names[0]) != found.of(names[ring // 2])
    assert sum(map(len, found.members.values())) == ring
    assert {len(one.path) > 2 for one in found.contradictions} == {True}
    # A view of it is a view like any other.
    assert collapsed(graph, found).entities.num_rows == 0


def test_claims_and_relations_in_circles_do_not_hang_a_view() -> None:
    builder = Builder()
    for a, b in ("ab", "bc", "ca"):
        builder.statement(a, "in", object=b, source="s")
        builder.add("identities", claim(a, b, source="align", score=1.0))
    one = truthy(collapsed(builder.build()))
    assert one.entities.column("id").to_pylist() == ["a"]
    assert {(row["subject"], row["object"]) for row in one.statements.to_pylist()} == {("a", "a")}


def crowd(prefix: str, count: int, source: str) -> Graph:
    """Return entities of which all have one name, one value and one neighbour."""
    builder = Builder()
    for number in range(count):
        name = f"{prefix}{number:06}"
        builder.label(name, "Springfield", source=source)
        builder.statement(name, "state", value="Ohio", source=source)
        builder.statement(name, "country", object=f"{prefix}-us", source=source)
    builder.label(f"{prefix}-us", "United States", source=source)
    return builder.build()


def test_a_key_that_a_million_pairs_share_costs_no_million_pairs() -> None:
    started = time.process_time()
    found = align(crowd("l", 3_000, "x"), crowd("r", 3_000, "y"))
    assert time.process_time() - started < 60
    assert len(found.rows) < 300_000, "of nine million pairs"
    matches = found.matches()
    assert ("l-us", "r-us") in {(one.left, one.right) for one in matches}
    assert len(matches) == 1, "what nothing tells apart is not matched"


def test_mixed_datatypes_are_compared_by_value_and_never_crash() -> None:
    file = GraphFile(
        sources={"a": Source(trust=0.9)}, predicates={"area": Predicate(functional=True)}
    )

    def said(*values: tuple[str, str]) -> Graph:
        builder = Builder(file)
        for place, (value, datatype) in enumerate(values):
            builder.statement("x", "area", value=value, datatype=datatype, source=f"s{place}")
        return builder.build()

    same = said(("5", "integer"), ("5.0", "decimal"), ("5e0", "double"))
    assert merge(None, [same]).ranked.conflicts == ()
    (conflict,) = merge(None, [said(("5", "integer"), ("six", "string"))]).ranked.conflicts
    assert {one.value for one in conflict.options} == {"5", "six"}
    assert {one.datatype for one in conflict.options} == {"integer", "string"}
    left, right = Builder(), Builder()
    mixed = [("7", "integer"), ("seven", "string"), ("2020-01-01", "date"), ("true", "boolean")]
    for place, (value, datatype) in enumerate(mixed):
        left.label(f"l{place}", f"Thing {place}", source="x")
        left.statement(f"l{place}", "v", value=value, datatype=datatype, source="x")
        right.label(f"r{place}", f"Thing {place}", source="y")
        right.statement(f"r{place}", "v", value=value, datatype="string", source="y")
    found = {(one.left, one.right) for one in align(left.build(), right.build()).matches()}
    assert found == {(f"l{place}", f"r{place}") for place in range(4)}


def test_an_object_that_is_a_text_elsewhere_is_an_entity_of_its_own_here() -> None:
    builder = Builder(GraphFile(predicates={"capital": Predicate(functional=True)}))
    builder.statement("de", "capital", object="berlin", source="a")
    builder.statement("de", "capital", value="berlin", source="b")
    (conflict,) = merge(None, [builder.build()]).ranked.conflicts
    assert {one.datatype for one in conflict.options} == {"entity", "string"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "subject,predicate,object\na,b,c\na,b\n", "line 3: it has 2 fields where 3"),
        ("t.csv", "subject,predicate,object\na,b,c\n,b,c\n", "line 3: The subject is empty"),
        ("t.csv", 'subject,predicate,object\na,b,"c\n', "line 2"),
        ("t.tsv", "a\tb\tc\na\tb\tc\td\n", "line 2: it has 4 fields"),
        ("t.nt", "<urn:a> <urn:b> <urn:c> .\n<urn:a> <urn:b> .\n", "line 2"),
        ("t.ttl", "<urn:a> <urn:b> <urn:c> .\n\n<urn:a> <urn:b .\n", "line 3"),
        ("t.nq", "<urn:a> <urn:b> <urn:c> .\n\n\n<urn:a> nonsense .\n", "line 4"),
    ],
)
def test_malformed_triples_are_named_by_their_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        import_graph(tmp_path / name, source="s")
