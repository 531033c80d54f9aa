# SPDX-License-Identifier: Apache-2.0
"""Neo4j, and whatever else speaks Bolt and Cypher, by Neo4j's official driver, in both directions.

Rows go and come in batches, none of which holds the whole graph. A transfer that was interrupted
goes on where it was: writing keeps its place in the database itself (a node ``PlaitTransfer``),
reading in a file beside its result. Everything is keyed on ``id``, never on a database's own
identifiers, which change when a node's labels do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra, StoreUnavailable
from plait.graphs import schema
from plait.graphs.exchange.cypher import CONSTRAINT, quoted
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.graph import Builder, Graph
from plait.graphs.propertygraph import BATCH, LABELS, LITERALS, NODE, RESERVED, nodes, relationships
from plait.recipes.graph import GraphFile, Source

TRANSFER = "PlaitTransfer"
_STATEMENT = {"id", "source", "licence", "confidence", "recorded", "valid_from", "valid_to",
              "rank", "evidence"}  # fmt: skip


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


def receive(
    server: Server,
    *,
    source: str,
    key: str = "id",
    name: str = "name",
    file: GraphFile | None = None,
    spool: Path | None = None,
    progress: Progress = lambda done, stage: None,
) -> Imported:
    """Read a graph out of a database.

    What Plait wrote comes back as it was. Of a graph that others wrote, labels become types, the
    property `name` the name, other properties literals, and types of relationships predicates.

    Args:
        source: under which name statements are kept that do not say their own.
        key: the property that identifies a node.
        spool: a file that keeps what was read, so that an interrupted run goes on; whoever asked
            removes it once the graph is safe.

    Raises:
        BadInput: a node lacks the key, or two share it.
    """
    known = file or GraphFile()
    sources = {source: Source(), **known.sources}
    made = Imported(
        Builder(replace(known, sources=sources)),
        source,
    )
    with session(server) as opened:
        missing = opened.run(
            f"MATCH (n) WHERE n.{quoted(key)} IS NULL AND NOT n:{TRANSFER} RETURN count(n) AS n"
        ).single()["n"]
        if missing:
            raise BadInput(
                f"{missing:,} nodes have no property '{key}'. Name one that all nodes have with "
                "--key; a database's own identifiers change and are not used."
            )
        for done, (kind, row) in enumerate(_spooled(opened, key, spool), start=1):
            if kind == "node":
                _node(made, row, name)
            else:
                _relationship(made, row)
            if done % BATCH == 0:
                progress(done, f"reading {kind}s")
    return made


def _spooled(opened: Any, key: str, spool: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield rows: first those that an earlier run kept, then the others as they are read."""
    last: dict[str, Any] = {"node": None, "relationship": None}
    if spool is not None and spool.is_file():
        whole = 0
        with spool.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # cut by the interruption; read again below
                whole += len(line)
                kind, row = json.loads(line)
                last[kind] = row["last"]
                yield kind, row
        os.truncate(spool, whole)
    out = spool.open("a", encoding="utf-8") if spool is not None else None
    try:
        for kind, page in (("node", _node_pages), ("relationship", _relationship_pages)):
            if kind == "node" and last["relationship"] is not None:
                continue
            for rows in page(opened, key, last[kind]):
                if out is not None:
                    out.writelines(
                        json.dumps([kind, row], ensure_ascii=False) + "\n" for row in rows
                    )
                    out.flush()
                for row in rows:
                    yield kind, row
    finally:
        if out is not None:
            out.close()


