# SPDX-License-Identifier: Apache-2.0
"""``plait graph`` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.graphs.graph import Builder
from plait.graphs.storage import read_graph, write_graph

LEFT = "subject,predicate,object,value,datatype\nde,capital,berlin,,\nde,area,,357022,integer\n"
RIGHT = "subject,predicate,object,value,datatype\nde,capital,bonn,,\nfr,capital,paris,,\n"
KNOWN = "predicates: {capital: {functional: true}}\nsources: {a: {trust: 0.9}, b: {trust: 0.2}}\n"


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["graph", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two graphs, imported from tables."""
    like = tmp_path / "graph.yaml"
    like.write_text(KNOWN)
    made = []
    for name, text in (("a", LEFT), ("b", RIGHT)):
        table = tmp_path / f"{name}.csv"
        table.write_text(text)
        run("import", table, "-o", tmp_path / name, "--source", name, "--like", like)
        made.append(tmp_path / name)
    return made[0], made[1]


def test_import_merge_show_export(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    told = json.loads(run("merge", *folders, "-o", out, "--json"))
    (conflict,) = told["conflicts"]
    assert (conflict["subject"], conflict["decided_by"]) == ("de", "trust")
    assert [one["value"] for one in conflict["options"]] == ["berlin", "bonn"]
    facts = json.loads(run("show", out, "--json"))
    assert (facts["statements"], facts["conflicts"], facts["open"]) == (4, 1, 0)
    assert "capital" in run("show", out)
    for name in ("g.ttl", "g.gexf", "g.graphml", "g.csv", "g.cypher"):
        run("export", out, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    text = run("export", out, tmp_path / "view.csv", "--view")
    assert text == ""
    assert "bonn" not in (tmp_path / "view.csv").read_text()
    assert len(read_graph(out)) == 4


def test_questions_in_two_languages(folders: tuple[Path, Path]) -> None:
    pytest.importorskip("ladybug", reason="ladybug is not installed")
    told = json.loads(
        run(
            "query",
            folders[0],
            "MATCH (a:Entity {id: $c}) RETURN a.area AS n",
            "-p",
            "c=de",
            "--json",
        )
    )
    assert (told["columns"], told["rows"]) == (["n"], [[357022]])
    answer = run(
        "query", folders[0], "SELECT ?c { <urn:plait:de> <urn:plait:capital> ?c }", "--sparql"
    )
    assert "urn:plait:berlin" in answer


def test_align_unites_and_asks(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "united"
    told = json.loads(run("align", *folders, "-o", out, "--json", "--ask", "3"))
    assert set(told) == {"threshold", "matches", "questions"}
    assert read_graph(out).entities.num_rows == 5


def test_align_keeps_the_pairs_in_doubt_for_people(tmp_path: Path) -> None:
    from plait.graphs.identity import resolve
    from plait.graphs.lookup.build import build_index
    from plait.graphs.lookup.index import Index
    from plait.graphs.lookup.reviews import claims

    sides = {"l": ("Georgia", "Congo"), "r": ("Georgian Republic", "Congo-Brazzaville")}
    for side, names in sides.items():
        builder = Builder()
        for number, name in enumerate(names):
            builder.label(f"{side}{number}", name, language="en", source=side)
        write_graph(builder.build(), tmp_path / side)
    out = tmp_path / "united"
    told = json.loads(
        run("align", tmp_path / "l", tmp_path / "r", "-o", out, "--json", "--ask", "5")
    )
    united = {(one["left"], one["right"]) for one in told["matches"]}
    asked = {(one["left"], one["right"]) for one in told["questions"]}
    graph = read_graph(out)
    held = {(row["a"], row["b"]): row["relation"] for row in graph.identities.to_pylist()}
    assert asked
    assert held == dict.fromkeys(asked, "different") | dict.fromkeys(united, "same")
    assert all(resolve(graph).of(b) == a for a, b in united)
    build_index(graph, tmp_path / "index.sqlite")
    with Index.open(tmp_path / "index.sqlite") as index:
        seen = claims(index)
    assert {(one.a.id, one.b.id) for one in seen} == asked | united
    doubts = [abs((one.score or 0) - 0.5) for one in seen]
    assert doubts == sorted(doubts)


def test_check_fails_where_shapes_are_broken(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shapes = tmp_path / "shapes.ttl"
    shapes.write_text(
        "@prefix sh: <http://www.w3.org/ns/shacl#> .\n"
        "<urn:plait:s> a sh:NodeShape ; sh:targetSubjectsOf <urn:plait:capital> ;\n"
        '  sh:property [ sh:path <urn:plait:area> ; sh:minCount 1 ; sh:message "No area." ] .\n'
    )
    assert run("check", folders[0], "--shapes", shapes) == ""
    assert "violation: de area" in run("check", folders[1], "--shapes", shapes, code=1)
