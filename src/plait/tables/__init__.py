# SPDX-License-Identifier: Apache-2.0
"""Tables: rows of JSON Lines, CSV, TSV and Parquet files, merged three-way; duplicates found."""

from __future__ import annotations

from plait.tables.columns import TypeConflict
from plait.tables.conflicts import RowConflict, Settlement, Side, Value
from plait.tables.duplicates import Pair, exact_duplicates, near_duplicates
from plait.tables.memory import Shape, check_memory, shape_of
from plait.tables.merge import TableMerge, key_of, merge_tables
from plait.tables.reading import Row, Table, format_of, read_table, write_table

__all__ = [
    "Pair",
    "Row",
    "RowConflict",
    "Settlement",
    "Shape",
    "Side",
    "Table",
    "TableMerge",
    "TypeConflict",
    "Value",
    "check_memory",
    "exact_duplicates",
    "format_of",
    "key_of",
    "merge_tables",
    "near_duplicates",
    "read_table",
    "shape_of",
    "write_table",
]
