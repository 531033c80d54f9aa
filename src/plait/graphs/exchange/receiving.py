# SPDX-License-Identifier: Apache-2.0
"""Reading a graph out of Neo4j and whatever else speaks Bolt, a page at a time.

Pages are cut by the nodes' own key, in its order: first all nodes, then the relationships that
start from each page of nodes. Rows come as a stream, and each page's rows go into a file beside the
result (the *spool*) together with the place where the next begins; a run that was interrupted reads
that file and goes on from its last place. No more than a page of rows is held apart from the graph.

Nodes are paged label by label, since databases index a property of a label.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.exchange.bolt import TRANSFER, Server, session
from plait.graphs.exchange.cypher import quoted
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.graph import Builder
from plait.graphs.propertygraph import LABELS, LITERALS, NODE, RESERVED
from plait.recipes.graph import GraphFile, Source

PAGE = 2_000
"""Nodes of a page, and rows between two places that the spool keeps."""
_STATEMENT = {"id", "source", "licence", "confidence", "recorded", "valid_from", "valid_to",
              "rank", "evidence"}  # fmt: skip


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
        key: the property that identifies a node: texts or whole numbers, no two alike.
        spool: a file that keeps what was read, so that an interrupted run goes on; whoever asked
            removes it once the graph is safe.

    Raises:
        BadInput: a node lacks the key, two share it, keys are of several kinds, or the spool is of
            another transfer.
    """
    known = file or GraphFile()
    sources = {source: Source(), **known.sources}
    made = Imported(Builder(replace(known, sources=sources)), source)
    with session(server) as opened:
        labels = _labels(opened, key)
        kept = _Spool(spool, {"from": [server.uri, server.database], "key": key})
        # Closed at once where it ends early: the spool must be whole when the next run reads it.
        with closing(_rows(opened, key, labels, kept)) as rows:
            for done, (kind, row) in enumerate(rows, start=1):
                if kind == "relationship":
                    _relationship(made, row)
                elif row["id"] in made.builder:
                    raise _shared(key, row["id"])
                else:
                    _node(made, row, name)
                if done % PAGE == 0:
                    progress(done, f"reading {kind}s")
    return made


@dataclass(frozen=True)
class _Place:
    """Where reading is: past this key of this label, among nodes or among relationships.

    Among relationships `key` is the node that they start from and `end` the one that was reached;
    with `end` null all of the node's have been read.
    """

    kind: str = "node"
    label: str | None = None
    key: Any = None
    end: Any = None


def _rows(opened: Any, key: str, labels: Mapping[str, int], kept: _Spool) -> Generator[list[Any]]:
    """Yield rows: first those that an earlier run kept, then the others as they are read."""
    yield from kept.kept()
    yield from kept.keeping(_pages(opened, key, labels, kept.place, kept.read))


def _labels(opened: Any, key: str) -> dict[str, int]:
    """Return the labels to page by, in order, and how many nodes each has that no former had."""
    nodes: Counter[str] = Counter()
    missing = 0
    for row in opened.run(
        f"MATCH (n) WHERE NOT n:{TRANSFER} "
        f"RETURN labels(n) AS labels, count(*) AS nodes, count(n.{quoted(key)}) AS keyed"
    ):
        nodes[_first(row["labels"])] += row["nodes"]
        missing += row["nodes"] - row["keyed"]
    if missing:
        raise BadInput(
            f"{missing:,} nodes have no property '{key}'. Name one that all nodes have with "
            "--key; a database's own identifiers change and are not used."
        )
    return dict(sorted(nodes.items()))


def _first(labels: list[str]) -> str:
    """Return the label that a node of several is read by; the empty one where it has none."""
    return NODE if NODE in labels else min(labels, default="")


def _pages(
    opened: Any, key: str, labels: Mapping[str, int], start: _Place, read: Counter[str]
) -> Iterator[tuple[list[Any] | None, _Place]]:
    """Yield rows, each with the place after it; None where there is a place alone."""
    if start.kind == "node":
        yield from _nodes(opened, key, labels, start, read)
        start = _Place("relationship")
    yield from _relationships(opened, key, labels, start)


def _nodes(
    opened: Any, key: str, labels: Mapping[str, int], start: _Place, read: Counter[str]
) -> Iterator[tuple[list[Any] | None, _Place]]:
    k = quoted(key)
    for label, last in _after(labels, start):
        more = True
        while more:
            more = False
            for row in opened.run(
                f"MATCH {_of(label)} AND ($last IS NULL OR n.{k} > $last) "
                f"WITH n ORDER BY n.{k} LIMIT $most "
                f"RETURN n.{k} AS key, labels(n) AS labels, properties(n) AS properties "
                f"ORDER BY key",
                last=last,
                most=PAGE,
            ):
                more = True
                if row["key"] == last:
                    raise _shared(key, last)
                last = _known(row["key"], key)
                if _first(row["labels"]) != label:
                    continue
                read[label] += 1
                if read[label] > labels[label]:
                    break  # the database's order goes in circles; told below
                held = {
                    "id": str(last),
                    "labels": row["labels"],
                    "properties": {one: _plain(many) for one, many in row["properties"].items()},
                    "key": key,
                }
                yield ["node", held], _Place("node", label, last)
            more = more and read[label] <= labels[label]
        if read[label] != labels[label]:
            raise BadInput(
                f"Of {labels[label]:,} nodes with the label '{label}' {read[label]:,} could be "
                f"read in the order of '{key}': several nodes share a value of it, or values are "
                "texts here and numbers there, or the database was changed meanwhile. Name another "
                "property with --key, or try again when nobody writes."
            )


