# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import BadInput
from plait.recipes.graph import GraphFile, Predicate, Source, format_graph_file, parse_graph_file

FULL = """
graph: 1
title: Countries
prefixes: {ex: "https://example.org/"}
sources:
  geonames: {title: GeoNames, url: "https://geonames.org", licence: CC-BY-4.0, trust: 0.8}
  other:
predicates:
  capital:
    label: {en: capital, zh: 首都}
    datatype: entity
    functional: true
    inverse: capitalOf
    policy: ask
    templates: ["The capital of {subject} is {object}."]
  borders: {symmetric: true}
policy: [recency, trust]
shapes: shapes.ttl
"""


def test_everything_is_read_and_written() -> None:
    file = parse_graph_file(FULL)
    assert file.policy_of("capital") == ("ask",)
    assert file.policy_of("borders") == ("recency", "trust")
    assert (file.trust("geonames"), file.trust("other"), file.trust("unknown")) == (0.8, 0.5, 0.5)
    assert file.predicates["capital"].label["zh"] == "首都"
    assert parse_graph_file(format_graph_file(file)) == file


def test_an_empty_file_knows_nothing() -> None:
    assert parse_graph_file("") == GraphFile()
    assert format_graph_file(GraphFile()) == "graph: 1\n"
    assert Predicate() == Predicate(label={})
    assert Source().trust == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("graph: 2", "this Plait reads 1"),
        ("predicate: {}", "unknown key 'predicate'.*predicates"),
        ("sources: {a: {trust: 2}}", "'trust' must be a number from 0 to 1"),
        ("policy: [truth]", "'truth' but must be one of trust, recency"),
        ("policy: [trust, trust]", "each once"),
        ("predicates: {p: {functional: yes please}}", "'functional' must be true or false"),
        ("predicates: {p: {datatype: int}}", "'int' but must be one of entity"),
        ("predicates: {p: {templates: [hello]}}", "must hold {subject} and {object}"),
        ("sources: [a]", "must map"),
    ],
)
def test_what_cannot_be_is_named(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_graph_file(text)
