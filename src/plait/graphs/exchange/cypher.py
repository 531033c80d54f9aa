# SPDX-License-Identifier: Apache-2.0
"""A Cypher script that makes the graph, for Neo4j and other programs that speak it.

Batches of rows under ``UNWIND``, each end of a relationship found by a ``MATCH`` of its own: one
``MATCH`` with two patterns is a cross product to several engines.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from plait.graphs.exchange.formats import Progress
from plait.graphs.graph import Graph
from plait.graphs.propertygraph import NODE, nodes, relationships

CONSTRAINT = (
    f"CREATE CONSTRAINT plait_entity_id IF NOT EXISTS FOR (n:{NODE}) REQUIRE n.id IS UNIQUE"
)
NODES = f"UNWIND {{rows}} AS row MERGE (n:{NODE} {{{{id: row.id}}}}) SET n += row.properties"
RELATIONSHIPS = (
    f"UNWIND {{rows}} AS row MATCH (a:{NODE} {{{{id: row.subject}}}}) "
    f"MATCH (b:{NODE} {{{{id: row.object}}}}) "
    "MERGE (a)-[r:{kind} {{id: row.properties.id}}]->(b) SET r += row.properties"
)
LABELS = f"UNWIND {{rows}} AS row MATCH (n:{NODE} {{{{id: row.id}}}}) SET n:{{kind}}"


def write(graph: Graph, out: BinaryIO, *, format: str, progress: Progress) -> None:
    """Write the script; running it again changes nothing."""

    def say(line: str) -> None:
        out.write((line + ";\n").encode())

    say(CONSTRAINT)
    done = 0
    for batch in nodes(graph):
        say(NODES.format(rows=literal([_plain(row) for row in batch])))
        for kind in sorted({label for row in batch for label in row["labels"]}):
            rows = [{"id": row["id"]} for row in batch if kind in row["labels"]]
            say(LABELS.format(rows=literal(rows), kind=quoted(kind)))
        done += len(batch)
        progress(done, "writing nodes")
    for predicate, rows in relationships(graph):
        say(RELATIONSHIPS.format(rows=literal(rows), kind=quoted(predicate)))
        done += len(rows)
        progress(done, "writing relationships")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "properties": row["properties"]}


def quoted(name: str) -> str:
    """Return a name in backticks, those within doubled (openCypher 9)."""
    # Some parsers read an escaped code point as a backtick, so backslashes are kept out as well.
    return "`" + name.replace("\\", "/").replace("`", "``") + "`"


def literal(value: Any) -> str:
    """Return a value as a Cypher literal."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "null"
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(literal(one) for one in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{quoted(key)}: {literal(one)}" for key, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    return _text(str(value))


def _text(value: str) -> str:
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    made = "".join(
        escapes.get(one) or (f"\\u{ord(one):04x}" if ord(one) < 32 else one) for one in value
    )
    return f"'{made}'"
