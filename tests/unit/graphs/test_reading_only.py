# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from plait.errors import BadInput
from plait.graphs.query.reading_only import check_reads_only


@pytest.mark.parametrize(
    "query",
    [
        "MATCH (a:Entity {id: 'x'})-[r:`set`]->(b) WHERE b.load > 3 RETURN a, r, b.create LIMIT 5;",
        "MATCH (a) RETURN 'LOAD FROM here' AS text // DELETE nothing",
        "MATCH (a:Set)-[:CREATE]->(b) WHERE a.id = $delete RETURN count(*)",
        'OPTIONAL MATCH p = (a)-[*1..3]->(b) RETURN p, "it\\"s; CREATE" ORDER BY a.id /* DROP */',
        "MATCH (a) RETURN a UNION MATCH (b) RETURN b",
    ],
)
def test_what_reads_passes(query: str) -> None:
    assert check_reads_only(query) == query


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("LOAD FROM '/etc/passwd' RETURN *", "LOAD reaches out of the graph"),
        ("MATCH (a) DETACH DELETE a", "DETACH changes a graph"),
        ("MATCH (a) SeT a.x = 1", "SET changes a graph"),
        ("MATCH (a) RETURN a; DROP TABLE Entity", "One query at a time"),
        ("/* a */ COPY (MATCH (a) RETURN a) TO '/tmp/x.csv'", "COPY reaches out"),
        ("ATTACH '/tmp/other' AS o", "ATTACH reaches out"),
        ("INSTALL httpfs", "INSTALL reaches out"),
        ("CALL show_tables() RETURN *", "CALL does more than read"),
        ("MATCH (a) RETURN '`' LOAD FROM `x`", "LOAD"),
        ("MATCH (a) RETURN 'open", "never closed"),
        ("MATCH (a) RETURN `open", "never closed"),
        ("MATCH (a) /* open", "never closed"),
        ("MATCH (a) RETURN 'x\\' LOAD FROM '' ", "never closed"),
        ("  ", "is empty"),
        ("x" * 30_000, "may have 20,000 characters"),
    ],
)
def test_what_does_more_is_refused(query: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_reads_only(query)
