# SPDX-License-Identifier: Apache-2.0
"""What people answer, as changes of a graph's tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countries import countries
from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.answering import judged, settled
from plait.graphs.graph import Builder, Graph
from plait.graphs.identity import resolve
from plait.graphs.merging import rank
from plait.graphs.storage import graph_files

from .drawing import graphs

WHEN = "2024-05-01T10:00:00Z"


@given(graphs(), st.data())
def test_who_settles_is_obeyed_and_nothing_is_lost(graph: Graph, data: st.DataObject) -> None:
    builder = Builder(graph.file)
    for name in schema.TABLES:
        for row in graph.table(name).to_pylist():
            builder.add(name, row)
    for value in ("Hope", "Work"):
        builder.statement("e0", "motto", value=value, source="z")
    graph = builder.build()
    found = rank(graph).conflicts
    conflict = data.draw(st.sampled_from(found))
    statement = data.draw(
        st.sampled_from([one for option in conflict.options for one in option.statements])
    )
    made = settled(graph, [statement], by="ann", at=WHEN, reason="looked it up")
    again = next(
        one
        for one in rank(made).conflicts
        if statement in {name for option in one.options for name in option.statements}
    )
    assert again.decided_by == "decision"
    assert statement in again.options[0].statements
    assert set(made.statements.column("id").to_pylist()) == set(
        graph.statements.column("id").to_pylist()
    )
    # Deciding the same again changes nothing but the time.
    twice = settled(made, [statement], by="ann", at=WHEN, reason="looked it up")
    assert graph_files(twice) == graph_files(made)


def test_only_conflicts_are_settled() -> None:
    graph = countries()
    alone = next(row["id"] for row in graph.statements.to_pylist() if row["predicate"] == "flag")
    for bad in (alone, "nothing"):
        with pytest.raises(BadInput, match="takes part in no conflict"):
            settled(graph, [bad], by="ann", at=WHEN)


def test_a_person_outweighs_machines_and_may_change_her_mind() -> None:
    graph = countries()
    apart = judged(graph, [("geo:de", "de", False)], by="ann", at=WHEN)
    assert resolve(apart).of("geo:de") == "geo:de"
    assert apart.identities.num_rows == graph.identities.num_rows + 1
    back = judged(apart, [("de", "geo:de", True)], by="ann", at=WHEN)
    assert resolve(back).of("geo:de") == "de"
    assert back.identities.num_rows == apart.identities.num_rows
    for bad in (("de", "de"), ("de", "nobody")):
        with pytest.raises(BadInput):
            judged(graph, [(*bad, True)], by="ann", at=WHEN)
