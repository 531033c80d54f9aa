# SPDX-License-Identifier: Apache-2.0
"""Tables: rows of JSON Lines, CSV, TSV and Parquet files, merged three-way; duplicates found."""

from __future__ import annotations

from plait.tables.duplicates import Pair, exact_duplicates, near_duplicates
from plait.tables.merge import RowConflict, TableMerge, key_of, merge_tables
from plait.tables.reading import Row, Table, format_of, read_table, write_table

__all__ = [
    "Pair",
    "Row",
    "RowConflict",
    "Table",
    "TableMerge",
    "exact_duplicates",
    "format_of",
    "key_of",
    "merge_tables",
    "near_duplicates",
    "read_table",
    "write_table",
]
