# SPDX-License-Identifier: Apache-2.0
"""Tags into triples, triples into scores, words into predicates, patterns as a baseline."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.graphs.read.atlas import CAPITALS, atlas

from plait.errors import BadInput
from plait.graphs.read.examples import LABELS, labels_of, parse_marked
from plait.graphs.read.facts import kinds_of, symmetric
from plait.graphs.read.patterns import PatternTagger
from plait.graphs.read.phrases import Phrases, number_of, time_of
from plait.graphs.read.scoring import scores_of
from plait.graphs.read.templates import templates_of
from plait.graphs.read.triples import (
    Reading,
    assemble,
    decode,
    found_in,
    mentions,
    read_all,
    score_triples,
    typed_reading,
)

GRAPH = atlas()
KINDS = kinds_of(GRAPH)
KNOWN = templates_of(GRAPH.file, sorted(KINDS))
PHRASES = Phrases.of(GRAPH.file, KNOWN, KINDS)
NAMES = {name.removeprefix("The ").casefold() for name in CAPITALS}


def is_entity(text: str) -> bool:
    return text.casefold() in NAMES


def read(marked: str) -> set[tuple[str, str, str]]:
    one = parse_marked(marked)
    held = mentions(one.tokens, typed_reading(one.tags, one.typed))
    return {each.triple() for each in assemble(one.tokens, held, PHRASES, is_entity)}


TRUE = """
The [capital of|P1=capital] [Peru|S1] is [Lima|O1].
[Peru|S1] [borders|P1=borders] [Chile|O1], [Cuba|O1] and [Iran|O1].
[Peru|S12] has the [capital|P1=capital] [Lima|O1] and [borders|P2=borders] [Chile|O2].
[Peru|S1] [borders|P1=borders] [Chile|O1], while [Ghana|S2] has [Accra|O2] as [capital|P2=capital].
[Oslo|O1] is [the capital of|P1=capital] [Norway|S1], [Cairo|O2] [the capital of|P2=capital] [Egypt|S2].
[Peru|S12], with [33 million|O1] [people|P1=population], [borders|P2=borders] [Chile|O2].
"""  # noqa: E501 one sentence a line


@pytest.mark.parametrize("marked", TRUE.strip().splitlines())
def test_true_tags_give_the_true_triples(marked: str) -> None:
    assert read(marked) == parse_marked(marked).triples


def test_an_object_of_another_kind_rules_a_predicate_out() -> None:
    assert read("[Peru|S1] has [a population of|P1=population] [Lima|O1].") == set()


def test_an_entity_is_the_subject_of_a_literal_whatever_the_tags_say() -> None:
    assert read("[Lima|S1] is the [capital of|P1=capital] [Peru|O1].") == {
        ("Peru", "capital", "Lima")
    }


def test_a_fact_with_two_ends_of_one_kind_has_both() -> None:
    labels = labels_of(["capital"])
    words = ["Lima", "is", "the", "capital", "of", "Peru"]
    table = np.full((len(words), len(labels)), 0.001)
    table[:, 0] = 0.9
    for place, tag, other in ((0, "B-S", "B-O"), (5, "B-S", "B-O")):
        table[place, [labels.index(tag), labels.index(other), 0]] = 0.6, 0.3, 0.05
    table[3, [labels.index("B-P:capital"), 0]] = 0.9, 0.05
    reading = decode(table, labels)
    assert reading.tags == ("B-S", "O", "O", "B-P", "O", "B-S")
    (found,) = assemble(words, mentions(words, reading), PHRASES, is_entity)
    assert found.triple() == ("Peru", "capital", "Lima")
    assert found.sure[2] == pytest.approx(0.301)  # it was taken for a subject
    # of numbers and names the name becomes the subject
    words = ["13,000", "people", "in", "Peru"]
    held = mentions(words, Reading(("B-O", "B-P", "O", "B-O")))
    (found,) = assemble(words, held, PHRASES, is_entity)
    assert found.triple() == ("Peru", "population", "13,000")


def test_a_word_without_a_capital_is_no_entity() -> None:
    assert read("The [border between|P1=borders] [Peru|S1] and [Chile|O1] is [long|O1].") == {
        ("Peru", "borders", "Chile")
    }


def test_a_name_that_is_tagged_in_part_is_taken_whole() -> None:
    words = ["Ivory", "Coast", "borders", "Ghana", "."]
    tags = ("O", "B-S", "B-P", "B-O", "O")
    found = assemble(words, mentions(words, Reading(tags)), PHRASES, is_entity)
    assert [one.triple() for one in found] == [("Ivory Coast", "borders", "Ghana")]


def test_a_number_takes_its_million_along() -> None:
    words = ["Peru", "has", "33", "million", "inhabitants", "."]
    tags = ("B-S", "O", "B-O", "O", "B-P", "O")
    found = assemble(words, mentions(words, Reading(tags)), PHRASES, is_entity)
    assert [one.triple() for one in found] == [("Peru", "population", "33 million")]


def test_tags_that_make_no_sequence_are_never_chosen() -> None:
    labels = labels_of(["capital"])
    table = np.full((2, len(labels)), 0.01)
    table[0, labels.index("O")] = 0.5
    table[1, labels.index("I-S")] = 0.6
    table[1, labels.index("B-S")] = 0.3
    reading = decode(table, labels)
    assert reading.tags in (("O", "B-S"), ("B-S", "I-S"))
    assert reading.predicates is not None
    assert set(reading.predicates) == {"capital"}


def test_caution_tags_more_when_it_is_less() -> None:
    labels = labels_of(["capital"])
    table = np.full((1, len(labels)), 0.0)
    table[0, labels.index("O")] = 0.6
    table[0, labels.index("B-S")] = 0.4
    assert decode(table, labels).tags == ("O",)
    assert decode(table, labels, 0.5).tags == ("B-S",)


def test_a_model_with_other_tags_is_refused() -> None:
    class Other:
        labels = ("O", "B-PER")

    with pytest.raises(BadInput, match="no tagger of graphs"):
        read_all(Other(), [["a"]])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,285,216", "1285216"),
        ("5.5 million", "5500000"),
        ("1.234.567", "1234567"),
        ("12", "12"),
        ("33 billion", "33000000000"),
        ("Lima", None),
        ("7th of May", None),
    ],
)
def test_numbers_are_read(text: str, number: str | None) -> None:
    assert number_of(text) == number


def test_dates_are_read() -> None:
    assert time_of("12 March 1998", "date") == "1998-03-12"
    assert time_of("March 12, 1998", "date") == "1998-03-12"
    assert time_of("1998", "gYear") == "1998"
    assert time_of("in spring", "date") is None


@pytest.mark.parametrize(
    ("said", "near", "other", "predicate"),
    [
        ("capital of", "the is", "Lima", "capital"),
        ("shares a border with", "", "Chile", "borders"),
        ("inhabitants", "about in Peru", "33 million", "population"),
        ("pays in", "one", "euro", "currency"),
        ("xyzzy", "", "Lima", ""),
    ],
)
def test_words_are_taken_for_the_predicate_whose_templates_have_them(
    said: str, near: str, other: str, predicate: str
) -> None:
    assert PHRASES.predicate(said, near, other, entity=is_entity(other))[0] == predicate


def test_scores_are_counted_by_hand() -> None:
    true = [{("a", "p", "b")}, {("c", "p", "d"), ("c", "p", "e")}, set()]
    found = [{("a", "p", "b")}, {("c", "p", "d"), ("c", "q", "e")}, {("x", "p", "y")}]
    made = score_triples(true, found)
    assert (made.true, made.found, made.right, made.clean) == (3, 4, 2, 1)
    assert made.precision == pytest.approx(2 / 4)
    assert made.recall == pytest.approx(2 / 3)
    assert made.f1 == pytest.approx(4 / 7)
    low, high = made.f1_interval
    assert 0 <= low < made.f1 < high <= 1


def test_kinds_of_sentences_are_told_apart_and_tags_reported() -> None:
    marked = ["The [capital of|P1=capital] [Peru|S1] is [Lima|O1].", "Lima is not in Chile."]
    examples = [parse_marked(one, kind=kind) for one, kind in zip(marked, ("plain", "negated"),
                                                                   strict=True)]  # fmt: skip
    made = scores_of(examples, [one.tags for one in examples], [one.triples for one in examples])
    assert made.by_kind["plain"].f1 == 1.0
    assert made.by_kind["negated"].clean == 1
    assert "micro avg" in made.report()
    assert any("nothing to find in 1 sentences" in line for line in made.lines())


def test_patterns_read_what_they_know_and_nothing_that_is_denied() -> None:
    reader = PatternTagger(list(CAPITALS), KNOWN, KINDS, ["EUR", "euro"])
    same = symmetric(GRAPH.file)

    def triples(text: str) -> frozenset[tuple[str, str, str]]:
        one = parse_marked(text)
        return found_in([one], read_all(reader, [one.tokens]), PHRASES, same, is_entity)[0]

    assert triples("The capital of Peru is Lima.") == {("Peru", "capital", "Lima")}
    assert triples("Spain uses the euro.") == {("Spain", "currency", "euro")}
    assert triples("The capital of Peru is not Quito.") == frozenset()
    assert set(LABELS) >= set(reader.tag([["Peru", "borders", "Chile"]])[0])