def _relationships(
    opened: Any, key: str, labels: Mapping[str, int], start: _Place
) -> Iterator[tuple[list[Any] | None, _Place]]:
    """Read relationships by the node that they start from, a page of nodes at a time."""
    k = quoted(key)
    for label, last in _after(labels, start):
        # Of a node that was left in the middle, what comes from its last end on is read again.
        end = start.end if label == start.label else None
        while True:
            within = ">=" if end is not None else ">"
            starts = opened.run(
                f"MATCH {_of(label)} AND ($last IS NULL OR n.{k} {within} $last) "
                f"WITH n ORDER BY n.{k} LIMIT $most "
                f"RETURN n.{k} AS key, labels(n) AS labels ORDER BY key",
                last=last,
                most=PAGE,
            ).data()
            if not starts:
                break
            mine = {row["key"] for row in starts if _first(row["labels"]) == label}
            for row in opened.run(
                f"MATCH {_of(label, '-[r]->(b)')} AND n.{k} >= $low AND n.{k} <= $high "
                f"AND ($end IS NULL OR n.{k} > $low OR coalesce(b.{k} >= $end, true)) "
                f"RETURN n.{k} AS subject, type(r) AS kind, b.{k} AS object, "
                "properties(r) AS properties ORDER BY subject, object",
                low=starts[0]["key"],
                high=starts[-1]["key"],
                end=end,
            ):
                if row["subject"] not in mine:
                    continue
                held = {
                    "subject": str(row["subject"]),
                    "predicate": row["kind"],
                    "object": str(row["object"]),
                    "properties": {one: _plain(many) for one, many in row["properties"].items()},
                }
                place = _Place("relationship", label, row["subject"], row["object"])
                yield ["relationship", held], place
            last, end = starts[-1]["key"], None
            yield None, _Place("relationship", label, last)


def _after(labels: Mapping[str, int], start: _Place) -> Iterator[tuple[str, Any]]:
    """Yield the labels that are not done, each with the last key that was read of it."""
    for label in labels:
        if start.label is None or label >= start.label:
            yield label, start.key if label == start.label else None


def _of(label: str, more: str = "") -> str:
    """Return the pattern of the nodes `n` that have a label, or none, and the rest of the path."""
    if label:
        return f"(n:{quoted(label)}){more} WHERE NOT n:{TRANSFER}"
    return f"(n){more} WHERE size(labels(n)) = 0"


def _known(value: Any, key: str) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BadInput(
            f"A node's '{key}' is {value!r}; texts and whole numbers can identify a node. Name "
            "another property with --key."
        )
    return value


def _shared(key: str, value: Any) -> BadInput:
    return BadInput(
        f"Two nodes share the value {value!r} of '{key}'; name a unique one with --key."
    )


class _Spool:
    """What was read, in a file: a line that says of what, then rows and places, each a line."""

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path, self._about = path, about
        self.place = _Place()
        self.read: Counter[str] = Counter()
        """How many nodes were read, by the label that they are read by."""

    def kept(self) -> Iterator[list[Any]]:
        """Yield what an earlier run kept, up to its last place, and cut what is after that.

        Raises:
            BadInput: the file is of another transfer.
        """
        if self._path is None or not self._path.is_file():
            return
        whole = read = 0
        fresh: list[list[Any]] = []
        with self._path.open("rb") as lines:
            for line in lines:
                row = _line(line)
                if row is None:
                    break  # cut by the interruption; read again
                read += len(line)
                if row[0] == "of":
                    if row[1] != self._about:
                        raise BadInput(
                            f"{self._path} keeps an unfinished transfer of {row[1]}, and this one "
                            f"is of {self._about}. Finish that one, or remove the file."
                        )
                elif row[0] == "at":
                    self.place, whole = _Place(*row[1:]), read
                    for one in fresh:
                        if one[0] == "node":
                            self.read[_first(one[1]["labels"])] += 1
                        yield one
                    fresh.clear()
                else:
                    fresh.append(row)
        os.truncate(self._path, whole)

    def keeping(self, pages: Iterator[tuple[list[Any] | None, _Place]]) -> Iterator[list[Any]]:
        """Yield rows as they are read, each kept before; and from time to time their place."""
        if self._path is None:
            yield from (row for row, _ in pages if row is not None)
            return
        with self._path.open("ab") as out:
            if out.tell() == 0:
                _write(out, ["of", self._about])
            fresh, place = 0, None
            try:
                for row, place in pages:
                    if row is not None:
                        _write(out, row)
                        fresh += 1
                    if fresh >= PAGE:
                        _write(out, ["at", *astuple(place)])
                        out.flush()
                        fresh, place = 0, None
                    if row is not None:
                        yield row
            finally:
                if place is not None:
                    _write(out, ["at", *astuple(place)])


def _write(out: BinaryIO, row: list[Any]) -> None:
    out.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")


def _line(line: bytes) -> list[Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, list) and len(row) >= 2 else None


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return value.iso_format() if hasattr(value, "iso_format") else str(value)


def _node(made: Imported, row: Mapping[str, Any], name: str) -> None:
    properties = row["properties"]
    identifier = row["id"]
    types = [label for label in row["labels"] if label not in (NODE, TRANSFER)]
    ours = NODE in row["labels"] and isinstance(properties.get("sources"), list)
    sources = properties["sources"] if ours else [made.source]
    made.builder.entity(identifier, types=types, sources=sources)
    if ours:
        try:
            labels = [json.loads(one) for one in properties.get(LABELS, [])]
            literals = [json.loads(one) for one in properties.get(LITERALS, [])]
            made.builder.entity(identifier, labels=labels)
            for one in literals:
                made.builder.add("statements", one)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise BadInput(
                f"The node '{identifier}' has {LABELS} or {LITERALS} that Plait did not write; "
                "remove these properties."
            ) from None
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
