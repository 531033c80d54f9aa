# SPDX-License-Identifier: Apache-2.0
"""The first rows of a stranger's table, every number bounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from plait.errors import BadInput
from plait.tables.reading import allow_long_fields

MOST_ROWS = 100
MOST_COLUMNS = 60
LONGEST_CELL = 300
LONGEST_LINE = 200_000
SEPARATED = {".csv": ",", ".tsv": "\t"}
LINES = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True)
class Cell:
    """A value as it is shown."""

    text: str
    number: bool = False


@dataclass(frozen=True)
class Table:
    """The beginning of a table."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    cut: bool
    """Whether there are more rows than these."""
    total: int | None = None
    """All rows, where the file says so."""
    more_columns: int = 0

    @property
    def numbers(self) -> Sequence[bool]:
        """Tell of each column whether it holds numbers alone."""
        return [
            any(row[place].text for row in self.rows)
            and all(row[place].number or not row[place].text for row in self.rows)
            for place in range(len(self.columns))
        ]


def is_table(path: str) -> bool:
    """Tell whether a file's name says that it is a table that is read as text."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in SEPARATED or suffix in LINES


def read_table(path: str, text: str, *, whole: bool) -> Table:
    """Read the first rows of a table out of the beginning of its file.

    Args:
        path: its name says how it is written.
        text: the beginning of the file.
        whole: whether that is all of it; if not, its last line is not taken for a row.

    Raises:
        BadInput: it is not such a table.
    """
    if not whole:
        text = text[: text.rfind("\n") + 1]
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in LINES:
        return _read_lines(text, whole=whole)
    return _read_separated(text, SEPARATED[suffix], whole=whole)


def cell(value: Any) -> Cell:
    """Write a value of a table."""
    if value is None:
        return Cell("")
    if isinstance(value, bool):
        return Cell(str(value).lower())
    if isinstance(value, int | float):
        return Cell(f"{value:.6g}" if isinstance(value, float) else str(value)[:40], number=True)
    if isinstance(value, _Written):
        return Cell(str(value), number=True)
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    short = value[:LONGEST_CELL]
    return Cell(short + "…" if len(value) > len(short) else short)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, cut: bool, total: int | None = None
) -> Table:
    """Make a `Table` of plain values, as wide as is shown."""
    shown = [str(name)[:LONGEST_CELL] for name in columns[:MOST_COLUMNS]]
    return Table(
        shown,
        [[cell(value) for value in row[: len(shown)]] for row in rows[:MOST_ROWS]],
        cut or len(rows) > MOST_ROWS,
        total,
        max(len(columns) - MOST_COLUMNS, 0),
    )


def _read_separated(text: str, separator: str, *, whole: bool) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=False)
    found: list[list[str]] = []
    allow_long_fields()  # so that the limit below is the one that holds, whatever ran before
    try:
        for row in reader:
            if any(len(value) > LONGEST_LINE for value in row):
                raise BadInput("A cell of this file is too long for its table to be shown.")
            found.append(row)
            if len(found) > MOST_ROWS + 1:
                break
    except csv.Error as error:
        raise BadInput(f"This is not a table that can be shown: {error}.") from None
    if not found:
        raise BadInput("This table is empty.")
    width = max(len(row) for row in found)
    head = [*found[0], *[""] * (width - len(found[0]))]
    rows: list[list[Any]] = [[_number(value) for value in row] for row in found[1:]]
    return table(head, [row + [""] * (width - len(row)) for row in rows], cut=not whole)


def _number(value: str) -> Any:
    if len(value) > 30 or not value[:1].isascii() or not value[-1:].isdigit():
        return value
    try:
        float(value)
    except ValueError:
        return value
    # Written as its author wrote it; only its place in the column is a number's.
    return _Written(value)


class _Written(str):
    """A number's own digits."""

    __slots__ = ()


def _read_lines(text: str, *, whole: bool) -> Table:
    rows: list[Mapping[str, Any]] = []
    columns: dict[str, None] = {}
    lines = [line for line in text.split("\n") if line.strip()]
    for line in lines[: MOST_ROWS + 1]:
        if len(line) > LONGEST_LINE:
            raise BadInput("A line of this file is too long to be shown as a row.")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise BadInput("This is not a table: a line of it is not JSON.") from None
        if not isinstance(row, dict):
            row = {"value": row}
        rows.append(row)
        columns.update(dict.fromkeys(row))
    if not rows:
        raise BadInput("This table is empty.")
    names = list(columns)
    return table(names, [[row.get(name) for name in names] for row in rows], cut=not whole)
