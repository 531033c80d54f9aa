# SPDX-License-Identifier: Apache-2.0
"""Three-way merging of tables: by key, value for value; or by row, where there is no key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.errors import BadInput
from plait.tables.reading import Row, Table

KEYS = ("id", "_id", "uuid", "key")
"""Columns that are taken for a key, in this order, if their values are unique on every side."""
MAX_CONFLICTS = 1_000

_MISSING: Any = object()


@dataclass(frozen=True)
class RowConflict:
    """A row that both sides changed in ways that contradict; `column` None: one side removed it.

    Values are None where that side has no such row.
    """

    key: tuple[Any, ...]
    column: str | None
    base: Any
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        """Say it in a few words."""
        key = ", ".join(str(part)[:40] for part in self.key)
        if self.column is None:
            return f"row {key}: changed by one side, removed by the other"
        return f"row {key}, column '{self.column}': {_short(self.ours)} or {_short(self.theirs)}"


@dataclass(frozen=True)
class TableMerge:
    """What a merge of tables gives: the table, or the conflicts that a person must settle."""

    table: Table | None
    conflicts: tuple[RowConflict, ...]
    key: tuple[str, ...] | None
    """The columns that rows were told apart by; None: whole rows."""
    added: int
    """Rows that theirs brings."""
    removed: int
    """Rows that theirs takes away."""
    changed: int
    """Rows that theirs changes (with a key alone: else they count as removed and added)."""
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    retyped: Mapping[str, tuple[str, str]]
    """Columns whose type theirs changes: before and after."""


def merge_tables(
    base: Table | None, ours: Table, theirs: Table, key: Sequence[str] | None = None
) -> TableMerge:
    """Bring what theirs changed since base into ours.

    With a key, rows are matched by it and merged value by value: only a value that both sides
    changed differently, or a row that one changed and the other removed, is a conflict. Without
    one a row is all its values, a changed row is one removed and one added, and nothing conflicts.
    Rows stay in ours' order; what theirs adds follows, in theirs' order. A column that either side
    removed is gone, one that either added is there.

    Args:
        base: what both started from; None if neither had the file.
        ours: the table to merge into.
        theirs: the table whose changes are merged.
        key: the columns that identify a row (default: found by `key_of`, else whole rows).

    Raises:
        BadInput: if the key's columns are missing or do not tell rows apart, or both sides gave
            one column different types.
    """
    base = base or Table(ours.format, (), {}, ())
    columns, types, schema = _columns(base, ours, theirs)
    chosen = tuple(key) if key is not None else key_of(base, ours, theirs)
    if chosen is None:
        rows, added, removed = _by_row(base, ours, theirs, columns)
        conflicts: list[RowConflict] = []
        changed = 0
    else:
        before, mine, after = (_keyed(table, chosen) for table in (base, ours, theirs))
        rows, conflicts = _by_key(before, mine, after, columns)
        added = sum(1 for name in after if name not in before)
        removed = sum(1 for name in before if name not in after)
        changed = sum(
            1
            for name, row in after.items()
            if name in before and row.identity != before[name].identity
        )
    merged = Table(ours.format, columns, types, tuple(rows), schema)
    return TableMerge(
        table=None if conflicts else merged,
        conflicts=tuple(conflicts[:MAX_CONFLICTS]),
        key=chosen,
        added=added,
        removed=removed,
        changed=changed,
        columns_added=tuple(c for c in theirs.columns if c not in base.columns),
        columns_removed=tuple(c for c in base.columns if c not in theirs.columns),
        retyped={
            c: (base.types[c], theirs.types[c])
            for c in base.columns
            if c in theirs.types and base.types[c] != theirs.types[c]
        },
    )


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


def _keyed(table: Table, key: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    found: dict[tuple[Any, ...], Row] = {}
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


def _columns(
    base: Table, ours: Table, theirs: Table
) -> tuple[tuple[str, ...], dict[str, str], Any]:
    """Return the merged table's columns with their types, and the Arrow schema if there is one."""
    kept = [c for c in ours.columns if c in theirs.columns or c not in base.columns]
    kept += [c for c in theirs.columns if c not in ours.columns and c not in base.columns]
    types: dict[str, str] = {}
    source: dict[str, Table] = {}
    for column in kept:
        mine, other = ours.types.get(column), theirs.types.get(column)
        before = base.types.get(column)
        if mine is None or other is None or mine == other or other == before:
            side = ours if mine is not None else theirs
        elif mine == before or ours.format == "jsonl":
            side = theirs  # JSON Lines have no types of columns to contradict each other
        else:
            raise BadInput(
                f"Both sides changed the type of column '{column}': to {mine}, and to {other}."
            )
        types[column], source[column] = side.types[column], side
    schema = None
    if ours.schema is not None and theirs.schema is not None:
        import pyarrow

        fields = [source[column].schema.field(column) for column in kept]
        schema = pyarrow.schema(fields, metadata=ours.schema.metadata)
    return tuple(kept), types, schema


