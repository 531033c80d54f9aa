# SPDX-License-Identifier: Apache-2.0
"""Three-way merging of tables: by key, value for value; or by row, where there is no key.

A merge is a function of the three tables' content and of nothing else: the two sides may be
exchanged, and contributions over one base give the same bytes in whatever order they are merged.
Rows of the base keep its order. Rows that are new follow, sorted; or stand where their key puts
them, if the base is sorted by its key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from plait.errors import BadInput
from plait.tables.columns import Columns, TypeConflict, merge_columns
from plait.tables.conflicts import RowConflict, Settlement, Value
from plait.tables.reading import Row, Table
from plait.tables.values import MISSING, merge_values, project, rendered, same, to_type

KEYS = ("id", "_id", "uuid", "key")
"""Columns that are taken for a key, in this order, if their values are unique on every side."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class TableMerge:
    """What a merge of tables gives: the table, or the conflicts that a person must settle."""

    table: Table | None
    conflicts: tuple[RowConflict, ...]
    type_conflicts: tuple[TypeConflict, ...]
    key: tuple[str, ...] | None
    """The columns that rows were told apart by; None: whole rows."""
    added: int
    """Rows that theirs brings."""
    removed: int
    """Rows that theirs takes away."""
    changed: int
    """Rows that theirs changes (with a key alone: else they count as removed and added)."""
    repeated: int
    """Rows that a side brings and that are there already, word for word; they are left out."""
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    retyped: Mapping[str, tuple[str, str]]
    """Columns whose type theirs changes: before and after."""
    widened: Mapping[str, tuple[str, str]]
    """Columns of main that got a type which holds both sides' values: before and after."""
    fresh: tuple[Row, ...]
    """The rows of theirs that the base lacks, or has otherwise."""

    @property
    def settled(self) -> bool:
        """Whether nothing is left for a person to decide."""
        return self.table is not None


def merge_tables(
    base: Table | None,
    ours: Table,
    theirs: Table,
    key: Sequence[str] | None = None,
    settlement: Settlement | None = None,
) -> TableMerge:
    """Bring what both sides changed since base together.

    With a key, rows are matched by it and merged value by value: only a value that both sides
    changed differently, or a row that one changed and the other removed, is a conflict. Without
    one a row is all its values, a changed row is one removed and one added, nothing conflicts, and
    no row that is there is added again.

    Args:
        base: what both started from; None if neither had the file.
        ours: the table to merge into.
        theirs: the table whose changes are merged.
        key: the columns that identify a row (default: found by `key_of`; none of them: whole rows).
        settlement: what a person decided of conflicts.

    Raises:
        BadInput: if the key's columns are missing or do not tell rows apart, or a settlement does
            not fit.
    """
    settlement = settlement or Settlement()
    base = base or Table(ours.format, (), {}, (), _no_columns(ours))
    alone = None
    if _equal(base, ours):
        alone = theirs
    elif _equal(base, theirs) or _equal(ours, theirs):
        alone = ours
    if alone is not None:
        # one side changed nothing: what the other has holds, its types too
        columns = Columns(alone.columns, alone.types, alone.schema, {}, ())
    else:
        types = dict.fromkeys(ours.columns, settlement.rest) if settlement.rest else {}
        columns = merge_columns(base, ours, theirs, {**types, **settlement.types})
    chosen = key_of(base, ours, theirs) if key is None else (tuple(key) or None)
    if alone is None:
        sides = [_fitted(table, columns) for table in (base, ours, theirs)]
    else:
        sides = [base, alone, alone]
    conflicts: list[RowConflict] = []
    if chosen is None:
        rows, repeated = _by_row(*sides)
    else:
        base_rows, our_rows, their_rows = (_keyed(table, chosen) for table in sides)
        rows, conflicts = _by_key(base_rows, our_rows, their_rows, columns, settlement)
        repeated = 0
    fresh, added, removed = _brought(base, theirs, chosen)
    merged = Table(ours.format, columns.names, columns.types, tuple(rows), columns.schema)
    if alone is not None:
        merged = _as_it_was(merged, alone)
    return TableMerge(
        table=None if conflicts or columns.conflicts else merged,
        conflicts=tuple(conflicts),
        type_conflicts=columns.conflicts,
        key=chosen,
        added=added,
        removed=removed,
        changed=len(fresh) - added if chosen else 0,
        repeated=repeated,
        columns_added=tuple(c for c in theirs.columns if c not in base.columns),
        columns_removed=tuple(c for c in base.columns if c not in theirs.columns),
        retyped={
            c: (base.types[c], theirs.types[c])
            for c in base.columns
            if c in theirs.types and base.types[c] != theirs.types[c]
        },
        widened=columns.widened,
        fresh=tuple(fresh),
    )


