# SPDX-License-Identifier: Apache-2.0
"""Texts into sentences and tokens, templates into tagged words, graphs into splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.graphs.read.atlas import FILE, atlas

from plait.errors import BadInput, TooLarge
from plait.graphs.read import builtin
from plait.graphs.read.examples import labels_of, parse_marked, read_marked
from plait.graphs.read.facts import facts_of, numbers
from plait.graphs.read.splits import Sizes, deal_entities, deal_templates, split
from plait.graphs.read.templates import parse, templates_of
from plait.graphs.read.tokens import MAX_TEXT, sentences, tokens
from plait.graphs.read.verbalise import Material, Writer, verbalise
from plait.recipes.graph import Predicate, format_graph_file, parse_graph_file

SAME = frozenset({"borders"})


def test_tokens_keep_numbers_names_and_their_places() -> None:
    text = "Peru's area is 1,285,216 km² (Guinea-Bissau: N'Djamena)."
    found = tokens(text)
    words = [one.text for one in found]
    assert words[:5] == ["Peru", "'s", "area", "is", "1,285,216"]
    assert "Guinea-Bissau" in words
    assert "N'Djamena" in words
    assert all(text[one.start : one.end] == one.text for one in found)


def test_letters_of_scripts_without_spaces_are_tokens() -> None:
    assert [one.text for one in tokens("法国的首都是巴黎。")] == list("法国的首都是巴黎。")


def test_sentences_end_at_stops_and_not_at_abbreviations() -> None:
    text = "Dr. Ames met Mr. Li in St. Louis. They left.\n\nA new paragraph 法国。德国！"
    assert sentences(text) == [
        "Dr. Ames met Mr. Li in St. Louis.",
        "They left.",
        "A new paragraph 法国。",
        "德国！",
    ]


@pytest.mark.parametrize("text", ["", "  \n\n "])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is empty"):
        sentences(text)


def test_a_huge_text_is_refused_with_the_figure() -> None:
    with pytest.raises(TooLarge, match="4,000,000"):
        sentences("a" * (MAX_TEXT + 1), "book.txt")


def test_a_sentence_without_end_is_cut_between_words() -> None:
    found = sentences("word " * 2_000)
    assert max(map(len, found)) <= 2_000
    assert sum(len(one.split()) for one in found) == 2_000


def test_a_template_tags_the_words_of_its_predicate() -> None:
    made = parse("capital", "The [capital (city |)of] {subject} is {object}.")
    assert made.phrases == ("capital city of", "capital of")
    assert len(made.wordings) == 2


def test_a_template_without_brackets_tags_its_longest_words() -> None:
    assert parse("treats", "{subject} is given against {object}.").phrases == ("is given against",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("The capital is {object}.", "must hold {subject} once"),
        ("{subject} {subject} [has] {object}.", "must hold {subject} once"),
        ("{subject} [has {object}.", "a bracket too many"),
        ("{subject} {object}", "no word that says the predicate"),
        ("{subject} [has] {object}" + "(a|b)" * 9, "512 wordings"),
    ],
)
def test_a_bad_template_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told.replace("{", r"\{").replace("}", r"\}")):
        parse("capital", text)


def test_all_templates_of_ours_are_templates() -> None:
    for predicate, texts in builtin.TEMPLATES.items():
        assert len(texts) >= 8, predicate
        for text in texts:
            assert parse(predicate, text).phrases
    for name in builtin.ALIASES.values():
        assert name in builtin.TEMPLATES


def test_users_add_templates_and_labels_make_some() -> None:
    known = FILE.predicates | {
        "capital": Predicate(templates=("{object} is where {subject} is [ruled].",)),
        "hymn": Predicate(label={"en": "anthem"}),
    }
    file = replace(FILE, predicates=known)
    found = templates_of(file, ["capital", "hymn"], {"hymn": ["{subject} [sings] {object}."]})
    assert any("is where" in one.text for one in found["capital"])
    assert any("[anthem of] {subject}" in one.text for one in found["hymn"])
    assert any("[sings]" in one.text for one in found["hymn"])


def test_a_single_sentence_says_its_fact() -> None:
    facts = [one for one in facts_of(atlas()) if one.predicate == "capital"]
    france = next(one for one in facts if one.subject == "c:france")
    template = parse("capital", "The [capital of] {subject} is {object}.")
    material = Material([france], {"capital": [template]}, [])
    made = Writer(material, np.random.default_rng(0), varied=False).single(france)
    assert made.text == "The capital of France is Paris."
    assert made.tags == ("O", "B-P", "I-P", "B-S", "O", "B-O", "O")
    assert made.typed[1] == "B-P:capital"
    assert made.triples == {("France", "capital", "Paris")}


def test_articles_stand_outside_of_names() -> None:
    facts = {one.subject: one for one in facts_of(atlas()) if one.predicate == "capital"}
    template = parse("capital", "The [capital of] {subject} is {object}.")
    for subject, name in (
        ("c:the-netherlands", "Netherlands"),
        ("c:united-states", "United States"),
    ):
        material = Material([facts[subject]], {"capital": [template]}, [])
        made = Writer(material, np.random.default_rng(0), varied=False).single(facts[subject])
        assert f"of the {name} is" in made.text
        assert {one[0] for one in made.triples} == {name}


def test_what_can_be_one_thing_only_is_no_list() -> None:
    paris = next(one for one in facts_of(atlas()) if one.object == "Paris")
    facts = [paris, replace(paris, object="Lutetia", said=("Lutetia",))]
    template = parse("capital", "The [capital of] the {subject} is {object}.")
    lists = Material(facts, {"capital": [template]}, ["Rome"])
    single = replace(lists, functional={"capital"})
    random = np.random.default_rng(0)
    assert any(len(one.triples) == 2 for one in verbalise(lists, 60, random) if one.kind == "plain")
    made = verbalise(single, 200, random)
    assert all(len(one.triples) == 1 for one in made if one.kind == "plain")
    assert not any("the the" in one.text for one in made)


@pytest.mark.parametrize("seed", range(3))
def test_tags_and_triples_agree_whatever_varies(seed: int) -> None:
    graph = atlas()
    facts = facts_of(graph)
    known = templates_of(graph.file, sorted({one.predicate for one in facts}))
    names = [name for one in facts for name in one.names]
    random = np.random.default_rng(seed)
    made = verbalise(Material(facts, known, names, symmetric=SAME), 400, random)
    kinds = {one.kind for one in made}
    assert kinds == {"plain", "complex", "negated", "none"}
    for one in made:
        assert "{" not in one.text
        assert "\x01" not in one.text
        assert "  " not in one.text
        assert len(one.tokens) == len(one.tags) == len(one.typed)
        held = {"S": set(), "O": set()}
        for start, tag in enumerate(one.tags):
            if tag[:2] == "B-" and tag[2] in held:
                end = start + 1
                while end < len(one.tags) and one.tags[end] == f"I-{tag[2]}":
                    end += 1
                held[tag[2]].add(" ".join(one.tokens[start:end]))
        ends = {end for subject, _, other in one.triples for end in (subject, other)}
        assert ends == held["S"] | held["O"]
        assert bool(one.triples) == (one.kind in ("plain", "complex"))
        assert all(
            tag[0] != "I" or one.tags[k - 1][2:] == tag[2:] for k, tag in enumerate(one.tags)
        )


def test_the_same_seed_writes_the_same_sentences() -> None:
    first, again, other = (split(atlas(), sizes=Sizes(50, 10, 10), seed=k) for k in (1, 1, 2))
    assert first.train == again.train
    assert first.train != other.train


def test_no_held_out_template_or_entity_is_trained_on() -> None:
    graph = atlas()
    facts = facts_of(graph)
    dealt = deal_entities(facts, 0)
    held_out = {one.subject for one in dealt["entities"] + dealt["validation"]}
    assert held_out
    for one in dealt["train"]:
        assert one.subject not in held_out
        assert one.object not in held_out
    known = templates_of(graph.file, ["capital", "borders"])
    parts = deal_templates(known, 0)
    for predicate, templates in known.items():
        sets = [{one.text for one in parts[name][predicate]} for name in parts]
        assert all(sets)
        assert sum(map(len, sets)) == len(set().union(*sets)) == len(templates)


def test_too_few_templates_are_refused() -> None:
    with pytest.raises(BadInput, match="has 2 templates"):
        deal_templates(
            {"x": [parse("x", "{subject} [a] {object}"), parse("x", "{subject} [b] {object}")]}, 0
        )


def test_test_sentences_tell_what_the_graph_says() -> None:
    graph = atlas()
    said = {(one.names[0].removeprefix("The "), one.predicate) for one in facts_of(graph)}
    for one in split(graph, sizes=Sizes(20, 20, 60)).templates:
        for subject, predicate, _ in one.triples:
            assert predicate == "borders" or (subject, predicate) in said


def test_numbers_are_written_in_several_ways() -> None:
    assert numbers("5400000") == ("5,400,000", "5.4 million")
    assert numbers("103000") == ("103,000",)
    assert "176,000" in numbers("176215")


def test_marked_sentences_are_read() -> None:
    made = parse_marked(
        "[Peru|S12] has [Lima|O1] as its [capital|P1=capital] and [borders|P2=borders] [Chile|O2].",
        SAME,
        kind="complex",
    )
    assert made.triples == {("Peru", "capital", "Lima"), ("Chile", "borders", "Peru")}
    assert made.text == "Peru has Lima as its capital and borders Chile."
    assert made.tags[0] == "B-S"


@pytest.mark.parametrize(
    ("marked", "told"),
    [
        ("[Peru|S1] has a capital.", "fact 1 has no predicate"),
        ("[Peru|S1] [has|P1] [Lima|O1].", "does not name its predicate"),
        ("[Peru|S1 has Lima.", "a bracket is no mark"),
    ],
)
def test_bad_marks_are_refused(marked: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        parse_marked(marked)


def test_the_line_of_a_bad_mark_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "written.txt"
    path.write_text("# a comment\nplain\tFine.\nno tab here\n")
    with pytest.raises(BadInput, match="line 3"):
        read_marked(path)


def test_the_sentences_of_the_demo_are_marked_well() -> None:
    from plait.demo.graph_reading import MEANINGS, SENTENCES, Meanings

    found = read_marked(SENTENCES, SAME)
    assert len(found) >= 60
    kinds = [one.kind for one in found]
    assert kinds.count("negated") >= 10
    assert all(bool(one.triples) == (one.kind in ("plain", "complex")) for one in found)
    meanings = Meanings.read(MEANINGS, {})
    words = {end for one in found for subject, name, other in one.triples
             for end in ((subject, other) if name != "capital" else (subject,))}  # fmt: skip
    assert words <= set(meanings.values), words - set(meanings.values)


def test_how_texts_write_values_is_read_and_written() -> None:
    content = "predicates: {currency: {values: {EUR: [euro], JPY: yen}}}"
    file = parse_graph_file(content)
    assert file.predicates["currency"].values == {"EUR": ("euro",), "JPY": ("yen",)}
    assert parse_graph_file(format_graph_file(file)) == file
    with pytest.raises(BadInput, match="must map at most"):
        parse_graph_file("predicates: {currency: {values: [euro]}}")


def test_labels_have_the_predicate_behind_p() -> None:
    assert labels_of(["b", "a"]) == (
        "O", "B-S", "I-S", "B-O", "I-O", "B-P:a", "I-P:a", "B-P:b", "I-P:b",
    )  # fmt: skip
