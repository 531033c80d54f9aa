# SPDX-License-Identifier: Apache-2.0
"""The embedded engine's answers against the same questions asked by looking at every statement."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plait.graphs.graph import Builder
from plait.graphs.query import Limits, ask_embedded
from plait.graphs.query.projection import ensure

pytest.importorskip("ladybug", reason="ladybug is not installed")
Statement = tuple[str, str, str, str, float]
ENTITIES = 200
# Whom two steps begin at, and what of their first and their second statement is asked.
WHO: dict[str, Callable[[str], bool]] = {
    "true": lambda one: True,
    "a.id < 'e4'": lambda one: one < "e4",
    "a.id = 'e7'": lambda one: one == "e7",
    "a.id IN ['e1', 'e3', 'e9', 'e44', 'e120']": lambda one: (
        one in {"e1", "e3", "e9", "e44", "e120"}
    ),
}
WHAT: dict[str, Callable[[Statement], bool]] = {
    "true": lambda row: True,
    "{}.source = 'b'": lambda row: row[3] == "b",
    "{}.confidence > 0.5": lambda row: row[4] > 0.5,
    "label({}) = 'r1'": lambda row: row[1] == "r1",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Statement]]:
    """Return a random graph's database and its statements."""
    chance = random.Random(1)
    builder = Builder()
    rows = set()
    for _ in range(1_500):
        row = (
            f"e{chance.randrange(ENTITIES)}",
            f"r{chance.randrange(3)}",
            f"e{int(ENTITIES * chance.random() ** 3)}",
            chance.choice("abc"),
        )
        if row not in rows:
            rows.add(row)
    made = [(*row, round(chance.random(), 3)) for row in sorted(rows)]
    for subject, predicate, target, source, confidence in made:
        builder.statement(subject, predicate, object=target, source=source, confidence=confidence)
    graph = builder.build()
    return ensure(lambda: graph, tmp_path_factory.mktemp("copy"), "drawn"), made


def test_two_steps_with_conditions_are_what_the_statements_say(
    drawn: tuple[Path, list[Statement]],
) -> None:
    database, rows = drawn
    after: dict[str, list[Statement]] = defaultdict(list)
    for row in rows:
        after[row[0]].append(row)
    asked = [
        (who, first, second)
        for who, (first, second) in itertools.product(WHO, itertools.product(WHAT, WHAT))
    ]
    for who, first, second in asked[::4]:
        wanted: Any = sorted(
            (one[0], one[2], two[2])
            for one in rows
            if WHO[who](one[0]) and WHAT[first](one)
            for two in after[one[2]]
            if WHAT[second](two) and one != two
        )
        query = (
            "MATCH (a:Entity)-[r]->(b:Entity)-[s]->(c:Entity) "
            f"WHERE {who} AND {first.format('r')} AND {second.format('s')} "
            "RETURN a.id, b.id, c.id, r.id, s.id"
        )
        answer = ask_embedded(database, query, {}, Limits(seconds=60, rows=100_000))
        # Engines differ in whether a statement may be taken twice; only loops are concerned.
        found = sorted(tuple(row[:3]) for row in answer.rows if row[3] != row[4])
        assert found == wanted, query