def _equal(one: Table, other: Table) -> bool:
    """Tell whether two tables say the same in the same order."""
    return (
        one.columns == other.columns
        and dict(one.types) == dict(other.types)
        and len(one.rows) == len(other.rows)
        and all(a.identity == b.identity for a, b in zip(one.rows, other.rows, strict=True))
    )


def _brought(base: Table, theirs: Table, key: Sequence[str] | None) -> tuple[list[Row], int, int]:
    """Return theirs' rows that are new or changed, how many are new, and how many are gone."""
    if not key:
        before = {row.identity for row in base.rows}
        fresh = {row.identity: row for row in theirs.rows if row.identity not in before}
        there = {row.identity for row in theirs.rows}
        removed = sum(row.identity not in there for row in base.rows)
        return list(fresh.values()), len(fresh), removed
    old, new = _keyed(base, key), _keyed(theirs, key)
    shared = [c for c in base.columns if c in theirs.columns]
    rows = [
        row
        for name, row in new.items()
        if name not in old or any(not same(project(row, c), project(old[name], c)) for c in shared)
    ]
    return rows, sum(name not in old for name in new), sum(name not in new for name in old)


def key_of(*tables: Table) -> tuple[str, ...] | None:
    """Return the column that identifies the rows of every table, None if there is none."""
    there = [table for table in tables if table.rows]
    for name in KEYS:
        if there and all(_identifies(table, name) for table in there):
            return (name,)
    return None


def _identifies(table: Table, column: str) -> bool:
    if column not in table.columns:
        return False
    values = [row.values.get(column) for row in table.rows]
    plain = all(isinstance(v, str | int) and not isinstance(v, bool) and v != "" for v in values)
    return plain and len(set(values)) == len(values)