def _node_pages(opened: Any, key: str, last: Any) -> Iterator[list[dict[str, Any]]]:
    k = quoted(key)
    while True:
        rows = opened.execute_read(
            lambda tx, after: tx.run(
                f"MATCH (n) WHERE NOT n:{TRANSFER} AND ($last IS NULL OR n.{k} > $last) "
                f"RETURN n.{k} AS key, labels(n) AS labels, properties(n) AS properties "
                f"ORDER BY n.{k} LIMIT $most",
                last=after,
                most=BATCH,
            ).data(),
            last,
        )
        if not rows:
            return
        keys = [row["key"] for row in rows]
        if len(set(keys)) != len(keys):
            raise BadInput(f"Two nodes share the value of '{key}'; name a unique one with --key.")
        last = keys[-1]
        yield [
            {
                "id": str(row["key"]),
                "last": row["key"],
                "labels": row["labels"],
                "properties": {name: _plain(value) for name, value in row["properties"].items()},
                "key": key,
            }
            for row in rows
        ]


def _relationship_pages(opened: Any, key: str, last: Any) -> Iterator[list[dict[str, Any]]]:
    """Read relationships by the node that they start from, a page of nodes at a time."""
    k = quoted(key)
    while True:
        starts = opened.execute_read(
            lambda tx, after: tx.run(
                f"MATCH (n) WHERE NOT n:{TRANSFER} AND ($last IS NULL OR n.{k} > $last) "
                f"RETURN n.{k} AS key ORDER BY n.{k} LIMIT $most",
                last=after,
                most=BATCH,
            ).value("key"),
            last,
        )
        if not starts:
            return
        rows = opened.execute_read(
            lambda tx, low, high: tx.run(
                f"MATCH (a)-[r]->(b) WHERE a.{k} >= $low AND a.{k} <= $high "
                f"RETURN a.{k} AS subject, type(r) AS kind, b.{k} AS object, "
                f"properties(r) AS properties ORDER BY a.{k}",
                low=low,
                high=high,
            ).data(),
            starts[0],
            starts[-1],
        )
        before, last = last, starts[-1]
        yield [
            {
                "subject": str(row["subject"]),
                "predicate": row["kind"],
                "object": str(row["object"]),
                "properties": {name: _plain(value) for name, value in row["properties"].items()},
                # All of a page counts as read only with its last row.
                "last": last if place == len(rows) - 1 else before,
            }
            for place, row in enumerate(rows)
        ]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return value.iso_format() if hasattr(value, "iso_format") else str(value)


def _node(made: Imported, row: Mapping[str, Any], name: str) -> None:
    properties = row["properties"]
    identifier = row["id"]
    labels = [label for label in row["labels"] if label not in (NODE, TRANSFER)]
    ours = NODE in row["labels"] and "sources" in properties
    sources = properties["sources"] if ours else [made.source]
    made.builder.entity(identifier, types=labels, sources=sources)
    if ours:
        made.builder.entity(
            identifier, labels=[json.loads(one) for one in properties.get(LABELS, [])]
        )
        for one in properties.get(LITERALS, []):
            made.builder.add("statements", json.loads(one))
        return
    if isinstance(properties.get(name), str) and properties[name]:
        made.builder.label(identifier, properties[name], source=made.source)
    for predicate, value in properties.items():
        if predicate in (row["key"], name) or predicate in RESERVED:
            continue
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            datatype, text = _literal(one)
            made.builder.statement(
                identifier, predicate, value=text, datatype=datatype, source=made.source
            )


def _literal(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, int):
        return "integer", str(value)
    if isinstance(value, float):
        return "double", repr(value).replace("inf", "INF").replace("nan", "NaN")
    return "string", str(value)


def _relationship(made: Imported, row: Mapping[str, Any]) -> None:
    properties = row["properties"]
    about = {name: value for name, value in properties.items() if name in _STATEMENT}
    about.pop("id", None)
    if properties and not _STATEMENT.issuperset(properties):
        made.note("Properties of relationships other than a statement's own were left out.")
    if about.get("rank") not in schema.RANKS:
        about.pop("rank", None)
    if not isinstance(about.get("confidence"), float | int | None):
        about.pop("confidence")
    about.setdefault("source", made.source)
    made.builder.statement(row["subject"], row["predicate"], object=row["object"], **about)
