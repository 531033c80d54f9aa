# SPDX-License-Identifier: Apache-2.0
"""GEXF 1.3 and 1.2 for Gephi: entities with literals as columns, statements as edges.

By the schemas of https://github.com/gephi/gexf. Edges carry predicate, source, rank, confidence and
times, so that Gephi can filter and colour by them; nodes are coloured by their sources. What Gephi
writes is read: its attributes become literals, its labels of edges predicates; places, sizes and
colours are left out.
"""

from __future__ import annotations

import colorsys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, BinaryIO

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.exchange.xml import Writer, elements, local
from plait.graphs.graph import Graph
from plait.graphs.propertygraph import name_of, with_literals
from plait.recipes.graph import ENTITY

VERSIONS = {"1.3": "http://gexf.net/1.3", "1.2": "http://www.gexf.net/1.2draft"}
"""Namespaces by version."""
_EDGE = ("predicate", "source", "rank", "confidence", "valid_from", "valid_to")
_DATATYPES = {
    "integer": "integer", "long": "integer", "short": "integer", "byte": "integer",
    "biginteger": "integer", "double": "double", "float": "double", "bigdecimal": "decimal",
    "boolean": "boolean", "anyURI": "anyURI", "date": "date",
}  # fmt: skip
"""GEXF's types of attributes; the others are texts."""
JOINED = " | "
"""What stands between several values in one column."""
_STEP = 20_000
MAX_COLUMNS = 500
"""Predicates with literals that become columns, the most frequent first."""


def read(
    path: Path, into: Imported, *, format: str, progress: Progress, predicate: str = "related"
) -> None:
    """Read GEXF of any version.

    Args:
        predicate: what an edge without a name is called.

    Raises:
        BadInput: the file is not XML, a node lacks its id or an edge an end.
    """
    columns: dict[tuple[str, str], tuple[str, str]] = {}
    done = 0
    for element in elements(path, ("attributes", "node", "edge")):
        kind = local(element.tag)
        if kind == "attributes":
            for one in element:
                if local(one.tag) == "attribute":
                    datatype = _DATATYPES.get(one.get("type", ""), "string")
                    title = one.get("title") or one.get("id", "")
                    columns[element.get("class", ""), one.get("id", "")] = (title, datatype)
            continue
        held = {}
        for one in element.iter():
            if local(one.tag) == "attvalue" and one.get("value"):
                # Version 1.1 called it `id`.
                key = one.get("for") or one.get("id", "")
                title, datatype = columns.get((kind, key), (key, "string"))
                held[title] = (one.get("value", ""), datatype)
        if kind == "node":
            _read_node(into, element, held, path)
        else:
            _read_edge(into, element, held, path, predicate)
        done += 1
        if done % _STEP == 0:
            progress(done, "reading GEXF")


def _read_node(into: Imported, element: Any, held: dict[str, tuple[str, str]], path: Path) -> None:
    identifier = element.get("id")
    if not identifier:
        raise BadInput(f"{path}: a node has no id.")
    sources = held.pop("sources", (into.source, ""))[0].split(JOINED)
    into.builder.entity(identifier, sources=sources)
    if "types" in held:
        into.builder.entity(identifier, types=held.pop("types")[0].split(JOINED))
    label = (element.get("label") or "").strip()
    if label and label != identifier:
        into.builder.label(identifier, label, source=into.source)
    for name, (value, datatype) in held.items():
        if datatype == "string":
            for one in value.split(JOINED):
                known = into.builder.file.predicates.get(name)
                _literal(into, identifier, name, one, (known and known.datatype) or "string")
        else:
            _literal(into, identifier, name, value, datatype)


def _literal(into: Imported, identifier: str, name: str, value: str, datatype: str) -> None:
    try:
        into.builder.statement(identifier, name, value=value, datatype=datatype, source=into.source)
    except BadInput:
        into.note(f"A value of '{name}' that is no {datatype} is kept as a text.")
        into.builder.statement(identifier, name, value=value, datatype="string", source=into.source)


def _read_edge(
    into: Imported, element: Any, held: dict[str, tuple[str, str]], path: Path, predicate: str
) -> None:
    start, end = element.get("source"), element.get("target")
    if not start or not end:
        raise BadInput(f"{path}: an edge has no source or no target.")
    told = {name: value for name, (value, _) in held.items()}
    name = told.get("predicate") or (element.get("label") or "").strip() or predicate
    confidence = None
    if "confidence" in told:
        try:
            confidence = float(told["confidence"])
        except ValueError:
            raise BadInput(
                f"{path}: the confidence '{told['confidence'][:40]}' is no number."
            ) from None
    if set(told) - set(_EDGE):
        into.note("Attributes of edges other than a statement's own were left out.")
    into.builder.statement(
        start,
        name,
        object=end,
        source=told.get("source", into.source),
        rank=told["rank"] if told.get("rank") in schema.RANKS else schema.NORMAL,
        confidence=confidence,
        valid_from=told.get("valid_from"),
        valid_to=told.get("valid_to"),
    )