def _by_row(
    base: Table, ours: Table, theirs: Table, columns: tuple[str, ...]
) -> tuple[list[Row], int, int]:
    before, there = _counts(base), _counts(theirs)
    mine = _counts(ours)
    wanted: Counter[str] = Counter()
    for identity in {*before, *mine, *there}:
        b, o, t = before[identity], mine[identity], there[identity]
        # one side's change wins, equal changes are one, both together add up
        wanted[identity] = o if t in (b, o) else t if o == b else max(0, o + t - b)
    rows: list[Row] = []
    left = Counter(wanted)
    for row in (*ours.rows, *theirs.rows):
        identity = row.identity
        if left[identity] > 0:
            left[identity] -= 1
            rows.append(_fitted(row, columns))
    added = sum((there - before).values())
    removed = sum((before - there).values())
    return rows, added, removed


def _counts(table: Table) -> Counter[str]:
    return Counter(row.identity for row in table.rows)


def _by_key(
    base: Mapping[tuple[Any, ...], Row],
    ours: Mapping[tuple[Any, ...], Row],
    theirs: Mapping[tuple[Any, ...], Row],
    columns: tuple[str, ...],
) -> tuple[list[Row], list[RowConflict]]:
    rows: list[Row] = []
    conflicts: list[RowConflict] = []
    for name in (*ours, *(k for k in theirs if k not in ours)):
        before, mine, other = base.get(name), ours.get(name), theirs.get(name)
        if mine is None or other is None:
            one = mine or other
            assert one is not None
            if before is None:
                rows.append(_fitted(one, columns))
            elif one.identity != before.identity:
                conflicts.append(
                    RowConflict(name, None, before.values, _values(mine), _values(other))
                )
            continue
        merged, clashes = _merge_row(before, mine, other, columns)
        conflicts += [RowConflict(name, *clash) for clash in clashes]
        rows.append(merged)
    return rows, conflicts


def _merge_row(
    before: Row | None, mine: Row, other: Row, columns: tuple[str, ...]
) -> tuple[Row, list[tuple[str, Any, Any, Any]]]:
    values: dict[str, Any] = {}
    clashes = []
    for column in columns:
        b = before.values.get(column, _MISSING) if before is not None else _MISSING
        o, t = mine.values.get(column, _MISSING), other.values.get(column, _MISSING)
        if _equal(o, t) or _equal(t, b):
            value = o
        elif _equal(o, b):
            value = t
        else:
            clashes.append((column, _shown(b), _shown(o), _shown(t)))
            value = o
        if value is not _MISSING:
            values[column] = value
    for row in (mine, other):
        if values == dict(row.values):
            return _fitted(row, columns), clashes
    return Row(values), clashes


def _fitted(row: Row, columns: tuple[str, ...]) -> Row:
    """Return a row with the merged table's columns alone; its own text where it has just these."""
    if set(row.values) == set(columns) and tuple(row.values) == columns:
        return row
    if set(row.values) <= set(columns) and row.text is not None and row.text.lstrip()[:1] == "{":
        return row
    return Row({c: row.values[c] for c in columns if c in row.values})


def _equal(one: Any, other: Any) -> bool:
    return (
        one is other
        or (type(one) is type(other) and one == other)
        or (
            isinstance(one, int | float)
            and isinstance(other, int | float)
            and not isinstance(one, bool)
            and not isinstance(other, bool)
            and one == other
        )
    )


def _values(row: Row | None) -> Mapping[str, Any] | None:
    return None if row is None else row.values


def _shown(value: Any) -> Any:
    return None if value is _MISSING else value


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"'{text[:40]}{'…' if len(text) > 40 else ''}'"
