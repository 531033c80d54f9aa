# SPDX-License-Identifier: Apache-2.0
"""The columns of a merged table: which there are, of which type, and what cannot be both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plait.tables.reading import Table


@dataclass(frozen=True)
class TypeConflict:
    """A column whose types in main and in the pull request have no type that holds both."""

    column: str
    base: str | None
    ours: str
    theirs: str

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"column '{self.column}': {self.ours} or {self.theirs}"


@dataclass(frozen=True)
class Columns:
    """The merged table's columns, in order, and where their types come from."""

    names: tuple[str, ...]
    types: Mapping[str, str]
    schema: Any
    """Arrow's schema of a Parquet table, else None."""
    widened: Mapping[str, tuple[str, str]]
    """Columns that got a type which holds both sides' values: before (main's) and after."""
    conflicts: tuple[TypeConflict, ...]


def merge_columns(
    base: Table, ours: Table, theirs: Table, chosen: Mapping[str, str] | None = None
) -> Columns:
    """Merge the columns of three tables; the same whichever side is ours.

    A column that either side removed is gone; what either added follows the others, by name, but
    in the order of the one side that added any. Where types differ, that one is taken which holds
    the values of both (a 64-bit number for a 32-bit one, a float for a whole number).

    Args:
        base: what both started from.
        ours: one side.
        theirs: the other.
        chosen: for a column in conflict, whose type holds: `main` (ours) or `pull` (theirs).
    """
    kept = [c for c in base.columns if not any(_removed(base, t, c) for t in (ours, theirs))]
    mine = [c for c in ours.columns if c not in base.columns]
    others = [c for c in theirs.columns if c not in base.columns]
    kept += sorted({*mine, *others}) if mine and others and mine != others else mine or others
    types: dict[str, str] = {}
    fields: list[Any] = []
    widened: dict[str, tuple[str, str]] = {}
    conflicts: list[TypeConflict] = []
    for column in kept:
        before, left, right = (t.types.get(column) for t in (base, ours, theirs))
        if left is None or right is None or left == right:
            # of JSON Lines, both may have removed the rows that had a value here
            side = ours if left is not None else theirs if right is not None else base
            types[column] = side.types[column]
            fields.append(_field(side, column))
            continue
        wide = _widest(ours, theirs, column)
        if wide is None and chosen and column in chosen:
            side = ours if chosen[column] == "main" else theirs
            wide = (side.types[column], _field(side, column))
        if wide is None:
            conflicts.append(TypeConflict(column, before, left, right))
            wide = (left, _field(ours, column))
        elif wide[0] != left:
            widened[column] = (left, wide[0])
        types[column] = wide[0]
        fields.append(wide[1])
    schema = None
    if ours.schema is not None and theirs.schema is not None:
        import pyarrow

        schema = pyarrow.schema(fields, metadata=_metadata(base, ours, theirs))
    return Columns(tuple(kept), types, schema, widened, tuple(conflicts))


def _removed(base: Table, side: Table, column: str) -> bool:
    """Tell whether a side took a column away.

    JSON Lines have no list of columns: there it did if every row of the base has the column and no
    row of the side does. One that only some rows have is merged row by row.
    """
    if column in side.columns:
        return False
    if side.format != "jsonl":
        return True
    return bool(side.rows) and all(column in row.values for row in base.rows)


def _field(table: Table, column: str) -> Any:
    return None if table.schema is None else table.schema.field(column)


def _widest(ours: Table, theirs: Table, column: str) -> tuple[str, Any] | None:
    """Return the type that holds both sides' values of a column, None if there is none."""
    if ours.schema is None or theirs.schema is None:
        return _widest_kinds(ours.types[column], theirs.types[column])
    import pyarrow

    sides = [pyarrow.schema([t.schema.field(column)]) for t in (ours, theirs)]
    if sides[0] != sides[1] and str(sides[0].field(0)) > str(sides[1].field(0)):
        sides.reverse()  # the same whichever side is ours
    try:
        made = pyarrow.unify_schemas(sides, promote_options="permissive").field(0)
    except pyarrow.ArrowException:
        return None
    return str(made.type), made


def _widest_kinds(ours: str, theirs: str) -> tuple[str, None] | None:
    """Unite the kinds of values of a JSON Lines column; kinds apart are no column together."""
    left, right = (set(kinds.split(" or ")) - {"null"} for kinds in (ours, theirs))
    if left and right and not left & right:
        return None
    return " or ".join(sorted(left | right)) or "null", None


def _metadata(base: Table, ours: Table, theirs: Table) -> Any:
    """Return the schema's metadata of the side that changed them, but never one side's columns.

    Writers keep descriptions of the columns there (pandas, datasets), which would be wrong for
    columns of both sides.
    """
    before = base.schema.metadata if base.schema is not None else None
    mine, other = ours.schema.metadata, theirs.schema.metadata
    if mine == other:
        return mine
    same = ours.columns == theirs.columns and dict(ours.types) == dict(theirs.types)
    if not same:
        return None
    return other if mine == before else mine if other == before else None
