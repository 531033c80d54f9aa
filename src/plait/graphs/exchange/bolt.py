# SPDX-License-Identifier: Apache-2.0
"""Writing into Neo4j, and whatever else speaks Bolt and Cypher, by Neo4j's official driver.

Rows go in batches, none of which holds the whole graph. A transfer that was interrupted goes on
where it was: its place is kept in the database itself (a node ``PlaitTransfer``). Everything is
keyed on ``id``, never on a database's own identifiers, which change when a node's labels do.
The other direction is in `receiving`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from plait.errors import BadInput, MissingExtra, StoreUnavailable
from plait.graphs.exchange.cypher import CONSTRAINT, quoted
from plait.graphs.exchange.formats import Progress
from plait.graphs.graph import Graph
from plait.graphs.propertygraph import BATCH, NODE, nodes, relationships

TRANSFER = "PlaitTransfer"


@dataclass(frozen=True)
class Server:
    """Where a database answers: ``bolt://`` or ``neo4j://`` (``+s`` for TLS), and who asks."""

    uri: str
    user: str = ""
    password: str = ""
    database: str | None = None


@contextmanager
def session(server: Server) -> Iterator[Any]:
    """Open a session.

    Raises:
        StoreUnavailable: nobody answers there, or not to this user.
        BadInput: the database refuses what is asked of it; with its words.
        MissingExtra: the driver is not installed.
    """
    try:
        import neo4j
        from neo4j.exceptions import (
            AuthError,
            ConfigurationError,
            DriverError,
            Neo4jError,
            ServiceUnavailable,
        )
    except ImportError:
        raise MissingExtra("neo4j", "graph") from None
    auth = (server.user, server.password) if server.user else None
    try:
        with (
            neo4j.GraphDatabase.driver(server.uri, auth=auth, telemetry_disabled=True) as driver,
            driver.session(database=server.database, fetch_size=BATCH) as opened,
        ):
            yield opened
    except AuthError:
        raise StoreUnavailable(
            f"{server.uri} refuses the user '{server.user}'. Check the name and the password."
        ) from None
    except (ServiceUnavailable, ConfigurationError, DriverError, ValueError) as error:
        raise StoreUnavailable(f"{server.uri} does not answer: {error}") from None
    except Neo4jError as error:
        raise BadInput(f"{server.uri}: {error.message}") from None


def send(
    graph: Graph, server: Server, *, progress: Progress = lambda done, stage: None
) -> Mapping[str, int]:
    """Write a graph into a database; return how many nodes and relationships went this time.

    Nodes that are there keep what else they have. Run again after an interruption it goes on where
    it was; run again after success it sends nothing.
    """
    with session(server) as opened:
        transfer = _fingerprint(graph)
        opened.run(CONSTRAINT).consume()
        row = opened.run(
            f"MERGE (t:{TRANSFER} {{id: $id}}) RETURN t.batches AS batches", id=transfer
        ).single()
        start = int((row and row["batches"]) or 0)
        sent = {"nodes": 0, "relationships": 0}
        done = 0
        for place, (kind, query, rows) in enumerate(_batches(graph)):
            done += len(rows)
            if place < start:
                continue
            opened.execute_write(_write_batch, query, rows, transfer, place + 1)
            if kind != "labels":
                sent[kind] += len(rows)
            progress(done, f"writing {kind}")
        return sent


def _write_batch(tx: Any, query: str, rows: list[Any], transfer: str, batches: int) -> None:
    """Write one batch and its place in one transaction: a crash loses neither or both."""
    tx.run(query, rows=rows).consume()
    tx.run(
        f"MATCH (t:{TRANSFER} {{id: $id}}) SET t.batches = $batches", id=transfer, batches=batches
    ).consume()


def _batches(graph: Graph) -> Iterator[tuple[str, str, list[Any]]]:
    for batch in nodes(graph):
        yield (
            "nodes",
            f"UNWIND $rows AS row MERGE (n:{NODE} {{id: row.id}}) SET n += row.properties",
            [{"id": row["id"], "properties": row["properties"]} for row in batch],
        )
        for kind in sorted({label for row in batch for label in row["labels"]}):
            yield (
                "labels",
                f"UNWIND $rows AS row MATCH (n:{NODE} {{id: row.id}}) SET n:{quoted(kind)}",
                [{"id": row["id"]} for row in batch if kind in row["labels"]],
            )
    for predicate, rows in relationships(graph):
        yield (
            "relationships",
            (
                f"UNWIND $rows AS row MATCH (a:{NODE} {{id: row.subject}}) "
                f"MATCH (b:{NODE} {{id: row.object}}) "
                f"MERGE (a)-[r:{quoted(predicate)} {{id: row.properties.id}}]->(b) "
                "SET r += row.properties"
            ),
            rows,
        )


def _fingerprint(graph: Graph) -> str:
    held = hashlib.blake2b(digest_size=16)
    for name in ("entities", "statements"):
        table = graph.table(name)
        held.update(str(table.num_rows).encode())
        for one in table.column("id").to_pylist():
            held.update(one.encode())
        if name == "statements":
            for one in table.column("rank").to_pylist():
                held.update(one.encode())
        else:
            held.update(json.dumps(table.column("labels").to_pylist(), ensure_ascii=False).encode())
    return held.hexdigest()
