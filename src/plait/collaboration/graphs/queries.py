# SPDX-License-Identifier: Apache-2.0
"""Cypher and SPARQL over a graph of the hub; each query in a process of its own, for reading."""

from __future__ import annotations

from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Any

from plait.collaboration.graphs.copies import GraphRevision, copy_of
from plait.errors import BadInput, NotReady
from plait.graphs.query import Answer, Limits, ask_embedded, ask_sparql
from plait.graphs.query.reading_only import MAX_CHARACTERS, check_reads_only
from plait.hub import Hub

LANGUAGES = ("cypher", "sparql")
MAX_SECONDS = 10.0
MAX_ROWS = 10_000
MEMORY = 2**30
_AT_ONCE = 2
"""Queries that one server process computes at the same time."""
_WAIT = 10.0
_turns = BoundedSemaphore(_AT_ONCE)


def ask(
    hub: Hub,
    found: GraphRevision,
    language: str,
    query: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seconds: float = MAX_SECONDS,
    rows: int = 1_000,
) -> Answer:
    """Ask a graph, which sees what is one as one, and of conflicts the preferred.

    Raises:
        BadInput: the query writes, reaches out of the graph, or is not in the language.
        TooLarge: it took more time or memory than a query may.
        NotReady: the graph is still being read, or too many ask.
    """
    if language not in LANGUAGES:
        raise BadInput(f"'{language}' is no language of queries; they are cypher and sparql.")
    if not query.strip() or len(query) > MAX_CHARACTERS:
        raise BadInput(f"A query has between 1 and {MAX_CHARACTERS:,} characters.")
    if parameters and language == "sparql":
        raise BadInput("SPARQL takes no parameters; write the values into the query.")
    if language == "cypher":
        check_reads_only(query)  # before anything is made for it
    copy = copy_of(hub, found, language)
    limits = Limits(
        seconds=max(0.1, min(seconds, MAX_SECONDS)),
        rows=max(1, min(rows, MAX_ROWS)),
        memory=MEMORY,
    )
    if not _turns.acquire(timeout=_WAIT):
        raise NotReady("Many queries are being computed. Ask again in a moment.")
    try:
        if language == "sparql":
            return ask_sparql(copy, query, limits)
        return ask_embedded(copy, query, parameters, limits)
    finally:
        _turns.release()
