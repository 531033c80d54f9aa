# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import BadInput
from plait.graphs.exchange import import_graph

OBO = """format-version: 1.4
ontology: x

[Term]
id: X:1
name: one
def: "The first number." [ref:1]
synonym: "uno" EXACT [src:1]
is_a: X:2 ! two
relationship: part_of X:3
xref: Y:1 "hm"

[Term]
id: X:9
name: nine
is_obsolete: true
replaced_by: X:1

[Typedef]
id: part_of
name: part of
is_transitive: true
"""

NOUNS = (
    "  1 This software and database is being provided\n"
    "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived  \n"
    "00001930 03 n 02 physical_entity 0 thing 0 002 @ 00001740 n 0000 ! 00001740 n 0101 | a gloss\n"
)


def test_an_ontology_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.obo"
    path.write_text(OBO)
    made = import_graph(path, source="x")
    rows = {
        (r["subject"], r["predicate"], r["object"] or r["value"])
        for r in made.graph.statements.to_pylist()
    }
    assert rows == {
        ("X:1", "is_a", "X:2"),
        ("X:1", "part_of", "X:3"),
        ("X:1", "xref", "Y:1"),
        ("X:1", "definition", "The first number."),
        ("X:9", "obsolete", "true"),
        ("X:9", "replaced_by", "X:1"),
    }
    one = next(e for e in made.graph.entities.to_pylist() if e["id"] == "X:1")
    assert {(label["text"], label["main"]) for label in one["labels"]} == {
        ("one", True),
        ("uno", False),
    }
    assert made.notes == {"'is_transitive' lines have no place in a graph and were left out.": 1}


def test_a_broken_ontology_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.obo"
    path.write_text("format-version: 1.4\n\n[Term]\nid X:1\n")
    with pytest.raises(BadInput, match="line 4"):
        import_graph(path, source="x")


def test_wordnet_is_read(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    graph = import_graph(tmp_path, source="wn", format="wordnet", parts="noun").graph
    rows = {
        (r["subject"], r["predicate"], r["object"])
        for r in graph.statements.to_pylist()
        if r["object"]
    }
    assert rows == {
        ("wn:00001740-n", "hyponym", "wn:00001930-n"),
        ("wn:00001930-n", "hypernym", "wn:00001740-n"),
        ("wn:00001930-n", "antonym", "wn:00001740-n"),
    }
    names = [label["text"] for label in graph.entities.to_pylist()[1]["labels"]]
    assert sorted(names) == ["physical entity", "thing"]
    (tmp_path / "data.noun").write_text("00001740 03 n xx\n")
    with pytest.raises(BadInput, match="line 1: it is no synset"):
        import_graph(tmp_path, source="wn", format="wordnet", parts="noun")
    with pytest.raises(BadInput, match=r"holds no data\.verb"):
        import_graph(tmp_path, source="wn", format="wordnet", parts="verb")
