# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from plait.cards import parse_card
from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.graph import Builder, Graph, make
from plait.graphs.storage import graph_files, path_of, read_graph, read_graph_from, write_graph

from .drawing import graphs


def small() -> Graph:
    builder = Builder()
    builder.label("berlin", "Berlin", language="de", source="a")
    builder.label("berlin", "柏林", language="zh", source="a")
    builder.statement("berlin", "population", value="+03677472", datatype="integer", source="a")
    builder.statement(
        "berlin", "in", object="germany", source="a", confidence=0.9, licence="ODbL-1.0"
    )
    return builder.build()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_what_is_written_is_read_again(graph: Graph) -> None:
    files = graph_files(graph)
    again = read_graph_from(files.get, "memory", verify=True)
    assert graph_files(again) == files
    for name in schema.TABLES:
        assert again.table(name).equals(graph.table(name))


def test_a_folder_loads_with_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    write_graph(small(), tmp_path / "g", card={"license": "odbl"})
    rows = datasets.load_dataset(str(tmp_path / "g"), split="train", cache_dir=str(tmp_path / "c"))
    assert sorted(rows["predicate"]) == ["in", "population"]
    entities = datasets.load_dataset(
        str(tmp_path / "g"), "entities", split="train", cache_dir=str(tmp_path / "c")
    )
    assert entities[0]["id"] == "berlin"
    assert {one["language"] for one in entities[0]["labels"]} == {"de", "zh"}
    card = parse_card((tmp_path / "g/README.md").read_text())
    assert card.data["tags"] == ["knowledge-graph"]
    assert card.data["license"] == "odbl"


def test_order_of_building_does_not_show(tmp_path: Path) -> None:
    graph = small()
    backwards = make(
        graph.file,
        **{name: graph.table(name).to_pylist()[::-1] for name in schema.TABLES},
    )
    assert graph_files(backwards) == graph_files(graph)


def test_literals_are_canonical() -> None:
    row = next(r for r in small().statements.to_pylist() if r["predicate"] == "population")
    assert row["value"] == "3677472"


def test_writing_again_keeps_the_card(tmp_path: Path) -> None:
    write_graph(small(), tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(readme.read_text() + "\nMore.\n")
    write_graph(small(), tmp_path)
    assert "More." in readme.read_text()
    assert read_graph(tmp_path).statements.num_rows == 2
    assert not list(tmp_path.rglob(".*"))


def bad(**change: object) -> str:
    row = {**small().statements.to_pylist()[0], **change}
    with pytest.raises(BadInput) as caught:
        make(None, statements=[row])
    return caught.value.message


def test_rows_that_cannot_be_are_named() -> None:
    assert "says something else than its identifier" in bad(subject="elsewhere")
    builder = Builder()
    with pytest.raises(BadInput, match="either an object or a value"):
        builder.statement("a", "b", source="s")
    with pytest.raises(BadInput, match="'soon' is no date"):
        builder.statement("a", "b", value="soon", datatype="date", source="s")
    for change, said in (
        ({"rank": "best"}, "has a rank that is none of"),
        ({"confidence": 1.5}, "has a confidence outside 0 to 1"),
        ({"confidence": float("nan")}, "has a confidence outside 0 to 1"),
    ):
        row = {**small().statements.to_pylist()[0], **change}
        with pytest.raises(BadInput, match=said):
            make(None, statements=[row])
    with pytest.raises(BadInput, match="more than 1024 characters"):
        make(None, entities=[{"id": "x" * 2000}])
    with pytest.raises(BadInput, match="control characters"):
        make(None, entities=[{"id": "x\ny"}])
    with pytest.raises(BadInput, match=r"more than 2,000 labels"):
        labels = [
            {"text": str(i), "language": "", "source": "", "main": False} for i in range(2001)
        ]
        make(None, entities=[{"id": "bomb", "labels": labels}])
    with pytest.raises(BadInput, match="sorts first as a"):
        make(None, identities=[{"a": "b", "b": "a", "relation": "same", "source": "s"}])


def test_folders_that_are_no_graph_say_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no graph/entities\.parquet: it is no knowledge"):
        read_graph(tmp_path)
    write_graph(small(), tmp_path)
    (tmp_path / path_of("statements")).write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(BadInput, match=r"statements\.parquet is no Parquet file"):
        read_graph(tmp_path)


def test_a_forged_identifier_is_found(tmp_path: Path) -> None:
    import pyarrow as pa

    graph = small()
    column = pa.array(["0" * 32, "1" * 32])
    place = graph.statements.schema.get_field_index("id")
    field = graph.statements.schema.field(place)
    forged = graph.with_tables(statements=graph.statements.set_column(place, field, column))
    files = graph_files(forged)
    read_graph_from(files.get, "memory")
    with pytest.raises(BadInput, match="has the identifier '0000"):
        read_graph_from(files.get, "memory", verify=True)
