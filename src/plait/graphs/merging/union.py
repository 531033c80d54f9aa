# SPDX-License-Identifier: Apache-2.0
"""Contributions over one base united: nothing is deleted, and no order is better than another.

``merge(base, [c1 … cn])`` is a function of the *set* of contributions: what each changed of the
base is gathered, and where two changed the same cell the later or surer stays. What a contribution
left out of the base becomes deprecated instead of disappearing, so that every merge can be undone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput, TooLarge
from plait.graphs import schema
from plait.graphs.bounds import available_memory
from plait.graphs.gathering import joined, packed
from plait.graphs.graph import Graph, empty, ordered
from plait.graphs.merging.ranking import Ranked, rank
from plait.recipes.graph import GraphFile, Predicate, Source

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 50_000_000
MEMORY = 12 * 2**30
"""Bytes that a merge may take at most, where so much is free; it holds every table three times."""
SLICE = 1 << 15
"""Statements that differ between graphs and are joined in one go, as Python's objects."""

_MUTABLE = ("confidence", "recorded", "licence", "rank", "evidence")


@dataclass(frozen=True)
class Merged:
    """What a merge made, and how it came about."""

    ranked: Ranked
    added: Mapping[str, int]
    """New rows by table."""
    deprecated: int
    """Statements of the base that a contribution left out."""
    notes: tuple[str, ...]

    @property
    def graph(self) -> Graph:
        """The merged graph."""
        return self.ranked.graph


def merge(base: Graph | None, contributions: Sequence[Graph]) -> Merged:
    """Unite a base (None: there is none) and contributions made from it, and rank what conflicts.

    Raises:
        BadInput: the contributions' ``graph.yaml`` say different things of one predicate.
        TooLarge: the tables would not fit into memory; with the figure.
    """
    base = base or empty()
    graphs = (base, *contributions)
    _check_size(graphs)
    notes: list[str] = []
    statements, deprecated = _statements(base, contributions)
    united = Graph(
        entities=unite_entities([graph.entities for graph in graphs]),
        statements=statements,
        identities=_identities(graphs),
        decisions=_decisions(graphs),
        file=merge_files(base.file, [one.file for one in contributions], notes),
    )
    added = {
        name: united.table(name).num_rows - base.table(name).num_rows for name in schema.TABLES
    }
    return Merged(rank(united), added, deprecated, tuple(notes))


def _check_size(graphs: Sequence[Graph]) -> None:
    size = sum(graph.table(name).nbytes for graph in graphs for name in schema.TABLES)
    rows = sum(graph.statements.num_rows for graph in graphs)
    free = available_memory()
    allowed = MEMORY if free is None else min(MEMORY, free)
    if 3 * size > allowed:
        why = "are allowed" if allowed == MEMORY else "are free on this machine"
        raise TooLarge(
            f"Merging these graphs ({rows:,} statements) would take about {3 * size / 2**30:.1f} "
            f"GiB of memory; {allowed / 2**30:.1f} {why}. Split the graph by subject, or "
            "contribute only what is new."
        )
    if rows > MAX_ROWS:
        raise TooLarge(
            f"These graphs have {rows:,} statements together; {MAX_ROWS:,} can be merged. Split "
            "the graph by subject."
        )


def unite_entities(tables: Sequence[pa.Table]) -> pa.Table:
    """Unite the entities of tables by identifier: labels, types and sources are unions."""
    pa = schema.arrow()
    import pyarrow.compute as pc

    table = pa.concat_tables(tables)
    counted = table.group_by("id").aggregate([([], "count_all")])
    several = counted.filter(pc.greater(counted.column("count_all"), 1)).column("id")
    shared = pc.is_in(table.column("id"), value_set=several.combine_chunks())
    held: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in table.filter(shared).to_pylist():
        held[row["id"]].append(row)
    rows = [_entity(rows) for rows in held.values()]
    joint = pa.Table.from_pylist(rows, schema=schema.schema("entities"))
    return ordered("entities", pa.concat_tables([table.filter(pc.invert(shared)), joint]))


