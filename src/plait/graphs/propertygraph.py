# SPDX-License-Identifier: Apache-2.0
"""A graph as property graphs have it: nodes with properties, relationships with properties.

Entities are nodes with the label ``Entity`` and a label for each class; statements about two
entities are relationships whose type is the predicate and whose properties say all that is about
the statement. Literals are properties of their node, lists where there are several; since
properties have no room for where they come from, ``plait_literals`` holds their statements whole,
and ``plait_labels`` the names, as JSON: what was written into a database is read back without
loss. Nothing is keyed on a database's own identifiers, which change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plait.graphs import schema
from plait.graphs.graph import Graph
from plait.recipes.graph import ENTITY

NODE = "Entity"
LITERALS = "plait_literals"
LABELS = "plait_labels"
BATCH = 2_000
_ABOUT = (
    "id", "source", "licence", "confidence", "recorded", "valid_from", "valid_to", "rank",
    "evidence",
)  # fmt: skip
RESERVED = ("id", "name", "names", "types", "sources", LITERALS, LABELS)
"""Properties of a node that are not predicates."""


def name_of(entity: Mapping[str, Any], language: str = "en") -> str:
    """Return the name that an entity is shown by: in a language, else in any, else its identifier.

    Main names come before others, and of several the first in the alphabet.
    """
    labels = entity["labels"]
    if not labels:
        return str(entity["id"])
    best = min(
        labels,
        key=lambda one: (
            not one["main"],
            one["language"] != language,
            one["language"] != "",
            one["text"],
        ),
    )
    return str(best["text"])


def nodes(graph: Graph, *, deprecated: bool = False) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of nodes: ``{"id", "labels", "properties"}``."""
    for batch in with_literals(graph, deprecated=deprecated):
        made = []
        for row, held in batch:
            properties: dict[str, Any] = {
                "id": row["id"],
                "name": name_of(row),
                "names": sorted({one["text"] for one in row["labels"]}),
                "types": row["types"],
                "sources": row["sources"],
            }
            for key, values in _by_predicate(held).items():
                properties[key if key not in RESERVED else f"{key}_"] = (
                    values[0] if len(values) == 1 else values
                )
            if row["labels"]:
                properties[LABELS] = [
                    json.dumps(one, ensure_ascii=False, sort_keys=True) for one in row["labels"]
                ]
            if held:
                properties[LITERALS] = [
                    json.dumps({k: v for k, v in one.items() if v not in (None, [])},
                               ensure_ascii=False)
                    for one in held
                ]  # fmt: skip
            made.append({"id": row["id"], "labels": row["types"], "properties": properties})
        yield made


def relationships(
    graph: Graph, *, deprecated: bool = False
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield, for each predicate, batches of ``{"subject", "object", "properties"}``."""
    import pyarrow.compute as pc

    table = graph.statements.filter(pc.equal(graph.statements.column("datatype"), ENTITY))
    if not deprecated:
        table = table.filter(pc.not_equal(table.column("rank"), schema.DEPRECATED))
    # A stable sort: within a predicate rows stay in canonical order.
    table = table.sort_by("predicate").combine_chunks()
    ends = pc.run_end_encode(table.column("predicate").combine_chunks()).run_ends.to_pylist()
    for start, end in zip([0, *ends], ends, strict=False):
        held = table.slice(start, end - start)
        predicate = held.column("predicate")[0].as_py()
        for batch in held.to_batches(max_chunksize=BATCH):
            yield (
                predicate,
                [
                    {
                        "subject": row["subject"],
                        "object": row["object"],
                        "properties": {
                            name: row[name] for name in _ABOUT if row[name] not in (None, [])
                        },
                    }
                    for row in batch.to_pylist()
                ],
            )


def with_literals(
    graph: Graph, *, deprecated: bool = False
) -> Iterator[list[tuple[dict[str, Any], list[dict[str, Any]]]]]:
    """Yield batches of entities, each with the statements that give it literals.

    Both tables are sorted by the entity, so that they are read side by side and neither is held as
    Python's objects.
    """
    import pyarrow.compute as pc

    table = graph.statements.filter(pc.not_equal(graph.statements.column("datatype"), ENTITY))
    if not deprecated:
        table = table.filter(pc.not_equal(table.column("rank"), schema.DEPRECATED))
    rows = (row for batch in table.to_batches(max_chunksize=BATCH) for row in batch.to_pylist())
    literal = next(rows, None)
    for batch in graph.entities.to_batches(max_chunksize=BATCH):
        made = []
        for entity in batch.to_pylist():
            # By code points, as Arrow sorts by their bytes in UTF-8.
            while literal is not None and literal["subject"] < entity["id"]:
                literal = next(rows, None)  # of what is no entity of the table
            held = []
            while literal is not None and literal["subject"] == entity["id"]:
                held.append(literal)
                literal = next(rows, None)
            made.append((entity, held))
        yield made


def typed(value: str, datatype: str) -> Any:
    """Return a literal as a database's own value: a whole number, a number, a truth or a text."""
    if datatype == "integer" and abs(int(value)) < 2**63:
        return int(value)
    if datatype in ("decimal", "double"):
        return float(value.replace("INF", "inf"))
    if datatype == "boolean":
        return value == "true"
    return value


def _by_predicate(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return each predicate's values, preferred ones alone where some are; of one kind each."""
    held: dict[str, list[Any]] = {}
    for predicate in sorted({row["predicate"] for row in rows}):
        mine = [row for row in rows if row["predicate"] == predicate]
        best = [row for row in mine if row["rank"] == schema.PREFERRED] or mine
        values: list[Any] = []
        for row in best:
            value = typed(row["value"], row["datatype"])
            if value not in values:
                values.append(value)
        if len({type(value) for value in values}) > 1:
            # Lists in Cypher hold values of one kind.
            values = [str(value) for value in values]
        held[predicate] = values
    return held
