# SPDX-License-Identifier: Apache-2.0
"""The engines: Ladybug embedded and Oxigraph, each query in a process of its own, and Bolt."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra, TooLarge
from plait.graphs.exchange.bolt import Server, session
from plait.graphs.query.answers import Answer, Limits
from plait.graphs.query.projection import ladybug
from plait.graphs.query.reading_only import MAX_CHARACTERS, check_reads_only

_START = 15.0
"""Seconds that a query's process has to start and to open the data, beside the query's own."""


def ask_embedded(
    database: Path,
    query: str,
    parameters: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Answer:
    """Ask a database that `projection.ensure` made, with Cypher that only reads.

    Raises:
        BadInput: the query is no such Cypher, or the engine cannot run it; with its words.
        TooLarge: it took more time or memory than the limits allow.
    """
    ladybug()
    check_reads_only(query)
    return _ask("cypher", database, query, parameters, limits or Limits())


def ask_sparql(rdf: Path, query: str, limits: Limits | None = None) -> Answer:
    """Ask a file of N-Quads or N-Triples with SPARQL 1.1 (queries, no updates).

    Raises:
        BadInput: the query is no SPARQL; ``SERVICE`` is refused, for it asks other servers.
        TooLarge: it took more time or memory than the limits allow.
    """
    try:
        import pyoxigraph  # noqa: F401
    except ImportError:
        raise MissingExtra("pyoxigraph", "graph") from None
    if len(query) > MAX_CHARACTERS:
        raise BadInput(f"A query may have {MAX_CHARACTERS:,} characters.")
    import re

    if re.search(r"\bSERVICE\b", query, re.IGNORECASE):
        raise BadInput("SERVICE asks other servers; a graph here is asked alone.")
    return _ask("sparql", rdf, query, None, limits or Limits())


def ask_bolt(
    server: Server,
    query: str,
    parameters: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Answer:
    """Ask a database behind Bolt, with Cypher that only reads.

    Raises:
        BadInput: the query is no such Cypher, or the database cannot run it; with its words.
    """
    import neo4j

    limits = limits or Limits()
    check_reads_only(query)
    started = time.monotonic()
    with session(server) as opened:
        asked = neo4j.Query(query, timeout=limits.seconds)
        result = opened.run(asked, dict(parameters or {}))
        rows: list[tuple[Any, ...]] = []
        truncated = False
        for record in result:
            if len(rows) >= limits.rows:
                truncated = True
                break
            rows.append(tuple(_shaped(one) for one in record.values()))
        agent = result.consume().server.agent
        return Answer(
            tuple(result.keys()), tuple(rows), truncated, time.monotonic() - started, str(agent)
        )


def _ask(
    language: str,
    path: Path,
    query: str,
    parameters: Mapping[str, Any] | None,
    limits: Limits,
) -> Answer:
    asked = {
        "language": language,
        "path": str(path),
        "query": query,
        "parameters": dict(parameters or {}),
        "limits": asdict(limits),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "plait.graphs.query.child"],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=limits.seconds + _START,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _slow(limits) from None
    if done.returncode == -signal.SIGALRM:
        raise _slow(limits)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise TooLarge(
            "The query's process ended without an answer: it took more than "
            f"{limits.memory / 2**30:g} GiB of memory or tripped over a fault of the engine. "
            "Ask for less at once."
        ) from None
    if answer.get("error") == "memory" or "Buffer manager" in answer.get("message", ""):
        raise TooLarge(
            f"The query needs more than {limits.memory / 2**30:g} GiB of memory. Ask for less."
        )
    if "error" in answer:
        message = answer["message"].strip()
        if message.startswith("Interrupted"):
            raise _slow(limits)
        raise BadInput(f"The query cannot be run: {message}")
    return Answer(
        tuple(answer["columns"]),
        tuple(tuple(row) for row in answer["rows"]),
        bool(answer["truncated"]),
        float(answer["seconds"]),
        str(answer["engine"]),
    )


def _slow(limits: Limits) -> TooLarge:
    return TooLarge(
        f"The query took more than {limits.seconds:g} seconds and was ended. Begin from one "
        "entity, bound the length of paths, or add a LIMIT."
    )


def _shaped(value: Any) -> Any:
    """Give nodes, relationships and paths of the driver the shape that all engines share."""
    import neo4j.graph as driver

    if isinstance(value, driver.Path):
        return {
            "nodes": [_shaped(one) for one in value.nodes],
            "relationships": [_shaped(one) for one in value.relationships],
        }
    if isinstance(value, driver.Node):
        return _kept(value)
    if isinstance(value, driver.Relationship):
        ends = {
            name: node.get("id")
            for name, node in (("subject", value.start_node), ("object", value.end_node))
            if node is not None and node.get("id") is not None
        }
        return {"predicate": value.type, **ends, **_kept(value)}
    if isinstance(value, list):
        return [_shaped(one) for one in value]
    if isinstance(value, dict):
        return {key: _shaped(one) for key, one in value.items()}
    return value.iso_format() if hasattr(value, "iso_format") else value


def _kept(value: Any) -> dict[str, Any]:
    return {key: _shaped(one) for key, one in value.items() if not key.startswith("plait_")}
