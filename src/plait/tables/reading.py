# SPDX-License-Identifier: Apache-2.0
"""Tables in memory: read from JSON Lines, CSV, TSV and Parquet, and written back.

A row of a text format keeps the bytes that it was read from, so that what a merge does not touch
comes out as it went in, quotes, key order and spaces included.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from plait.errors import BadInput, MissingExtra

Format = Literal["jsonl", "csv", "tsv", "parquet"]

MAX_BYTES = 256 * 2**20
MAX_UNPACKED = 2**30
MAX_ROWS = 2_000_000
MAX_COLUMNS = 2_000
MAX_FIELD = 16 * 2**20
_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column, and the line that it was read from (None: made here)."""

    values: Mapping[str, Any]
    text: str | None = None

    @property
    def identity(self) -> str:
        """The same for rows that say the same, whatever the order of their keys."""
        return json.dumps(self.values, sort_keys=True, ensure_ascii=False, default=_plain)


@dataclass(frozen=True)
class Table:
    """A table's columns, in order, their types in words, and its rows."""

    format: Format
    columns: tuple[str, ...]
    types: Mapping[str, str]
    rows: tuple[Row, ...]
    schema: Any = None
    """Of Parquet, Arrow's own schema, with its metadata."""


def format_of(path: str) -> Format | None:
    """Return a path's table format by its suffix, None if it is no table."""
    return _FORMATS.get(PurePosixPath(path).suffix.lower())


def read_table(data: bytes, format: Format, origin: str) -> Table:
    """Read a table.

    Raises:
        BadInput: naming `origin` and the line that cannot be read, or the limit that it is over.
        MissingExtra: for Parquet without pyarrow.
    """
    if len(data) > MAX_BYTES:
        raise BadInput(
            f"{origin} has {len(data):,} bytes; tables of up to {MAX_BYTES:,} are merged by rows."
        )
    if format == "parquet":
        return _read_parquet(data, origin)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{origin} is not UTF-8 text.") from None
    return _read_jsonl(text, origin) if format == "jsonl" else _read_csv(text, format, origin)


def write_table(table: Table) -> bytes:
    """Return a table's file: rows as they were read where they were, the others anew."""
    if table.format == "parquet":
        return _write_parquet(table)
    if table.format == "jsonl":
        lines = [
            row.text
            if row.text is not None
            else json.dumps(row.values, ensure_ascii=False, allow_nan=False)
            for row in table.rows
        ]
        return "".join(line.rstrip("\r\n") + "\n" for line in lines).encode()
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=_delimiter(table.format), lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        if row.text is not None:
            out.write(row.text.rstrip("\r\n") + "\n")
        else:
            writer.writerow([row.values.get(column, "") for column in table.columns])
    return out.getvalue().encode()


def _read_jsonl(text: str, origin: str) -> Table:
    rows: list[Row] = []
    columns: dict[str, set[str]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
        except _Bad as error:
            raise BadInput(f"Line {number} of {origin} {error}.") from None
        except (ValueError, RecursionError):
            raise BadInput(f"Line {number} of {origin} is not JSON.") from None
        if not isinstance(values, dict):
            raise BadInput(f'Line {number} of {origin} must be an object like {{"text": …}}.')
        for name, value in values.items():
            columns.setdefault(name, set()).add(_type(value))
        rows.append(Row(values, line))
        _check(len(rows), len(columns), origin)
    types = {
        name: " or ".join(sorted(kinds - {"null"})) or "null" for name, kinds in columns.items()
    }
    return Table("jsonl", tuple(columns), types, tuple(rows))


def allow_long_fields() -> None:
    """Let `csv` read fields of up to `MAX_FIELD` characters.

    The limit is the whole process's: it is raised and stays so, for a reader that set it back
    would stop another thread's in the middle.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))


def _read_csv(text: str, format: Format, origin: str) -> Table:
    lines = text.splitlines(keepends=True)
    allow_long_fields()
    try:
        reader = csv.reader(iter(lines), delimiter=_delimiter(format), strict=True)
        header = next(reader, None)
        if header is None:
            return Table(format, (), {}, ())
        if len(set(header)) != len(header):
            double = next(name for name in header if header.count(name) > 1)
            raise BadInput(f"{origin} has two columns named '{double[:60]}'.")
        rows: list[Row] = []
        start = reader.line_num
        for cells in reader:
            end = reader.line_num
            if cells:
                if len(cells) != len(header):
                    raise BadInput(
                        f"Line {start + 1} of {origin} has {len(cells)} fields; the header has "
                        f"{len(header)}."
                    )
                rows.append(Row(dict(zip(header, cells, strict=True)), "".join(lines[start:end])))
                _check(len(rows), len(header), origin)
            start = end
    except csv.Error as error:
        raise BadInput(f"{origin} is not valid {format.upper()}: {error}.") from None
    return Table(format, tuple(header), dict.fromkeys(header, "text"), tuple(rows))


def _read_parquet(data: bytes, origin: str) -> Table:
    arrow, parquet = pyarrow_modules()
    try:
        with parquet.ParquetFile(io.BytesIO(data)) as file:
            _check(file.metadata.num_rows, len(file.schema_arrow.names), origin)
            schema = file.schema_arrow
            if len(set(schema.names)) != len(schema.names):
                raise BadInput(f"{origin} has two columns of one name.")
            rows = tuple(Row(values) for values in _values(file, origin))
    except (arrow.ArrowException, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise BadInput(f"{origin} is not a readable Parquet file: {told}.") from None
    types = {field.name: str(field.type) for field in schema}
    return Table("parquet", tuple(schema.names), types, rows, schema)


def _values(file: Any, origin: str) -> Iterator[dict[str, Any]]:
    """Yield a Parquet file's rows; what unpacks to far more than its footer tells is refused."""
    size = 0
    for batch in file.iter_batches(batch_size=4096):
        size += batch.nbytes
        if size > MAX_UNPACKED:
            raise BadInput(
                f"{origin} unpacks to more than {MAX_UNPACKED:,} bytes; split it into several "
                "files to have it merged by rows."
            )
        yield from batch.to_pylist()


def _write_parquet(table: Table) -> bytes:
    arrow, parquet = pyarrow_modules()
    out = io.BytesIO()
    rows = [dict(row.values) for row in table.rows]
    try:
        made = arrow.Table.from_pylist(rows, schema=table.schema)
    except (arrow.ArrowException, TypeError) as error:
        told = " ".join(str(error).split())[:200]
        raise BadInput(f"The merged rows do not fit the table's columns: {told}.") from None
    # pages end where the content says so: a changed row changes few of the stored chunks
    parquet.write_table(made, out, compression="zstd", use_content_defined_chunking=True)
    return out.getvalue()


def pyarrow_modules() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "train") from None
    return pyarrow, pyarrow.parquet


def _delimiter(format: Format) -> str:
    return "\t" if format == "tsv" else ","


class _Bad(ValueError):
    pass


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Bad("has a key twice")
    return made


def _no_constant(name: str) -> Any:
    raise _Bad(f"holds {name}, which is not JSON")


def _check(rows: int, columns: int, origin: str) -> None:
    if rows > MAX_ROWS or columns > MAX_COLUMNS:
        raise BadInput(
            f"{origin} has more than {MAX_ROWS:,} rows or {MAX_COLUMNS:,} columns; split it into "
            "several files to have it merged by rows."
        )


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list"}
    return "null" if value is None else names.get(type(value), "object")


def _plain(value: Any) -> Any:
    """Give what Parquet holds and JSON does not (bytes, times, decimals) as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value.hex() if isinstance(value, bytes) else str(value)
