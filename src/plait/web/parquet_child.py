# SPDX-License-Identifier: Apache-2.0
"""Reads a stranger's Parquet file in a process of its own: `plait.web.parquet` starts it.

It is run by its path and imports nothing of Plait, so that it starts quickly. It asks for pieces
of the file on its standard output and is given them on its standard input; its last line is the
answer.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from typing import Any, BinaryIO

MEMORY = 2 * 2**30
PROCESSOR_SECONDS = 8
LARGEST_GROUP = 64 * 2**20
MOST_GROUPS = 8
TOO_MUCH = "This file's first rows are too large to be shown. Download it."


class _Pieces(io.RawIOBase):
    """The file as the child sees it: every read is a question to the parent."""

    def __init__(self, size: int, ask: BinaryIO, answers: BinaryIO) -> None:
        self._size, self._place = size, 0
        self._ask, self._answers = ask, answers

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._place, 0)
        length = left if size is None or size < 0 else min(size, left)
        if length == 0:
            return b""
        self._ask.write(json.dumps({"read": [self._place, length]}).encode() + b"\n")
        self._ask.flush()
        data = self._answers.read(length)
        self._place += len(data)
        return data


def first_rows(file: Any, most_rows: int, most_columns: int) -> dict[str, Any]:
    """Return the names of the columns, the first rows as plain values, and how many there are."""
    import pyarrow.parquet as parquet

    found = parquet.ParquetFile(file, page_checksum_verification=False)
    facts = found.metadata
    names = list(found.schema_arrow.names)
    wanted = names[:most_columns]
    groups = []
    rows = 0
    for number in range(min(facts.num_row_groups, MOST_GROUPS)):
        groups.append(number)
        rows += facts.row_group(number).num_rows
        if rows >= most_rows:
            break
    held = sum(
        facts.row_group(number).column(column).total_uncompressed_size
        for number in groups
        for column in range(facts.num_columns)
        if facts.row_group(number).column(column).path_in_schema.split(".")[0] in wanted
    )
    if held > LARGEST_GROUP:
        return {"problem": TOO_MUCH}
    shown: list[list[Any]] = []
    if groups and wanted:
        for batch in found.iter_batches(most_rows, row_groups=groups, columns=wanted):
            shown += [[row.get(name) for name in wanted] for row in batch.to_pylist()]
            if len(shown) >= most_rows:
                break
    shown = [[_plain(value) for value in row] for row in shown[:most_rows]]
    return {
        "columns": names,
        "rows": shown,
        "cut": facts.num_rows > len(shown),
        "total": facts.num_rows,
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value[:400] if isinstance(value, str) else value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {str(key)[:80]: _plain(item) for key, item in list(value.items())[:20]}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:20]]
    return str(value)[:400]


def main() -> None:
    """Answer one question."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    size, most_rows, most_columns = (int(value) for value in sys.argv[1:4])
    out = sys.stdout.buffer
    try:
        import pyarrow

        pyarrow.set_cpu_count(1)
        pyarrow.set_io_thread_count(1)
        answer = first_rows(_Pieces(size, out, sys.stdin.buffer), most_rows, most_columns)
    except Exception:  # whatever is wrong with a stranger's file is said in one way
        answer = {"problem": "This is not a whole Parquet file, or one that cannot be read."}
    out.write(json.dumps(answer, default=str).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
