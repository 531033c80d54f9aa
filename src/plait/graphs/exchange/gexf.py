# SPDX-License-Identifier: Apache-2.0
"""GEXF 1.3 and 1.2 for Gephi: entities with literals as columns, statements as edges.

By the schemas of https://github.com/gephi/gexf. Edges carry predicate, source, rank, confidence and
times, so that Gephi can filter and colour by them; nodes are coloured by their sources.
"""

from __future__ import annotations

import colorsys
from collections import Counter, defaultdict
from typing import Any, BinaryIO

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.exchange.formats import Progress
from plait.graphs.exchange.xml import Writer
from plait.graphs.graph import Graph
from plait.graphs.propertygraph import name_of
from plait.recipes.graph import ENTITY

VERSIONS = {"1.3": "http://gexf.net/1.3", "1.2": "http://www.gexf.net/1.2draft"}
"""Namespaces by version."""
_EDGE = ("predicate", "source", "rank", "confidence", "valid_from", "valid_to")
_STEP = 20_000
MAX_COLUMNS = 500
"""Predicates with literals that become columns, the most frequent first."""


def write(
    graph: Graph, out: BinaryIO, *, format: str, progress: Progress, version: str = "1.3"
) -> None:
    """Write a graph for Gephi; deprecated statements are left out.

    Raises:
        BadInput: the version is neither 1.3 nor 1.2.
    """
    if version not in VERSIONS:
        raise BadInput(f"GEXF has no version '{version}' here; write 1.3 or 1.2.")
    literals, edges, degrees = _parts(graph)
    columns = [
        predicate
        for predicate, _ in Counter(
            predicate for held in literals.values() for predicate in held
        ).most_common(MAX_COLUMNS)
    ]
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
    _nodes(writer, graph, literals, columns, degrees, progress)
    _edges(writer, edges, progress)
    writer.end()
    writer.end()


def _parts(graph: Graph) -> tuple[dict[str, dict[str, list[str]]], list[Any], Counter[str]]:
    import pyarrow.compute as pc

    table = graph.statements
    table = table.filter(pc.not_equal(table.column("rank"), schema.DEPRECATED))
    is_edge = pc.equal(table.column("datatype"), ENTITY)
    literals: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    plain = table.filter(pc.invert(is_edge)).select(["subject", "predicate", "value"])
    for batch in plain.to_batches(max_chunksize=_STEP):
        for row in batch.to_pylist():
            held = literals[row["subject"]][row["predicate"]]
            if row["value"] not in held:
                held.append(row["value"])
    edges = table.filter(is_edge).select(["id", "subject", "object", *_EDGE])
    degrees: Counter[str] = Counter()
    for end in ("subject", "object"):
        counted = edges.group_by(end).aggregate([([], "count_all")])
        degrees.update(
            dict(
                zip(
                    counted.column(end).to_pylist(),
                    counted.column("count_all").to_pylist(),
                    strict=True,
                )
            )
        )
    return literals, edges.to_batches(max_chunksize=_STEP), degrees


def _nodes(
    writer: Writer,
    graph: Graph,
    literals: dict[str, dict[str, list[str]]],
    columns: list[str],
    degrees: Counter[str],
    progress: Progress,
) -> None:
    colours = _colours(sorted({tuple(one) for one in graph.entities.column("sources").to_pylist()}))
    writer.start("nodes", count=graph.entities.num_rows)
    done = 0
    for batch in graph.entities.to_batches(max_chunksize=_STEP):
        for row in batch.to_pylist():
            writer.start("node", id=row["id"], label=name_of(row))
            held = literals.get(row["id"], {})
            values = [
                ("n0", " | ".join(row["types"])),
                ("n1", " | ".join(row["sources"])),
                *(
                    (f"n{place + 2}", " | ".join(held[one]))
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
        done += batch.num_rows
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