def _keyed(table: Table, key: Sequence[str]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for number, row in enumerate(table.rows, start=1):
        parts = tuple(row.values.get(column) for column in key)
        if any(part is None or part == "" or isinstance(part, list | dict) for part in parts):
            raise BadInput(f"Row {number} has no value in its key, {', '.join(key)}.")
        if parts in found:
            raise BadInput(
                f"Two rows have the key {', '.join(str(p)[:40] for p in parts)} "
                f"({', '.join(key)}); a key must tell rows apart."
            )
        found[parts] = row
    return found


def _no_columns(like: Table) -> Any:
    if like.schema is None:
        return None
    import pyarrow

    return pyarrow.schema([])


def _fitted(table: Table, columns: Columns) -> Table:
    """Give a table the merged columns alone, with values of their types.

    A value that has no such form stays as it is where its column is in conflict, and is refused
    where a person chose the type.
    """
    wanted = set(columns.names)
    undecided = {conflict.column for conflict in columns.conflicts}
    casts = [
        c for c in table.columns
        if c in wanted and c not in undecided and table.types.get(c) != columns.types[c]
    ]  # fmt: skip
    if not casts and set(table.columns) <= wanted:
        return table
    rows = []
    for row in table.rows:
        values = {c: v for c, v in row.values.items() if c in wanted}
        for column in casts:
            if column in values:
                values[column] = to_type(
                    values[column], table.types[column], columns.types[column], column
                )
        same = len(values) == len(row.values) and values == dict(row.values)
        rows.append(row if same else Row(values))
    return replace(table, rows=tuple(rows))


def _as_it_was(merged: Table, side: Table) -> Table:
    """Return a side whose rows these are, in its own order; else the merged table."""
    rows = sorted(row.identity for row in side.rows)
    return side if rows == sorted(row.identity for row in merged.rows) else merged


# -- whole rows ----------------------------------------------------------------------------------


def _by_row(base: Table, ours: Table, theirs: Table) -> tuple[list[Row], int]:
    """Merge rows that have no key; also how many that repeat others were left out."""
    before, mine, other = (_grouped(table) for table in (base, ours, theirs))
    wanted: dict[str, int] = {}
    for identity in {**before, **mine, **other}:
        b, o, t = (len(side.get(identity, ())) for side in (before, mine, other))
        # What the base has stays as often as the side that keeps the fewest has it; what is new
        # is there once.
        wanted[identity] = min(b, o, t) if b else 1
    asked = sum(
        max(
            0, max(len(mine.get(i, ())), len(other.get(i, ()))) - max(count, len(before.get(i, ())))
        )
        for i, count in wanted.items()
    )
    rows: list[Row] = []
    left = dict(wanted)
    for row in base.rows:
        identity = row.identity
        if left[identity] > 0:
            left[identity] -= 1
            rows.append(_spelled(identity, before, mine, other))
    new = sorted(identity for identity, count in left.items() if count and identity not in before)
    rows += [_spelled(identity, before, mine, other) for identity in new]
    return rows, asked


def _grouped(table: Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        found.setdefault(row.identity, []).append(row)
    return found


def _spelled(
    identity: str, before: Mapping[str, list[Row]], *sides: Mapping[str, list[Row]]
) -> Row:
    """Return a row as the side wrote it that spells it anew; the first by text of several."""
    old = {rendered(row) for row in before.get(identity, ())}
    options = {rendered(row): row for side in sides for row in side.get(identity, ())}
    new = sorted(text for text in options if text not in old)
    return options[new[0] if new else min(options)]


# -- rows by key ---------------------------------------------------------------------------------


def _by_key(
    base: Mapping[Key, Row],
    ours: Mapping[Key, Row],
    theirs: Mapping[Key, Row],
    columns: Columns,
    settlement: Settlement,
) -> tuple[list[Row], list[RowConflict]]:
    rows: dict[Key, Row] = {}
    conflicts: list[RowConflict] = []
    for name in _ordered(base, {**ours, **theirs}):
        before, mine, other = base.get(name), ours.get(name), theirs.get(name)
        if mine is not None and other is not None:
            rows[name], clashes = _merge_row(name, before, mine, other, columns, settlement)
            conflicts += clashes
            continue
        one = mine if mine is not None else other
        if one is None:
            continue
        if before is None:
            rows[name] = one
        elif not _unchanged(one, before):
            clash = RowConflict(name, None, before.values, _values(mine), _values(other))
            decided = settlement.of(clash)
            if decided is None:
                conflicts.append(clash)
            elif (decided == "main") is (mine is not None):
                rows[name] = one
    return list(rows.values()), conflicts


def _ordered(base: Mapping[Key, Row], others: Mapping[Key, Row]) -> list[Key]:
    """Order keys: the base's, then the new ones sorted; all sorted, if the base's are."""
    known = list(base)
    new = sorted((name for name in others if name not in base), key=_place)
    places = [_place(name) for name in known]
    if len(known) > 1 and all(a < b for a, b in pairwise(places)):
        return sorted([*known, *new], key=_place)
    return known + new


def _place(name: Key) -> tuple[Any, ...]:
    """Return what keys are sorted by: numbers as numbers, also where they are text."""
    made: list[Any] = []
    for part in name:
        text = str(part)
        plain = text.removeprefix("-")
        numeric = plain.isascii() and plain.isdigit() and len(plain) <= 18
        made.append((0, int(text), text) if numeric else (1, 0, text))
    return tuple(made)


def _unchanged(row: Row, before: Row) -> bool:
    """Tell whether a row says what it said, whatever columns came to the table since."""
    return all(row.values.get(column, MISSING) == value for column, value in before.values.items())


def _merge_row(
    name: Key,
    before: Row | None,
    mine: Row,
    other: Row,
    columns: Columns,
    settlement: Settlement,
) -> tuple[Row, list[RowConflict]]:
    values: dict[str, Any] = {}
    clashes: list[RowConflict] = []
    for column in columns.names:
        b, o, t = (project(row, column) for row in (before, mine, other))
        value, agreed = merge_values(b, o, t)
        if not agreed:
            clash = RowConflict(name, column, _shown(b), _shown(o), _shown(t))
            decided = settlement.of(clash)
            if decided is None:
                clashes.append(clash)
            elif isinstance(decided, Value):
                value = decided.value
            else:
                value = o if decided == "main" else t
        if value is not MISSING:
            values[column] = value
    spelled = [row for row in (mine, other) if _same(row.values, values)]
    if not spelled:
        return Row(values), clashes
    old = rendered(before) if before is not None else None
    return min(spelled, key=lambda row: (rendered(row) == old, rendered(row))), clashes


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return len(one) == len(other) and json.dumps(one, sort_keys=True, default=str) == json.dumps(
        other, sort_keys=True, default=str
    )


def _values(row: Row | None) -> Mapping[str, Any] | None:
    return None if row is None else row.values


def _shown(value: Any) -> Any:
    return None if value is MISSING else value