def write(
    graph: Graph, out: BinaryIO, *, format: str, progress: Progress, version: str = "1.3"
) -> None:
    """Write a graph for Gephi; deprecated statements are left out.

    Raises:
        BadInput: the version is neither 1.3 nor 1.2.
    """
    if version not in VERSIONS:
        raise BadInput(f"GEXF has no version '{version}' here; write 1.3 or 1.2.")
    columns, edges, degrees = _parts(graph)
    writer = Writer(out)
    writer.start("gexf", xmlns=VERSIONS[version], version=version)
    writer.start("meta")
    writer.element("creator", "Plait")
    writer.element("description", graph.file.title or "A knowledge graph")
    writer.end()
    writer.start("graph", defaultedgetype="directed", mode="static")
    writer.start("attributes", class_="node")
    for place, (title, kind) in enumerate(
        [("types", "string"), ("sources", "string"), *((one, "string") for one in columns)]
    ):
        writer.element("attribute", id=f"n{place}", title=title, type=kind)
    writer.end()
    writer.start("attributes", class_="edge")
    for place, title in enumerate(_EDGE):
        kind = "double" if title == "confidence" else "string"
        writer.element("attribute", id=f"e{place}", title=title, type=kind)
    writer.end()
    _nodes(writer, graph, columns, degrees, progress)
    _edges(writer, edges, progress)
    writer.end()
    writer.end()


def _parts(graph: Graph) -> tuple[list[str], list[Any], Counter[str]]:
    """Return the columns of literals, the edges, and how many each node has."""
    import pyarrow.compute as pc

    table = graph.statements
    table = table.filter(pc.not_equal(table.column("rank"), schema.DEPRECATED))
    is_edge = pc.equal(table.column("datatype"), ENTITY)
    pairs = table.filter(pc.invert(is_edge)).group_by(["subject", "predicate"]).aggregate([])
    counted = pairs.group_by("predicate").aggregate([([], "count_all")])
    columns = sorted(
        zip(*(one.to_pylist() for one in counted.itercolumns()), strict=True),
        key=lambda one: (-one[1], one[0]),
    )
    edges = table.filter(is_edge).select(["id", "subject", "object", *_EDGE])
    degrees: Counter[str] = Counter()
    for end in ("subject", "object"):
        counted = edges.group_by(end).aggregate([([], "count_all")])
        degrees.update(dict(zip(*(one.to_pylist() for one in counted.itercolumns()), strict=True)))
    named = [str(predicate) for predicate, _ in columns[:MAX_COLUMNS]]
    return named, edges.to_batches(max_chunksize=_STEP), degrees


def _nodes(
    writer: Writer,
    graph: Graph,
    columns: list[str],
    degrees: Counter[str],
    progress: Progress,
) -> None:
    colours = _colours(sorted({tuple(one) for one in graph.entities.column("sources").to_pylist()}))
    writer.start("nodes", count=graph.entities.num_rows)
    done = 0
    for batch in with_literals(graph):
        for row, literals in batch:
            writer.start("node", id=row["id"], label=name_of(row))
            held: dict[str, dict[str, None]] = defaultdict(dict)
            for one in literals:
                held[one["predicate"]][one["value"]] = None
            values = [
                ("n0", JOINED.join(row["types"])),
                ("n1", JOINED.join(row["sources"])),
                *(
                    (f"n{place + 2}", JOINED.join(held[one]))
                    for place, one in enumerate(columns)
                    if one in held
                ),
            ]
            _values(writer, values)
            red, green, blue = colours[tuple(row["sources"])]
            # The schemas have both in GEXF's own namespace; Gephi looks at the local name alone.
            writer.element("color", r=red, g=green, b=blue)
            writer.element("size", value=round(4 + degrees[row["id"]] ** 0.5, 2))
            writer.end()
        done += len(batch)
        progress(done, "writing nodes")
    writer.end()


def _edges(writer: Writer, batches: list[Any], progress: Progress) -> None:
    writer.start("edges", count=sum(batch.num_rows for batch in batches))
    done = 0
    for batch in batches:
        for row in batch.to_pylist():
            writer.start(
                "edge",
                id=row["id"],
                source=row["subject"],
                target=row["object"],
                label=row["predicate"],
            )
            _values(
                writer,
                [
                    (f"e{place}", str(row[name]))
                    for place, name in enumerate(_EDGE)
                    if row[name] is not None
                ],
            )
            writer.end()
        done += batch.num_rows
        progress(done, "writing edges")
    writer.end()


def _values(writer: Writer, values: list[tuple[str, str]]) -> None:
    told = [(key, value) for key, value in values if value]
    if not told:
        return
    writer.start("attvalues")
    for key, value in told:
        writer.element("attvalue", for_=key, value=value)
    writer.end()


def _colours(kinds: list[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Return a colour for each set of sources, as far apart in hue as they are many."""
    made = {}
    for place, kind in enumerate(kinds):
        parts = colorsys.hls_to_rgb(place / max(1, len(kinds)), 0.5, 0.6)
        red, green, blue = (round(255 * part) for part in parts)
        made[kind] = (red, green, blue)
    return made
