# SPDX-License-Identifier: Apache-2.0
"""How much memory a merge of tables takes, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from plait.errors import BadInput, TooLarge
from plait.tables.reading import Format, pyarrow_modules

LIMIT = 4 * 2**30
"""Bytes of memory that one merge may take."""
ROW = 420
"""Bytes of a row in memory, besides its values."""
VALUE = 110
"""Bytes of a value in memory, besides its text."""
TEXT = 2.2
"""Bytes in memory for each byte of text: once as it was read, once as a value."""


@dataclass(frozen=True)
class Shape:
    """How large a table's file is: bytes once decompressed, rows and columns."""

    size: int
    rows: int
    columns: int

    @property
    def memory(self) -> int:
        """Bytes that the table takes in memory, from what was measured of Python's objects."""
        return int(TEXT * self.size) + self.rows * (ROW + VALUE * self.columns)


def shape_of(file: BinaryIO, size: int, format: Format, origin: str) -> Shape:
    """Tell a table's shape: of Parquet from its footer, of text from its lines.

    Raises:
        BadInput: the footer cannot be read.
    """
    if format == "parquet":
        arrow, parquet = pyarrow_modules()
        try:
            with parquet.ParquetFile(file) as opened:
                facts = opened.metadata
                total = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
                return Shape(max(total, size), facts.num_rows, facts.num_columns)
        except (arrow.ArrowException, OSError, ValueError) as error:
            told = " ".join(str(error).split())[:200]
            raise BadInput(f"{origin} is not a readable Parquet file: {told}.") from None
    rows, first = 0, b""
    while chunk := file.read(1 << 20):
        if not first:
            first = chunk.split(b"\n", 1)[0]
        rows += chunk.count(b"\n")
    separator = {"csv": b",", "tsv": b"\t"}.get(format, b":")
    return Shape(size, rows + 1, first.count(separator) + 1)


def check_memory(shapes: Sequence[Shape], origin: str, limit: int = LIMIT) -> int:
    """Return the bytes that merging these tables takes.

    Raises:
        TooLarge: with the figure, when it is more than may be taken.
    """
    # the merged rows and the file that is written lie beside what was read
    needed = int(sum(shape.memory for shape in shapes) + max(s.size for s in shapes) * TEXT)
    if needed > limit:
        raise TooLarge(
            f"Merging {origin} row by row would take about {needed / 2**30:.1f} GiB of memory; "
            f"{limit / 2**30:.1f} GiB may be used. Split the table into several files "
            "(data/train-00000-of-00004.parquet, …), each of which is merged by itself."
        )
    return needed
