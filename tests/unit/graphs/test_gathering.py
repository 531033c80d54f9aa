# SPDX-License-Identifier: Apache-2.0
"""A graph is the same however many of its statements are packed before the next comes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.graphs import gathering, schema
from plait.graphs.graph import Builder, Graph

from .drawing import FILE, statements


def built(rows: list[dict[str, object]]) -> Graph:
    builder = Builder(FILE)
    for row in rows:
        builder.statement(**row)  # type: ignore[arg-type]
    return builder.build()


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(statements(), max_size=12), seed=st.integers(0, 9))
def test_packing_and_order_change_nothing(rows: list[dict[str, object]], seed: int) -> None:
    whole = built(rows)
    shuffled = random.Random(seed).sample(rows, len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "FRESH", 2)
        packed = built([*shuffled, *rows])
    assert all(packed.table(name).equals(whole.table(name)) for name in schema.TABLES)


def test_what_is_said_twice_far_apart_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "FRESH", 3)
    builder = Builder()
    builder.label("a", "Anna", source="x")
    builder.statement("a", "knows", object="b", source="x", confidence=0.2, evidence=["one"])
    for number in range(10):
        builder.statement(f"e{number}", "knows", object="a", source="y")
    builder.statement(
        "a", "knows", object="b", source="x", confidence=0.7, rank="deprecated", evidence=["two"]
    )
    graph = builder.build()
    assert len(graph) == 11
    row = next(one for one in graph.statements.to_pylist() if one["subject"] == "a")
    assert (row["confidence"], row["rank"], row["evidence"]) == (0.7, "deprecated", ["one", "two"])
    sources = {one["id"]: one["sources"] for one in graph.entities.to_pylist()}
    assert (sources["a"], sources["b"], sources["e3"]) == (["x", "y"], ["x"], ["y"])


def test_a_row_that_does_not_hold_is_refused_when_it_is_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "FRESH", 2)
    builder = Builder()
    builder.statement("a", "knows", object="b", source="x", confidence="high")
    with pytest.raises(BadInput, match="A row of statements does not hold to its schema"):
        builder.statement("a", "knows", object="c", source="x")
