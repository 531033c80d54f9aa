# SPDX-License-Identifier: Apache-2.0
"""Rules of graph.yaml on a graph: what they forbid, what they derive, and what they say."""

from __future__ import annotations

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput, TooLarge
from plait.graphs.cycles import components, cycles, reaches
from plait.graphs.graph import Builder, Graph
from plait.graphs.identity import claim
from plait.graphs.rules import check_rules
from plait.graphs.violations import Violation
from plait.recipes.graph import GraphFile, Kind, Predicate, format_graph_file, parse_graph_file

RULES = """
graph: 1
predicates:
  capital: {functional: true, domain: Country, range: [City, Town], inverse: capital of}
  borders: {symmetric: true, disjoint: [lies in]}
  lies in: {transitive: true, acyclic: true}
types:
  Country: {disjoint: [City]}
"""


def built(*statements: tuple[str, str, str], file: GraphFile | None = None) -> Graph:
    builder = Builder(file or parse_graph_file(RULES))
    for one, kind in (("fr", "Country"), ("de", "Country"), ("paris", "City"), ("rhine", "River")):
        builder.entity(one, types=[kind])
    builder.label("rhine", "Rhine", source="a")
    for subject, predicate, target in statements:
        builder.statement(subject, predicate, object=target, source="a")
    return builder.build()


def violations(graph: Graph) -> list[Violation]:
    return [one for one in check_rules(graph) if one.severity == "violation"]


def test_ends_of_a_predicate_are_of_its_types() -> None:
    found = violations(built(("rhine", "capital", "paris"), ("fr", "capital", "rhine")))
    domain, end = sorted(found, key=lambda one: one.shape)
    assert (domain.entity, domain.path, domain.shape) == ("rhine", "capital", "graph.yaml: domain")
    assert domain.message == (
        "The subjects of capital are of the type Country; Rhine (rhine) is of River."
    )
    assert end.shape == "graph.yaml: range"
    assert "of the type City or Town" in end.message
    (unknown,) = [one for one in check_rules(built(("fr", "capital", "x"))) if one.entity == "x" and
                  "range" in one.shape]  # fmt: skip
    assert (unknown.severity, "x has no type" in unknown.message) == ("info", True)


def test_what_is_derived_is_checked_too() -> None:
    # Only the inverse says that the Rhine is somebody's capital.
    (found,) = violations(built(("rhine", "capital of", "fr")))
    assert (found.entity, found.path) == ("rhine", "capital")
    # Only the symmetric one says that Germany borders France.
    (found,) = violations(built(("fr", "borders", "de"), ("de", "lies in", "fr")))
    assert "connected by borders and by lies in" in found.message
    # Only several steps say that Paris lies in Germany.
    (found,) = violations(
        built(("paris", "lies in", "fr"), ("fr", "lies in", "de"), ("paris", "borders", "de"))
    )
    assert {found.entity, found.value} == {"paris", "de"}


def test_a_circle_is_told_with_its_entities() -> None:
    (found,) = violations(
        built(("fr", "lies in", "de"), ("de", "lies in", "rhine"), ("rhine", "lies in", "fr"))
    )
    assert found.message == (
        "lies in must not come back to where it began: de → Rhine (rhine) → fr → de."
    )
    assert violations(built(("fr", "lies in", "de"), ("paris", "lies in", "de"))) == []


def test_entities_that_were_wrongly_taken_for_one_are_found() -> None:
    builder = Builder(parse_graph_file(RULES))
    builder.entity("lux", types=["Country"])
    builder.entity("luxembourg", types=["City"])
    builder.add("identities", claim("lux", "luxembourg", source="align", score=0.9))
    (found,) = violations(builder.build())
    assert found.message == (
        "lux, which is one with luxembourg is of City and of Country, which exclude each other."
    )


def test_what_waits_for_people_is_told_and_no_violation_unless_gates_say_so() -> None:
    two = built(("fr", "capital", "paris"), ("fr", "capital", "lyon"), ("fr", "borders", "de"))
    told = {(one.shape, one.severity) for one in check_rules(two)}
    assert ("graph.yaml: functional", "warning") in told
    assert ("graph.yaml: symmetric", "info") in told
    assert ("graph.yaml: inverse", "info") in told
    strict = parse_graph_file(RULES + "gates: [functional, symmetric]\n")
    assert {one.shape for one in check_rules(two, strict) if one.severity == "violation"} == {
        "graph.yaml: functional",
        "graph.yaml: symmetric",
    }


def test_rules_are_written_as_they_were_read() -> None:
    file = parse_graph_file(RULES + "gates: [domain]\n")
    assert parse_graph_file(format_graph_file(file)) == file
    assert file.predicates["capital"].domain == ("Country",)
    assert file.types == {"Country": Kind(disjoint=("City",))}
    for text, said in (
        ("predicates: {a: {symmetric: true, acyclic: true}}", "hold to both"),
        ("predicates: {a: {transitive: 3}}", "must be true or false"),
        ("gates: [magic]", "gates"),
        ("types: [a]", "'types' must map"),
    ):
        with pytest.raises(BadInput, match=said):
            parse_graph_file(text)


def test_a_graph_without_rules_costs_nothing_and_one_with_too_many_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = GraphFile(predicates={"borders": Predicate(label={"en": "borders"})})
    assert check_rules(built(("fr", "borders", "de"), file=plain)) == []
    monkeypatch.setattr("plait.graphs.rules.MAX_PAIRS", 1)
    with pytest.raises(TooLarge, match="have 2 statements; 1 can be checked"):
        check_rules(built(("fr", "borders", "de"), ("de", "borders", "fr")))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_circles_and_reach_are_those_of_networkx(edges: set[tuple[int, int]]) -> None:
    pairs = {(str(a), str(b)) for a, b in edges}
    after: dict[str, list[str]] = {}
    for a, b in sorted(pairs):
        after.setdefault(a, []).append(b)
    known = networkx.DiGraph(pairs)
    assert sorted(map(sorted, components(after))) == sorted(
        map(sorted, networkx.strongly_connected_components(known))
    )
    for circle in cycles(after):
        steps = zip(circle, [*circle[1:], circle[0]], strict=True)
        assert set(steps) <= pairs
    loops = [c for c in networkx.strongly_connected_components(known)
             if len(c) > 1 or pairs & {(one, one) for one in c}]  # fmt: skip
    assert len(list(cycles(after))) == len(loops)
    everything = {(str(a), str(b)) for a in range(8) for b in range(8)}
    closed = set(networkx.transitive_closure(known).edges)
    assert reaches(after, everything) == closed
