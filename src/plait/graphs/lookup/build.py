# SPDX-License-Identifier: Apache-2.0
"""A graph as an index on disk (SQLite): entities by every name, statements by either end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plait.graphs.graph import Graph
from plait.graphs.identity import Identities
from plait.graphs.lookup.names import MAX_NAMES, keys_of
from plait.graphs.merging.ranking import Ranked, rank
from plait.graphs.propertygraph import name_of
from plait.graphs.view import collapsed
from plait.recipes.graph import format_graph_file

LAYOUT = 1
"""Changes when what is written changes, so that older indexes are made anew."""
_BATCH = 20_000
_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE entity (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, degree INTEGER NOT NULL,
    labels TEXT NOT NULL, types TEXT NOT NULL, sources TEXT NOT NULL
);
CREATE TABLE alias (id TEXT PRIMARY KEY, no INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE name (
    key TEXT NOT NULL, start INTEGER NOT NULL, main INTEGER NOT NULL, no INTEGER NOT NULL
);
CREATE TABLE type (type TEXT NOT NULL, no INTEGER NOT NULL);
CREATE TABLE statement (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL, subject INTEGER NOT NULL, predicate TEXT NOT NULL,
    object INTEGER, value TEXT, datatype TEXT NOT NULL, language TEXT, source TEXT NOT NULL,
    licence TEXT, confidence REAL, recorded TEXT, valid_from TEXT, valid_to TEXT,
    rank TEXT NOT NULL, evidence TEXT NOT NULL, contribution INTEGER
);
CREATE TABLE said (
    no INTEGER PRIMARY KEY, subject TEXT NOT NULL, object TEXT
);
CREATE TABLE member (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, types TEXT NOT NULL,
    sources TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE contribution (
    no INTEGER PRIMARY KEY, oid TEXT NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL
);
CREATE TABLE identity (
    no INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL, relation TEXT NOT NULL,
    source TEXT NOT NULL, method TEXT, score REAL, recorded TEXT, explanation TEXT
);
CREATE TABLE conflict (
    no INTEGER PRIMARY KEY, subject TEXT NOT NULL, predicate TEXT NOT NULL,
    decided_by TEXT NOT NULL, options TEXT NOT NULL
);
"""
_INDEXES = """
CREATE UNIQUE INDEX entity_id ON entity (id);
CREATE INDEX entity_degree ON entity (degree DESC, no);
CREATE INDEX name_key ON name (key, start, no);
CREATE INDEX type_type ON type (type, no);
CREATE UNIQUE INDEX statement_id ON statement (id);
CREATE INDEX statement_subject ON statement (subject, predicate);
CREATE INDEX statement_object ON statement (object, predicate);
CREATE INDEX identity_pair ON identity (a, b);
CREATE INDEX conflict_open ON conflict (decided_by, no);
ANALYZE;
"""


@dataclass(frozen=True)
class Contribution:
    """A commit that changed the graph."""

    oid: str
    title: str
    author: str
    statements: Callable[[], Iterable[str]]
    """The identifiers of all statements that were there after it."""


def build_index(
    graph: Graph,
    path: Path,
    history: Sequence[Contribution] = (),
    progress: Callable[[float, str], None] = lambda fraction, stage: None,
) -> None:
    """Write the index of a graph into a new file, with its conflicts and the ranks they lead to.

    Args:
        history: what brought the statements, the oldest first.
    """
    ranked = rank(graph)
    view = collapsed(ranked.graph, ranked.identities)
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
        database.execute("BEGIN")
        numbers = _entities(database, view, ranked.identities)
        progress(0.3, "statements")
        database.executemany(
            f"INSERT INTO statement VALUES ({', '.join('?' * 17)})",  # noqa: S608 only marks
            _statements(view, numbers, _brought(database, history)),
        )
        _members(database, ranked)
        progress(0.7, "identities and conflicts")
        database.executemany(
            "INSERT INTO identity VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", _identities(graph)
        )
        database.executemany("INSERT INTO conflict VALUES (NULL, ?, ?, ?, ?)", _conflicts(ranked))
        progress(0.8, "indexes")
        database.execute("COMMIT")
        database.executescript(_INDEXES)
        database.executemany("INSERT INTO about VALUES (?, ?)", _about(database, graph))
    finally:
        database.close()


