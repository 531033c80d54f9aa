# SPDX-License-Identifier: Apache-2.0
"""Aligning small graphs whose answer is known, and scoring that no tie can flatter."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.graphs.align import Options, align, blocking, score, weights
from plait.graphs.align.scoring import hit, rank
from plait.graphs.align.texts import forms, scripts
from plait.graphs.graph import Builder, Graph
from plait.graphs.identity import resolve

SYLLABLES = ["ba", "do", "ki", "lu", "me", "no", "ra", "su", "ti", "vo", "xe", "zu"]


def cities(
    count: int = 60, *, foreign: int = 0, seed: int = 0
) -> tuple[Graph, Graph, dict[str, str]]:
    """Two graphs of cities on one road map; the last `foreign` have another name in each."""
    draw = random.Random(seed)
    names = ["".join(draw.sample(SYLLABLES, 4)).title() for _ in range(2 * count)]
    left, right = Builder(), Builder()
    order = list(range(count))
    draw.shuffle(order)
    places = {number: f"r{place:03}" for place, number in enumerate(order)}
    for number in range(count):
        a, b = f"l{number:03}", places[number]
        other = names[count + number] if number >= count - foreign else names[number]
        left.label(a, names[number], source="x")
        right.label(b, other.upper(), source="y")
        people = draw.randrange(10_000, 10_000_000)
        left.statement(a, "population", value=str(people), datatype="integer", source="x")
        right.statement(b, "inhabitants", value=str(people + 7), datatype="integer", source="y")
        for step in (1, 7):
            left.statement(a, "road", object=f"l{(number + step) % count:03}", source="x")
            right.statement(b, "street", object=places[(number + step) % count], source="y")
    gold = {f"l{number:03}": places[number] for number in range(count)}
    return left.build(), right.build(), gold


def test_names_predicates_and_relations_of_other_names_are_found() -> None:
    left, right, gold = cities()
    found = align(left, right)
    assert {one.left: one.right for one in found.matches()} == gold
    assert {"name", "population ~ inhabitants", "road ~ street →"} <= set(found.kinds)


def test_the_least_bad_of_few_names_is_no_match() -> None:
    """Genres against kinds of works, names alone: what only sounds alike is left alone."""
    same = ["Thriller", "Action", "Fantasy", "Mystery", "Adventure", "Melodrama"]
    apart = {
        "Crime": "rhyme",
        "Horror": "error",
        "Western": "country music",
        "Children": "letter S",
    }
    left, right = Builder(), Builder()
    for place, name in enumerate([*same, *apart]):
        left.label(f"l{place}", name, source="x")
    for place, name in enumerate([*same, *apart.values(), "sonnet", "ballad", "hymn", "decree"]):
        right.label(f"r{place}", name.lower(), source="y")
    found = {one.left: one.right for one in align(left.build(), right.build()).matches(0.7)}
    assert set(found.items()) <= {(f"l{place}", f"r{place}") for place in range(len(same))}
    assert len(found) >= 4


def test_of_two_with_one_name_the_kind_that_the_other_graph_lists_is_meant() -> None:
    """A list of divisions without a word about kinds, against divisions and districts."""
    draw = random.Random(1)
    names = ["".join(draw.sample(SYLLABLES, 4)).title() for _ in range(40)]
    twice = names[:4]
    left, right = Builder(), Builder()
    left.label("l", "Land", source="x")
    right.label("r", "Land", source="y")
    for name in names[:10]:
        left.label(f"l/{name}", name, source="x")
        left.statement(f"l/{name}", "country", object="l", source="x")
    kinds = {"division": names[:10], "district": [*twice, *names[10:]]}
    for kind, held in kinds.items():
        for name in held:
            one = f"r/{kind}/{name}"
            right.label(one, name, source="y")
            right.statement(one, "country", object="r", source="y")
            right.statement(one, "kind", value=kind, source="y")
    found = align(left.build(), right.build())
    assert "fellows by kind" in found.kinds
    ranked = found.ranked()
    for name in twice:
        best, second = sorted(ranked[f"l/{name}"], key=lambda one: -one[1])[:2]
        assert best[0] == f"r/division/{name}"
        assert second[0] == f"r/district/{name}"
        assert best[1] > second[1] + 1


def test_structure_and_values_find_what_names_do_not() -> None:
    left, right, gold = cities(foreign=20)
    found = align(left, right)
    matches = {one.left: one for one in found.matches()}
    right_ones = sum(one.right == gold[name] for name, one in matches.items())
    assert right_ones >= 58
    why = {kind: bits for kind, _, bits in matches["l059"].because}
    assert why["name"] < 3 < why["population ~ inhabitants"]


def test_entities_without_a_counterpart_are_left_alone() -> None:
    left, right, gold = cities()
    only = Builder()
    for row in right.entities.to_pylist()[:30]:
        only.add("entities", row)
    found = align(left, only.build()).matches()
    assert all(gold[one.left] == one.right for one in found)
    assert 25 <= len(found) <= 30


def test_decided_pairs_stay_decided_and_are_not_asked_again() -> None:
    left, right, gold = cities(foreign=10)
    wrong = ("l000", gold["l001"])
    kept = ("l059", gold["l059"])
    found = align(
        left,
        right,
        Options(confirmed=frozenset([kept]), rejected=frozenset([("l000", gold["l000"])])),
    )
    pairs = {(one.left, one.right) for one in found.matches()}
    assert kept in pairs
    assert ("l000", gold["l000"]) not in pairs
    asked = {(one.match.left, one.match.right) for one in found.questions(100)}
    assert kept not in asked
    assert wrong not in pairs
    with pytest.raises(BadInput, match="names 'nobody', which is not in its graph"):
        align(left, right, Options(confirmed=frozenset([("nobody", "r000")])))


def test_questions_are_in_doubt_and_one_of_each_entity() -> None:
    left, right, _ = cities(foreign=20)
    asked = align(left, right, Options(rounds=1)).questions(10)
    assert len({one.match.left for one in asked}) == len(asked)
    worths = [one.worth for one in asked]
    assert worths == sorted(worths, reverse=True)


def test_claims_can_be_merged_and_explain_themselves() -> None:
    left, right, gold = cities(20)
    rows = align(left, right).claims()
    builder = Builder()
    for row in rows:
        builder.add("identities", row)
    found = resolve(builder.build())
    assert all(found.of(a) == found.of(b) for a, b in gold.items())
    assert '"name"' in rows[0]["explanation"]


def test_types_that_exclude_each_other_are_never_paired() -> None:
    left, right = Builder(), Builder()
    left.entity("a", types=["City"])
    left.label("a", "Georgia", source="x")
    for name, kind in (("b", "Country"), ("c", "City")):
        right.entity(name, types=[kind])
        right.label(name, "Georgia", source="y")
    found = align(left.build(), right.build())
    assert {found.right.ids[int(one)] for one in found.columns} == {"c"}


def test_empty_graphs_and_names_that_normalise_to_nothing() -> None:
    nothing = Builder().build()
    assert align(nothing, nothing).matches() == []
    left, right = Builder(), Builder()
    for place, sign in enumerate("!?…—"):
        left.label(f"l{place}", sign * 3, source="x")
        right.label(f"r{place}", sign * 3, source="y")
    found = align(left.build(), right.build())
    assert all(one.left[1:] == one.right[1:] for one in found.matches(0.0))
    assert forms("!!!") == ("\0!!!",)


def test_names_in_other_scripts_are_transliterated_and_no_evidence_against() -> None:
    assert forms("Россия") == ("россия", "rossiya")
    assert scripts(["Россия 7"]) == {"CYRILLIC"}
    left, right = Builder(), Builder()
    left.label("l", "中国", source="x")
    right.label("r", "China", source="y")
    found = align(left.build(), right.build())
    assert all(np.isnan(one) for one in found.likeness[:, found.kinds.index("name")])


def test_no_value_makes_a_million_pairs() -> None:
    rows, columns = blocking.by_values(
        [("same", place) for place in range(1000)] + [("rare", 1)],
        [("same", place) for place in range(1000)] + [("rare", 2)],
    )
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(1, 2)]


def test_the_scorer_averages_ties() -> None:
    alike = [(f"r{place}", 1.0) for place in range(10)]
    assert rank(alike, "r3") == 5.5
    assert hit(alike, "r3", 1) == pytest.approx(0.1)
    assert hit(alike, "nobody", 1) == 0.0
    ranked = {f"l{place}": alike for place in range(10)}
    gold = {f"l{place}": f"r{place}" for place in range(10)}
    scores = score(ranked, {}, gold)
    assert scores.hits_at_1.value == pytest.approx(0.1)
    assert scores.hits_at_10.value == 1.0
    assert (scores.abstained, scores.recall.value) == (1.0, 0.0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(-20, 20)),
        max_size=20,
        unique_by=lambda one: one[:2],
    )
)
def test_no_entity_is_one_with_more_than_one(cells: list[tuple[int, int, float]]) -> None:
    rows = np.array([one[0] for one in cells], np.int64)
    columns = np.array([one[1] for one in cells], np.int64)
    odds = np.array([one[2] for one in cells])
    found, _ = weights.assign(rows, columns, odds, 6, 6, one_to_one=True)
    assert (np.bincount(rows, found, minlength=6) <= 1 + 1e-6).all()
    assert (found >= 0).all()
    single, _ = weights.assign(rows[:1], columns[:1], odds[:1], 6, 6, one_to_one=True)
    alone, _ = weights.assign(rows[:1], columns[:1], odds[:1], 6, 6, one_to_one=False)
    assert single == pytest.approx(alone, abs=0.05)


def test_what_is_more_alike_is_worth_more() -> None:
    draw = np.random.default_rng(0)
    same = draw.random(500) < 0.1
    likeness = np.where(same, draw.beta(8, 2, 500), draw.beta(2, 8, 500))
    weight = weights.learn(likeness, same.astype(float))
    assert (np.diff(weight.at_centres) > 0).all()
    assert weight.of(np.array([np.nan]))[0] == 0.0
    assert weight.of(np.array([0.95]))[0] > 2 > 0 > weight.of(np.array([0.05]))[0]
