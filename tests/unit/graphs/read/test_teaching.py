# SPDX-License-Identifier: Apache-2.0
"""The whole loop on a small graph: taught, measured on three kinds of test, read, extended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed")

from tests.unit.graphs.read.atlas import CAPITALS, atlas

from plait.cli.main import app
from plait.demo.data import encoder_folder
from plait.errors import BadInput, PlaitError
from plait.graphs.graph import Graph
from plait.graphs.read.extending import extend
from plait.graphs.read.extract import Reader, Text
from plait.graphs.read.splits import Sizes
from plait.graphs.read.teaching import FILE, Taught, about_tagger, load_tagger, prepare, teach
from plait.graphs.storage import read_graph, write_graph
from plait.recipes.extension import parse_extension, read_templates
from plait.training.tagger import TaggerOptions

WRITTEN = """plain\tThe [capital of|P1=capital] [Peru|S1] is [Lima|O1].
negated\tQuito is not the capital of Peru.
"""


@pytest.fixture(scope="module")
def encoder() -> Path:
    try:
        return encoder_folder("tiny")
    except PlaitError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def taught(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Taught]:
    folder = tmp_path_factory.mktemp("taught")
    (folder / "written.txt").write_text(WRITTEN)
    from plait.graphs.read.examples import read_marked

    lesson = prepare(
        atlas(),
        predicates=["capital", "borders"],
        sizes=Sizes(500, 40, 40, 100),
        written=read_marked(folder / "written.txt"),
    )
    options = TaggerOptions(
        epochs=3, learning_rate=1e-3, freeze_embeddings=False, patience=0, threads=1
    )
    return folder / "tagger", teach(lesson, encoder, folder / "tagger", options)


def test_three_kinds_of_test_are_measured_apart(taught: tuple[Path, Taught]) -> None:
    scores = taught[1].scores
    assert set(scores) == {"templates", "entities", "written"}
    assert scores["entities"].triples.f1 > 0.3
    assert scores["written"].triples.sentences == 2
    assert {"S", "P", "O"} <= set(scores["entities"].to_json()["tags"])


def test_the_folder_says_what_the_tagger_is(taught: tuple[Path, Taught]) -> None:
    about = about_tagger(taught[0])
    assert about["predicates"] == ["borders", "capital"]
    assert set(about["scores"]) == {"templates", "entities", "written"}
    assert len(about["epochs"]) == 3
    assert about["calibration"] == load_tagger(taught[0], 1).calibrator.to_json()
    for one in about["scores"].values():
        assert set(one["confidence"]) <= {"plain", "calibrated"}
    assert about["scores"]["entities"]["confidence"]["calibrated"]["facts"] > 0


def test_a_tagger_without_calibration_still_reads(
    taught: tuple[Path, Taught], tmp_path: Path
) -> None:
    shutil.copytree(taught[0], tmp_path / "old")
    about = about_tagger(taught[0])
    del about["calibration"]
    (tmp_path / "old" / FILE).write_text(json.dumps(about))
    assert load_tagger(tmp_path / "old", 1).calibrator is None
    about["calibration"] = {"weights": {}}
    (tmp_path / "old" / FILE).write_text(json.dumps(about))
    with pytest.raises(BadInput, match="no tagger of graphs"):
        about_tagger(tmp_path / "old")


def test_it_reads_a_sentence_like_those_it_learnt_from(taught: tuple[Path, Taught]) -> None:
    reader = Reader(atlas(), load_tagger(taught[0], 1))
    told = " ".join(f"The capital of {name} is {city}." for name, city in CAPITALS.items())
    found = reader.read([Text("a", told)])
    known = found.of("known")
    assert len(known) >= 5
    assert {one.predicate for one in known} == {"capital"}


def test_a_folder_without_a_tagger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no tagger of graphs"):
        load_tagger(tmp_path)
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(BadInput, match="no tagger of graphs"):
        about_tagger(tmp_path)


def test_a_recipe_teaches_and_reads(encoder: Path, tmp_path: Path) -> None:
    write_graph(atlas(), tmp_path / "graph")
    (tmp_path / "notes.txt").write_text("The capital of Peru is Cuzco.")
    recipe = parse_extension(
        f"graph: graph\ntexts: notes.txt\nencoder: {encoder}\nmodel: tagger\n"
        "predicates: [capital]\nleast: 0\n"
        "train: {sentences: 200, epochs: 1, learning_rate: 0.001}\n"
        "templates: {capital: ['{object} is the very [capital of] {subject}.']}\n",
        tmp_path,
    )
    done = extend(recipe, read_graph(tmp_path / "graph"), threads=1)
    assert done.taught is not None
    assert (tmp_path / "tagger" / FILE).is_file()
    assert done.extraction.sentences == 1
    again = extend(recipe, read_graph(tmp_path / "graph"), threads=1)
    assert again.taught is None  # the tagger is there now
    assert again.extraction.statements == done.extraction.statements


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("texts: [a.txt]", "lacks 'graph'"),
        ("graph: g\ntexts: []\nmodel: m", "names no file"),
        ("graph: g\ntexts: a.txt", "neither 'model'"),
        ("graph: g\ntexts: a.txt\nmodel: m\nleast: 2", "from 0 to 1"),
        ("graph: g\ntexts: a.txt\nmodel: m\nmodle: m", "unknown key 'modle'"),
        ("graph: /tmp\ntexts: a.txt\nmodel: m\npropose: true", "OWNER/NAME"),
        ("extend: 2\ngraph: g\ntexts: a.txt\nmodel: m", "reads 1"),
        ("graph: g\ntexts: a.txt\nmodel: m\ntrain: {epochs: 0}", "from 1 to"),
    ],
)
def test_a_bad_recipe_is_refused(content: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=told):
        parse_extension(content, tmp_path)


def test_a_recipe_names_a_data_set_of_the_hub(tmp_path: Path) -> None:
    content = "graph: atlas/countries\ntexts: a.txt\nmodel: m\npropose: true"
    made = parse_extension(content, tmp_path)
    assert made.on_hub
    assert made.propose == "atlas/countries"
    assert made.texts == (tmp_path / "a.txt",)


def test_templates_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("capital: ['{object} [rules] {subject}.']")
    assert read_templates(tmp_path / "t.yaml") == {"capital": ("{object} [rules] {subject}.",)}
    with pytest.raises(BadInput, match="cannot be read"):
        read_templates(tmp_path / "none.yaml")


def test_the_command_line_says_sentences_and_reads_them(
    taught: tuple[Path, Taught], tmp_path: Path
) -> None:
    write_graph(atlas(), tmp_path / "graph")
    run = CliRunner()
    made = run.invoke(
        app, ["graph", "verbalise", str(tmp_path / "graph"), "--plain", "--count", "5"]
    )
    assert made.exit_code == 0, made.output
    assert made.output.count("/B-S") >= 5
    file = tmp_path / "s.jsonl"
    done = run.invoke(app, ["graph", "verbalise", str(tmp_path / "graph"), "-o", str(file)])
    assert done.exit_code == 0, done.output
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 20
    (tmp_path / "notes.txt").write_text(
        " ".join(f"The capital of {name} is Ulm." for name in CAPITALS)
    )
    read = run.invoke(
        app,
        ["graph", "extract", str(tmp_path / "graph"), str(tmp_path / "notes.txt"), "--json",
         "--model", str(taught[0]), "-o", str(tmp_path / "out"), "--least", "0"],
    )  # fmt: skip
    assert read.exit_code == 0, read.output
    found = json.loads(read.stdout)
    assert found["sentences"] == len(CAPITALS)
    wrong = [one for one in found["statements"] if one["status"] == "contradicts"]
    assert wrong
    rows = read_graph(tmp_path / "out").statements.to_pylist()
    assert {one["value"] for one in rows} >= {"Ulm"}
    assert {row["evidence"][0] for row in rows} == {
        one["sentence"] for one in found["statements"] if one["status"] in ("new", "contradicts")
    }


def test_what_was_read_is_proposed_where_it_is_asked_for(
    taught: tuple[Path, Taught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, Graph, str]] = []

    def propose(repo: str, added: Graph, title: str, *hub: object) -> int:
        sent.append((repo, added, title))
        return 7

    monkeypatch.setattr("plait.cli.graph.reading.propose_statements", propose)
    write_graph(atlas(), tmp_path / "graph")
    told = " ".join(f"The capital of {name} is Ulm." for name in CAPITALS)
    (tmp_path / "notes.txt").write_text(told)
    done = CliRunner().invoke(
        app,
        ["graph", "extend", str(tmp_path / "graph"), str(tmp_path / "notes.txt"), "--propose",
         "--to", "atlas/countries", "--model", str(taught[0]), "--least", "0", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pull_request"] == 7
    ((repo, added, title),) = sent
    assert (repo, title) == ("atlas/countries", "Statements read from notes.txt")
    assert len(added) == json.loads(done.stdout)["taken"] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["extend", "GRAPH"], "Name the texts"),
        (["extend", "GRAPH", "TEXT"], "--model"),
        (["extend", "GRAPH", "TEXT", "--model", "m", "--propose"], "--to OWNER/NAME"),
        (["extract", "GRAPH", "none.txt", "--model", "m"], "There is no file none.txt"),
        (["extract", "GRAPH", "TEXT", "--model", "none"], "no tagger of graphs"),
    ],
)
def test_the_command_line_refuses_with_a_sentence(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    write_graph(atlas(), tmp_path / "graph")
    (tmp_path / "text.txt").write_text("Peru borders Chile.")
    names = {"GRAPH": str(tmp_path / "graph"), "TEXT": str(tmp_path / "text.txt")}
    done = CliRunner().invoke(app, ["graph", *(names.get(one, one) for one in arguments)])
    assert done.exit_code != 0
    said = " ".join((done.output + str(done.exception or "")).split())
    assert told in said