def _entities(database: sqlite3.Connection, view: Graph, identities: Identities) -> dict[str, int]:
    numbers: dict[str, int] = {
        identifier: no for no, identifier in enumerate(view.entities.column("id").to_pylist())
    }
    degrees = [0] * len(numbers)
    for column in ("subject", "object"):
        for batch in view.statements.column(column).chunks:
            for one in batch.to_pylist():
                if one is not None and one in numbers:
                    degrees[numbers[one]] += 1

    def rows() -> Iterator[Sequence[Any]]:
        for row in _rows(view.entities):
            no = numbers[row["id"]]
            yield (
                no, row["id"], name_of(row), degrees[no], _json(row["labels"]),
                _json(row["types"]), _json(row["sources"]),
            )  # fmt: skip

    def names() -> Iterator[Sequence[Any]]:
        for row in _rows(view.entities):
            no = numbers[row["id"]]
            labels = sorted(row["labels"], key=lambda one: (not one["main"], one["text"]))
            seen: set[tuple[str, bool]] = set()
            for label in labels[:MAX_NAMES] or [{"text": row["id"], "main": True}]:
                for place, key in enumerate(keys_of(label["text"])):
                    if (key, place > 0) not in seen:
                        seen.add((key, place > 0))
                        yield key, int(place > 0), int(label["main"]), no

    database.executemany("INSERT INTO entity VALUES (?, ?, ?, ?, ?, ?, ?)", rows())
    database.executemany("INSERT INTO name VALUES (?, ?, ?, ?)", names())
    database.executemany(
        "INSERT INTO type VALUES (?, ?)",
        ((one, numbers[row["id"]]) for row in _rows(view.entities) for one in row["types"]),
    )
    database.executemany(
        "INSERT OR IGNORE INTO alias VALUES (?, ?)",
        (
            (one, numbers[stands])
            for one, stands in identities.representative.items()
            if one != stands and stands in numbers
        ),
    )
    return numbers


def _brought(database: sqlite3.Connection, history: Sequence[Contribution]) -> Mapping[str, int]:
    """Return by which contribution each statement came first."""
    first: dict[str, int] = {}
    for number, one in enumerate(history):
        database.execute(
            "INSERT INTO contribution VALUES (?, ?, ?, ?)",
            (number, one.oid, one.title, one.author),
        )
        for identifier in one.statements():
            first.setdefault(identifier, number)
    return first


def _members(database: sqlite3.Connection, ranked: Ranked) -> None:
    """Keep what each member of a class is called and says, for who asks whether it is one."""
    of = ranked.identities.representative
    if not of:
        return
    database.executemany(
        "INSERT INTO member VALUES (?, ?, ?, ?, ?)",
        (
            (row["id"], name_of(row), _json(row["labels"]), _json(row["types"]),
             _json(row["sources"]))
            for row in _rows(ranked.graph.entities)
            if row["id"] in of
        ),
    )  # fmt: skip
    numbers = dict(database.execute("SELECT id, no FROM statement"))
    columns = ("id", "subject", "object")
    database.executemany(
        "INSERT INTO said VALUES (?, ?, ?)",
        (
            (numbers[row["id"]], row["subject"], row["object"])
            for row in _rows(ranked.graph.statements.select(columns))
            if row["id"] in numbers and (row["subject"] in of or row["object"] in of)
        ),
    )


def _statements(
    view: Graph, numbers: dict[str, int], brought: Mapping[str, int]
) -> Iterator[Sequence[Any]]:
    for no, row in enumerate(_rows(view.statements)):
        if row["subject"] not in numbers or (row["object"] or row["subject"]) not in numbers:
            continue  # it names an entity that the graph does not describe
        yield (
            no, row["id"], numbers[row["subject"]], row["predicate"],
            None if row["object"] is None else numbers[row["object"]], row["value"],
            row["datatype"], row["language"], row["source"], row["licence"], row["confidence"],
            row["recorded"], row["valid_from"], row["valid_to"], row["rank"],
            _json(row["evidence"]), brought.get(row["id"]),
        )  # fmt: skip


def _identities(graph: Graph) -> Iterator[Sequence[Any]]:
    for row in _rows(graph.identities):
        yield (
            row["a"], row["b"], row["relation"], row["source"], row["method"], row["score"],
            row["recorded"], row["explanation"],
        )  # fmt: skip


def _conflicts(ranked: Ranked) -> Iterator[Sequence[Any]]:
    for one in ranked.conflicts:
        options = [asdict(option) for option in one.options]
        yield one.subject, one.predicate, one.decided_by, _json(options)


def _about(database: sqlite3.Connection, graph: Graph) -> list[tuple[str, str]]:
    def counted(query: str) -> dict[str, int]:
        return dict(database.execute(query).fetchall())

    def one(query: str) -> int:
        return int(database.execute(query).fetchone()[0])

    found = {
        "entities": one("SELECT count(*) FROM entity"),
        "statements": one("SELECT count(*) FROM statement"),
        "predicates": counted(
            "SELECT predicate, count(*) FROM statement GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1000"
        ),
        "sources": counted(
            "SELECT source, count(*) FROM statement GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1000"
        ),
        "types": counted(
            "SELECT type, count(*) FROM type GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1000"
        ),
        "conflicts": one("SELECT count(*) FROM conflict"),
        "open": one("SELECT count(*) FROM conflict WHERE decided_by = ''"),
        "identities": graph.identities.num_rows,
    }
    return [("counts", _json(found)), ("file", format_graph_file(graph.file))]


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def _json(value: Iterable[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
