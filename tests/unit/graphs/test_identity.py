# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plait.graphs.graph import Graph, make
from plait.graphs.identity import claim, resolve
from plait.recipes.graph import GraphFile, Source


def graph(*claims: tuple[str, str, str, str, float]) -> Graph:
    rows = [
        claim(a, b, relation, source=source, score=score)
        for a, b, relation, source, score in claims
    ]
    return make(GraphFile(sources={"align": Source(trust=1.0)}), identities=rows)


def test_claims_chain() -> None:
    found = resolve(graph(("b", "a", "same", "align", 0.9), ("b", "c", "same", "align", 0.8)))
    assert found.members == {"a": ("a", "b", "c")}
    assert (found.of("c"), found.of("z")) == ("a", "z")


def test_a_cycle_of_claims_with_a_difference_loses_its_weakest_link() -> None:
    found = resolve(
        graph(
            ("a", "b", "same", "align", 0.9),
            ("b", "c", "same", "align", 0.6),
            ("a", "c", "different", "align", 0.7),
        )
    )
    assert found.members == {"a": ("a", "b")}
    (told,) = found.contradictions
    assert {told.a, told.b} == {"a", "c"}
    assert set(told.path) == {"a", "b", "c"}


def test_a_person_outweighs_the_machine() -> None:
    found = resolve(
        graph(("a", "b", "same", "align", 1.0), ("a", "b", "different", "person:ann", 1.0))
    )
    assert found.members == {}


def test_a_claim_against_itself_is_no_identity() -> None:
    assert (
        resolve(graph(("a", "b", "same", "x", 0.5), ("a", "b", "different", "y", 0.5))).members
        == {}
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.sampled_from("ghijkl"),
            st.sampled_from(["same", "different"]),
            st.sampled_from(["align", "person:ann"]),
            st.sampled_from([0.2, 0.9]),
        ),
        max_size=12,
        unique_by=lambda one: one[:4],
    ),
    st.randoms(use_true_random=False),
)
def test_no_pair_that_a_person_parted_is_ever_one(claims: list, chance) -> None:  # type: ignore[type-arg, no-untyped-def]
    found = resolve(graph(*claims))
    chance.shuffle(claims)
    assert resolve(graph(*claims)) == found
    people = {(a, b): 0 for a, b, *_ in claims}
    for a, b, relation, source, _ in claims:
        if source.startswith("person:"):
            people[a, b] += 1 if relation == "same" else -1
    for (a, b), sign in people.items():
        if sign < 0:
            assert found.of(a) != found.of(b)