def _entity(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    labels: dict[tuple[str, str, str], bool] = {}
    for row in rows:
        for one in row["labels"]:
            key = (one["text"], one["language"], one["source"])
            labels[key] = labels.get(key, False) or one["main"]
    return {
        "id": rows[0]["id"],
        "labels": [
            {"text": text, "language": language, "source": source, "main": main}
            for (text, language, source), main in sorted(labels.items())
        ],
        "types": sorted({one for row in rows for one in row["types"]}),
        "sources": sorted({one for row in rows for one in row["sources"]}),
    }


def _statements(base: Graph, contributions: Sequence[Graph]) -> tuple[pa.Table, int]:
    """Unite statements; of those that are there several times, what differs is joined."""
    pa = schema.arrow()
    import pyarrow.compute as pc

    tables = [base.statements, *(one.statements for one in contributions)]
    # Rows that are the same everywhere are most rows, and are never looked at one by one.
    everything = pa.concat_tables(tables)
    key = ["id", *_MUTABLE[:-1]]
    flat = everything.select(key).append_column(
        "evidence", pc.binary_join(everything.column("evidence"), "\x1f")
    )
    kinds = flat.group_by([*key, "evidence"]).aggregate([([], "count_all")])
    by_id = kinds.group_by("id").aggregate([([], "count_all")])
    differ = set(by_id.filter(pc.greater(by_id.column("count_all"), 1)).column("id").to_pylist())
    left_out = _left_out(base, contributions)
    special = differ | left_out
    chosen = pa.array(sorted(special), pa.string())
    seen = _first_of_each(everything.column("id"))
    plain = pc.and_(seen, pc.invert(pc.is_in(everything.column("id"), value_set=chosen)))
    parts = [everything.filter(plain)]
    # Where a contribution weighs every statement anew, all rows come this way: a slice at a time.
    for start in range(0, len(chosen), SLICE):
        rows = _joined_rows(base, contributions, chosen.slice(start, SLICE), left_out)
        parts.append(packed("statements", rows))
    return ordered("statements", pa.concat_tables(parts)), len(left_out)


def _first_of_each(identifiers: pa.ChunkedArray) -> pa.Array:
    """Mark the first row of each identifier."""
    pa = schema.arrow()
    import numpy as np

    table = pa.table({"id": identifiers, "place": pa.array(np.arange(len(identifiers)))})
    first = table.group_by("id").aggregate([("place", "min")]).column("place_min").to_numpy()
    mask = np.zeros(len(identifiers), dtype=bool)
    mask[first] = True
    return pa.array(mask)


def _left_out(base: Graph, contributions: Sequence[Graph]) -> set[str]:
    import pyarrow.compute as pc

    missing: set[str] = set()
    held = base.statements.column("id")
    kept = base.statements.filter(
        pc.not_equal(base.statements.column("rank"), schema.DEPRECATED)
    ).column("id")
    if not len(held):
        return missing
    for one in contributions:
        there = pc.is_in(kept, value_set=one.statements.column("id").combine_chunks())
        missing.update(kept.filter(pc.invert(there)).to_pylist())
    return missing


def _joined_rows(
    base: Graph,
    contributions: Sequence[Graph],
    chosen: pa.Array,
    left_out: set[str],
) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    def of(graph: Graph) -> dict[str, dict[str, Any]]:
        table = graph.statements
        return {
            row["id"]: row
            for row in table.filter(pc.is_in(table.column("id"), value_set=chosen)).to_pylist()
        }

    first = of(base)
    others = [of(one) for one in contributions]
    rows = []
    for identifier in chosen.to_pylist():
        start = first.get(identifier)
        versions = [found[identifier] for found in others if identifier in found]
        row = _row(start, versions)
        if identifier in left_out:
            row["rank"] = schema.DEPRECATED
        rows.append(row)
    return rows


def _row(start: dict[str, Any] | None, versions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join the versions of a statement: a cell that nobody changed stays, changes are joined."""
    if not versions:
        assert start is not None
        return dict(start)
    if start is None:
        row = dict(versions[0])
        for other in versions[1:]:
            row = joined(row, other)
        row["evidence"] = sorted(set(row["evidence"]))
        return row
    row = dict(start)
    for column in _MUTABLE:
        changed = [one for one in versions if one[column] != start[column]]
        if not changed:
            continue
        together = changed[0]
        for other in changed[1:]:
            together = joined(together, other)
        row[column] = together[column]
    # Evidence is never lost, even where somebody left it out.
    row["evidence"] = sorted({*start["evidence"], *row["evidence"]})
    return row


def _identities(graphs: Sequence[Graph]) -> pa.Table:
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for graph in graphs:
        for row in graph.identities.to_pylist():
            key = tuple(row[name] for name in schema.KEYS["identities"])
            rows[key] = row if key not in rows else max(rows[key], row, key=_newest)
    return _from(rows.values(), "identities")


def _decisions(graphs: Sequence[Graph]) -> pa.Table:
    rows: dict[str, dict[str, Any]] = {}
    for graph in graphs:
        for row in graph.decisions.to_pylist():
            held = rows.get(row["statement"])
            later = held is None or _decided(row) > _decided(held)
            rows[row["statement"]] = row if later else rows[row["statement"]]
    return _from(rows.values(), "decisions")


def _newest(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        row["recorded"] or "",
        row["score"] or 0.0,
        row["method"] or "",
        row["explanation"] or "",
    )


def _decided(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (row["at"] or "", row["by"], row["reason"] or "")


def _from(rows: Any, name: str) -> pa.Table:
    pa = schema.arrow()
    return ordered(name, pa.Table.from_pylist(list(rows), schema=schema.schema(name)))


def merge_files(base: GraphFile, files: Sequence[GraphFile], notes: list[str]) -> GraphFile:
    """Unite ``graph.yaml``: new entries are added, entries of the base follow who changed them.

    Raises:
        BadInput: two contributions say different things of one source, prefix or predicate.
    """
    united: dict[str, Any] = {}
    for key in ("prefixes", "sources", "predicates", "types"):
        united[key] = _entries(key, getattr(base, key), [getattr(one, key) for one in files])
    for key in ("title", "policy", "shapes", "gates"):
        start = getattr(base, key)
        changed = sorted({str(getattr(one, key)) for one in files if getattr(one, key) != start})
        if len(changed) > 1 and key == "title" and not start:
            united[key] = " and ".join(changed)  # graphs that nobody made from one another
            continue
        if len(changed) > 1:
            raise BadInput(f"graph.yaml: '{key}' is {' in one and '.join(changed)} in another.")
        if changed:
            united[key] = next(
                getattr(one, key) for one in files if str(getattr(one, key)) == changed[0]
            )
            if key == "policy" and start != GraphFile.policy:
                notes.append(f"The graph's policy changes from {start} to {united[key]}.")
    return replace(base, **united)


def _entries(
    key: str, base: Mapping[str, Any], files: Sequence[Mapping[str, Any]]
) -> dict[str, str | Source | Predicate]:
    made = dict(base)
    changed: dict[str, Any] = {}
    for one in files:
        for name, value in one.items():
            if base.get(name) == value:
                continue
            if name in changed and changed[name] != value:
                raise BadInput(
                    f"graph.yaml: {key} '{name}' is described in two ways. Settle it in one of the "
                    "contributions."
                )
            changed[name] = value
    return made | changed
