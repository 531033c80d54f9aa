# SPDX-License-Identifier: Apache-2.0
"""Entities linked, values read, statements made of a user's text; what is bad is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.graphs.read.atlas import FILE, atlas

from plait.errors import BadInput, Cancelled, TooLarge
from plait.graphs.merging import merge
from plait.graphs.read import extract
from plait.graphs.read.examples import parse_marked
from plait.graphs.read.extract import Reader, Statement, Text, texts_of, to_graph
from plait.graphs.read.facts import kinds_of
from plait.graphs.read.linking import Linker
from plait.recipes.graph import Predicate

MARKED = [
    "The [capital of|P1=capital] [Peru|S1] is [Lima|O1].",
    "[Peru|S1] [borders|P1=borders] [Ghana|O1].",
    "[Italy|S1] [borders|P1=borders] [France|O1].",
    "The [capital of|P1=capital] [Chile|S1] is [Valparaiso|O1].",
    "[Georgia|S1] [borders|P1=borders] [Iran|O1].",
    "[Wakanda|S1] [borders|P1=borders] [Kenya|O1].",
    "[Norway|S1] has [5.4 million|O1] [inhabitants|P1=population].",
    "[Spain|S1] [pays with|P1=currency] the [euros|O1].",
    "[Ivorry Coast|S1] [borders|P1=borders] [Ghana|O1].",
    "Kenya is not next to Peru.",
]


class Told:
    """A tagger that was told the true tags."""

    def __init__(self) -> None:
        self._tags = {one.tokens: list(one.tags) for one in map(parse_marked, MARKED)}

    def tag(self, sentences: Sequence[Sequence[str]], progress: object = None) -> list[list[str]]:
        return [self._tags.get(tuple(one), ["O"] * len(one)) for one in sentences]


@pytest.fixture(scope="module")
def statements() -> dict[str, Statement]:
    text = " ".join(parse_marked(one).text for one in MARKED)
    found = Reader(atlas(), Told()).read([Text("notes.txt", text)])
    assert found.sentences == len(MARKED)
    return {one.sentence: one for one in found.statements}


def status(statements: dict[str, Statement], start: str) -> str:
    return next(one.status for text, one in statements.items() if text.startswith(start))


def test_what_is_read_is_known_new_or_a_contradiction(statements: dict[str, Statement]) -> None:
    assert status(statements, "The capital of Peru") == "known"
    assert status(statements, "Peru borders Ghana") == "new"
    assert status(statements, "Italy borders France") == "known"  # it is said the other way round
    assert status(statements, "The capital of Chile") == "contradicts"
    assert status(statements, "Norway has") == "known"  # rounded
    assert not any(text.startswith("Kenya") for text in statements)


def test_values_are_codes_and_plurals_are_forgiven(statements: dict[str, Statement]) -> None:
    spain = next(one for text, one in statements.items() if text.startswith("Spain"))
    assert (spain.value, spain.status) == ("EUR", "known")


def test_values_are_found_without_their_accents() -> None:
    known = FILE.predicates | {"currency": Predicate(values={"PLN": ("złoty", "Polish złoty")})}
    reader = Reader(atlas(replace(FILE, predicates=known)), Told())
    assert [reader.value("currency", "string", one) for one in ("zloty", "the Polish Zloty")] == [
        "PLN", "PLN",
    ]  # fmt: skip


def test_names_that_are_unknown_stay_unlinked(statements: dict[str, Statement]) -> None:
    assert status(statements, "Wakanda") == "unknown subject"


def test_of_two_entities_of_a_name_type_and_neighbours_decide(
    statements: dict[str, Statement],
) -> None:
    georgia = next(one for text, one in statements.items() if text.startswith("Georgia"))
    assert georgia.subject.entity == "c:georgia"
    linker = Linker.of(atlas(), kinds_of(atlas()))
    assert linker.link("Georgia").why == "ambiguous"
    assert linker.link("Georgia", beside=["c:united-states"]).entity == "s:georgia"


def test_a_misspelt_name_is_linked_by_its_letters(statements: dict[str, Statement]) -> None:
    ivory = next(one for text, one in statements.items() if text.startswith("Ivorry Coast"))
    assert ivory.subject.entity == "c:ivory-coast"
    assert ivory.subject.score < 1.0


def test_a_name_that_is_merely_like_another_is_none() -> None:
    linker = Linker.of(atlas(), kinds_of(atlas()))
    linker.learn(["Prance", "Irun", "Spainland"])
    assert [linker.link(one).entity for one in ("Prance", "Irun", "Spainland")] == [None] * 3


def test_names_in_other_languages_and_with_articles_are_names() -> None:
    linker = Linker.of(atlas(), kinds_of(atlas()))
    assert linker.link("Frankreich").entity == "c:france"
    assert linker.link("Netherlands").entity == "c:the-netherlands"
    assert linker.link("The Netherlands").entity == "c:the-netherlands"


def test_statements_carry_their_sentence_source_and_confidence() -> None:
    graph = atlas()
    text = "Peru borders Ghana. The capital of Chile is Valparaiso. Wakanda borders Kenya."
    found = Reader(graph, Told()).read([Text("notes", text)])
    added = to_graph(found, graph, source="notes", recorded="2026-11-30")
    rows = added.statements.to_pylist()
    assert {(one["subject"], one["predicate"]) for one in rows} == {
        ("c:peru", "borders"), ("c:chile", "capital"),
    }  # fmt: skip
    for one in rows:
        assert one["source"] == "notes"
        assert one["recorded"] == "2026-11-30"
        assert 0 < one["confidence"] <= 1
        assert one["evidence"][0] in text
    assert not len(to_graph(found, graph, least=1.1))
    assert len(to_graph(found, graph, contradictions=False)) == 1
    merged = merge(None, [graph, added])
    assert len(merged.graph) == len(graph) + 2
    assert [one.subject for one in merged.ranked.conflicts] == ["c:chile"]


def test_new_entities_are_made_only_for_who_asks() -> None:
    graph = atlas()
    found = Reader(graph, Told()).read([Text("notes", "Wakanda borders Kenya.")])
    assert not len(to_graph(found, graph))
    added = to_graph(found, graph, new_entities=True)
    assert added.statements.to_pylist()[0]["subject"] == "new:wakanda"
    labels = {row["id"]: row["labels"] for row in added.entities.to_pylist()}
    assert labels["new:wakanda"][0]["text"] == "Wakanda"


def test_reading_can_be_cancelled_and_shows_how_far_it_is() -> None:
    reader = Reader(atlas(), Told())
    with pytest.raises(Cancelled):
        reader.read([Text("a", "Peru borders Ghana.")], cancelled=lambda: True)
    seen: list[tuple[int, int]] = []
    reader.read([Text("a", "Peru lies there. " * 300)], progress=lambda *at: seen.append(at))
    assert seen == [(256, 300), (300, 300)]


def test_too_many_sentences_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "MAX_SENTENCES", 3)
    with pytest.raises(TooLarge, match="4 sentences"):
        Reader(atlas(), Told()).read([Text("a", "Peru lies there. " * 4)])


def test_files_are_read_and_bad_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Peru borders Ghana.")
    (tmp_path / "b.md").write_text("Italy borders France.")
    (tmp_path / "c.bin").write_bytes(b"\xff")
    assert [one.name for one in texts_of([tmp_path])] == ["a.txt", "b.md"]
    with pytest.raises(BadInput, match="not in UTF-8"):
        texts_of([tmp_path / "c.bin"])
    (tmp_path / "d.txt").write_text(" \n")
    with pytest.raises(BadInput, match=r"d\.txt is empty"):
        texts_of([tmp_path / "d.txt"])
    with pytest.raises(BadInput, match="There is no file"):
        texts_of([tmp_path / "none.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no text"):
        texts_of([tmp_path / "empty"])
