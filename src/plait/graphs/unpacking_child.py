# SPDX-License-Identifier: Apache-2.0
"""The process that unpacks Parquet tables: a job on stdin, Arrow files beside, an answer on stdout.

A few bytes of Parquet can unfold into more than any machine has: a dictionary whose one long entry
a million rows refer to, a page that says it has two thousand million items. What a file says of its
own size is not believed; rows are counted as they come, in a process whose memory is bounded.
Imports nothing of Plait, so that it starts fast.
"""

from __future__ import annotations

import base64
import json
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY = 4 * 2**30
"""Addresses that the process may take; a batch of rows must fit."""
PROCESSOR_SECONDS = 1_800
BATCH_BYTES = 16 * 2**20
BATCH_ROWS = 65_536


def main() -> int:
    """Unpack the tables that stdin names."""
    job = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = int(job["bytes"]) + 2**20
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    table = ""
    try:
        rows = size = 0
        for table, one in job["tables"].items():
            for more in _unpack(one):
                rows, size = rows + more[0], size + more[1]
                if rows > job["rows"] or size > job["bytes"]:
                    return _say({"problem": "large", "table": table, "rows": rows, "bytes": size})
    except MemoryError:
        return _say({"problem": "memory", "table": table})
    except _Misfit as error:
        return _say({"problem": "schema", "table": table, "message": str(error)[:500]})
    except Exception as error:
        return _say({"problem": "damaged", "table": table, "message": str(error)[:500]})
    return _say({})


class _Misfit(Exception):
    """The table has columns of other types."""


def _say(answer: dict[str, Any]) -> int:
    json.dump(answer, sys.stdout)
    return 0


def _unpack(one: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Write one table's wanted columns as an Arrow file; yield rows and bytes of each batch."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(one["schema"])))
    with Path(one["path"]).open("rb") as data:
        file = parquet.ParquetFile(data, pre_buffer=False)
        held = file.schema_arrow
        # A name that is there twice is one that is not there.
        wanted = [one for one in schema if held.names.count(one.name) == 1]
        names = [one.name for one in wanted]
        schema = pa.schema([one.with_nullable(True) for one in wanted])
        with pa.OSFile(one["out"], "wb") as out, pa.ipc.new_file(out, schema) as writer:
            for group in range(file.num_row_groups):
                facts = file.metadata.row_group(group)
                each = max(1, facts.total_byte_size // max(1, facts.num_rows))
                step = max(1, min(BATCH_ROWS, BATCH_BYTES // each))
                for batch in file.iter_batches(
                    step, row_groups=[group], columns=names, use_threads=False
                ):
                    # Arrow keeps dictionaries folded; here they unfold, where it is counted.
                    try:
                        plain = batch.select(names).cast(schema)
                    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
                        raise _Misfit(str(error)) from None
                    yield plain.num_rows, plain.nbytes
                    writer.write_batch(plain)


if __name__ == "__main__":
    sys.exit(main())
