# SPDX-License-Identifier: Apache-2.0
"""Laws of merging, and what happens to values that disagree."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import BadInput, TooLarge
from plait.graphs import bounds, schema
from plait.graphs.graph import Builder, Graph, make
from plait.graphs.identity import claim
from plait.graphs.merging import merge
from plait.graphs.storage import graph_files
from plait.recipes.graph import GraphFile, Predicate, Source

from .drawing import FILE, graphs

LAWS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def families(draw: st.DrawFn) -> tuple[Graph, list[Graph]]:
    base = draw(graphs())
    return base, [draw(graphs(base)) for _ in range(draw(st.integers(1, 3)))]


@LAWS
@given(families(), st.randoms(use_true_random=False))
def test_order_does_not_matter_to_the_byte(
    family: tuple[Graph, list[Graph]], chance: random.Random
) -> None:
    base, contributions = family
    shuffled = contributions[:]
    chance.shuffle(shuffled)
    assert graph_files(merge(base, contributions).graph) == graph_files(merge(base, shuffled).graph)


@LAWS
@given(families())
def test_merging_twice_changes_nothing(family: tuple[Graph, list[Graph]]) -> None:
    base, contributions = family
    once = merge(base, contributions)
    assert graph_files(merge(base, [*contributions, *contributions]).graph) == graph_files(
        once.graph
    )


@LAWS
@given(families())
def test_nothing_is_lost_and_nothing_invented(family: tuple[Graph, list[Graph]]) -> None:
    base, contributions = family
    merged = merge(base, contributions).graph
    for table in ("entities", "statements"):
        found = merged.table(table).column("id").to_pylist()
        wanted = {
            one for graph in (base, *contributions) for one in graph.table(table)["id"].to_pylist()
        }
        assert sorted(found) == sorted(wanted)
    held = {row["id"]: row for row in merged.statements.to_pylist()}
    for graph in (base, *contributions):
        for row in graph.statements.to_pylist():
            assert set(row["evidence"]) <= set(held[row["id"]]["evidence"])


@LAWS
@given(families())
def test_one_after_the_other_is_all_at_once(family: tuple[Graph, list[Graph]]) -> None:
    base, contributions = family
    main = base
    for one in contributions:
        main = merge(base, [main, one]).graph
    assert graph_files(main) == graph_files(merge(base, contributions).graph)


@LAWS
@given(graphs())
def test_what_was_withdrawn_leaves_the_bytes_of_what_never_was(base: Graph) -> None:
    other = make(FILE, statements=base.statements.to_pylist()[:1])
    alone = merge(base, [base])
    assert graph_files(merge(base, [base, base]).graph) == graph_files(alone.graph)
    assert len(merge(None, [base, other]).graph) >= len(other)


def capital(*said: tuple[str, str, str | None], file: GraphFile = FILE) -> Graph:
    builder = Builder(file)
    for source, city, recorded in said:
        builder.statement("kz", "capital", object=city, source=source, recorded=recorded)
    return builder.build()


def ranks(graph: Graph) -> dict[str, str]:
    return {row["object"]: row["rank"] for row in graph.statements.to_pylist()}


def test_the_more_trusted_source_is_preferred_and_the_other_stays() -> None:
    merged = merge(capital(("a", "astana", None)), [capital(("b", "nursultan", None))])
    assert ranks(merged.graph) == {"astana": "deprecated", "nursultan": "normal"}
    # The contribution above left the base's statement out. One that keeps it disagrees with it:
    merged = merge(
        capital(("a", "astana", None)), [capital(("a", "astana", None), ("b", "nursultan", None))]
    )
    assert ranks(merged.graph) == {"astana": "preferred", "nursultan": "normal"}
    (conflict,) = merged.ranked.conflicts
    assert (conflict.decided_by, conflict.options[0].value) == ("trust", "astana")
    assert [option.sources for option in conflict.options] == [("a",), ("b",)]


def test_recency_decides_where_the_policy_says_so() -> None:
    file = replace(FILE, policy=("recency",))
    both = capital(("a", "nursultan", "2019"), ("b", "astana", "2022-09-17"), file=file)
    merged = merge(None, [both])
    assert ranks(merged.graph) == {"astana": "preferred", "nursultan": "normal"}
    assert merged.ranked.conflicts[0].decided_by == "recency"


def test_a_person_outweighs_every_policy_and_can_take_it_back() -> None:
    both = capital(("a", "astana", None), ("b", "nursultan", None))
    chosen = next(r["id"] for r in both.statements.to_pylist() if r["object"] == "nursultan")
    decided = make(
        FILE,
        statements=both.statements.to_pylist(),
        decisions=[{"statement": chosen, "by": "ann", "at": "2026-01-01", "reason": "I was there"}],
    )
    merged = merge(both, [decided])
    assert ranks(merged.graph) == {"astana": "normal", "nursultan": "preferred"}
    assert merged.ranked.conflicts[0].decided_by == "decision"
    assert ranks(merge(both, [both]).graph)["astana"] == "preferred"


def test_what_nothing_decides_is_left_open() -> None:
    both = capital(("c", "astana", None), ("d", "nursultan", None))
    merged = merge(None, [both])
    assert set(ranks(merged.graph).values()) == {"normal"}
    assert merged.ranked.conflicts[0].open


def test_values_of_other_times_are_no_conflict() -> None:
    builder = Builder(FILE)
    builder.statement("de", "capital", object="bonn", source="a", valid_to="1990-10-02")
    builder.statement("de", "capital", object="berlin", source="a", valid_from="1990-10-03")
    assert merge(None, [builder.build()]).ranked.conflicts == ()


def test_two_names_of_one_value_are_no_conflict() -> None:
    builder = Builder(FILE)
    builder.statement("kz", "capital", object="astana", source="a")
    builder.statement("kz", "capital", object="Q1520", source="b")
    builder.statement("kz", "area", value="2724900.0", datatype="decimal", source="a")
    builder.statement("kz", "area", value="2724900", datatype="decimal", source="b")
    builder.add("identities", claim("astana", "Q1520", source="align", score=0.9))
    merged = merge(None, [builder.build()])
    assert merged.ranked.conflicts == ()
    assert {row["object"] for row in merged.graph.statements.to_pylist()} == {
        "astana",
        "Q1520",
        None,
    }
    # Withdrawing the claim brings the conflict back: nothing was rewritten.
    without = merged.graph.with_tables(identities=schema.schema("identities").empty_table())
    assert len(merge(None, [without]).ranked.conflicts) == 1


def test_graph_files_that_disagree_are_refused() -> None:
    one = replace(FILE, predicates={"capital": Predicate(functional=True)})
    other = replace(FILE, predicates={"capital": Predicate(symmetric=True)})
    base = Graph(**{n: capital().table(n) for n in schema.TABLES}, file=FILE)
    with pytest.raises(BadInput, match="predicates 'capital' is described in two ways"):
        merge(base, [replace(base, file=one), replace(base, file=other)])
    added = replace(FILE, sources={**FILE.sources, "c": Source(title="Third")})
    assert merge(base, [replace(base, file=added)]).graph.file.sources["c"].title == "Third"


@LAWS
@given(families())
def test_what_differs_is_joined_alike_in_slices_of_any_size(
    family: tuple[Graph, list[Graph]],
) -> None:
    base, contributions = family
    whole = merge(base, contributions).graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plait.graphs.merging.union.SLICE", 1)
        sliced = merge(base, contributions).graph
    assert all(whole.table(name).equals(sliced.table(name)) for name in schema.TABLES)


def test_what_would_not_fit_is_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.graphs.merging.union.MEMORY", 100)
    with pytest.raises(TooLarge, match=r"about 0\.0 GiB of memory"):
        merge(None, [capital(("a", "astana", None))])


def test_memory_that_is_not_free_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo, groups = tmp_path / "meminfo", tmp_path / "cgroup"
    monkeypatch.setattr(bounds, "_MEMINFO", meminfo)
    monkeypatch.setattr(bounds, "_GROUPS", groups)
    assert bounds.available_memory() is None, "nobody says"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:       4 kB\n")
    assert bounds.available_memory() == 4096
    groups.mkdir()
    (groups / "memory.current").write_text("900\n")
    (groups / "memory.stat").write_text("anon 800\ninactive_file 50\n")
    (groups / "memory.max").write_text("max\n")
    assert bounds.available_memory() == 4096
    (groups / "memory.max").write_text("1000\n")
    assert bounds.available_memory() == 150
    builder = Builder()
    for number in range(50):
        builder.statement(f"e{number}", "next", object=f"e{number + 1}", source="a")
    with pytest.raises(TooLarge, match=r"about 0\.0 GiB of memory; 0\.0 are free on this machine"):
        merge(None, [builder.build()])
