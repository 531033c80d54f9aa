# SPDX-License-Identifier: Apache-2.0
"""Parquet that strangers wrote as Arrow tables, unpacked by a process whose memory is bounded."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput, TooLarge
from plait.graphs import schema

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 50_000_000
MAX_MEMORY = 8 * 2**30
"""Bytes that the tables of one graph may take in memory."""
_CHILD = str(Path(__file__).with_name("unpacking_child.py"))


def unpack(files: Mapping[str, bytes], origins: Mapping[str, str]) -> dict[str, pa.Table]:
    """Return the tables of Parquet files, with the columns that `schema.schema` has.

    Args:
        files: by the table's name.
        origins: what each is called in messages.

    Raises:
        BadInput: one is no Parquet file that can be read.
        TooLarge: together they have more than `MAX_ROWS` rows, or unfold to more than `MAX_MEMORY`.
    """
    pa = schema.arrow()
    with tempfile.TemporaryDirectory(prefix="plait-graph-") as place:
        folder = Path(place)
        tables: dict[str, dict[str, Any]] = {}
        for name, data in files.items():
            (folder / f"{name}.parquet").write_bytes(data)
            tables[name] = {
                "path": str(folder / f"{name}.parquet"),
                "out": str(folder / f"{name}.arrow"),
                "schema": base64.b64encode(schema.schema(name).serialize()).decode(),
            }
        job = {"tables": tables, "rows": MAX_ROWS, "bytes": MAX_MEMORY}
        done = subprocess.run(
            [sys.executable, _CHILD],
            input=json.dumps(job).encode(),
            capture_output=True,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            # Native code that gets no memory may end its process without a word.
            answer = {"problem": "memory", "table": ""}
        _check(answer, origins)
        made = {}
        for name, one in tables.items():
            # The file's pages stay mapped after its name is gone.
            with pa.memory_map(one["out"]) as held:
                made[name] = pa.ipc.open_file(held).read_all()
        return made


def _check(answer: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    problem = answer.get("problem")
    if problem is None:
        return
    origin = origins.get(str(answer["table"])) or ", ".join(origins.values())
    if problem == "damaged":
        raise BadInput(f"{origin} is no Parquet file that can be read: {answer['message']}")
    if problem == "schema":
        raise BadInput(f"{origin} does not hold to its schema: {answer['message']}")
    bounds = f"Plait reads graphs of up to {MAX_ROWS:,} rows and {MAX_MEMORY:,} bytes in memory"
    if problem == "memory":
        raise TooLarge(
            f"{origin} has rows that unfold to gigabytes each time a few are read; {bounds}."
        )
    raise TooLarge(
        f"{origin} unfolds to more than {answer['rows']:,} rows and {answer['bytes']:,} bytes; "
        f"{bounds}."
    )
