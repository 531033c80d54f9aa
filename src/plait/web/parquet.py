# SPDX-License-Identifier: Apache-2.0
"""The first rows of a Parquet file, read by a process of its own.

A stranger's Parquet file may ask for any amount of memory and any amount of work, and is read by
native code. So a child process reads it, which can be ended and whose memory and processor time
are limited; it asks for pieces of the file over a pipe and answers with plain JSON.
"""

from __future__ import annotations

import io
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from plait.errors import BadInput, MissingExtra
from plait.web.parquet_child import TOO_MUCH
from plait.web.tables import MOST_COLUMNS, MOST_ROWS, Table, table

MOST_BYTES = 64 * 2**20
"""How much of the file the child may ask for."""
LONGEST = 10.0
_ANSWER = 4 * 2**20
_CHILD = str(Path(__file__).with_name("parquet_child.py"))

Read = Callable[[int, int], bytes]
"""Gives bytes of the file: start, length."""


def read_parquet(read: Read, size: int, key: str) -> Table:
    """Return the first rows of a Parquet file of ``size`` bytes, whose content ``key`` names.

    Raises:
        MissingExtra: pyarrow is not installed.
        BadInput: it is not such a file, or asks for too much.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtra("pyarrow", "train")
    known = _known(key)
    if not known:
        known.append(_ask_child(read, size))
    found = known[0]
    if "problem" in found:
        raise BadInput(str(found["problem"])[:300])
    return table(found["columns"], found["rows"], cut=found["cut"], total=found["total"])


@lru_cache(maxsize=64)
def _known(key: str) -> list[dict[str, Any]]:
    """Return the place where a file's first rows are kept once read: content never changes."""
    return []


def _ask_child(read: Read, size: int) -> dict[str, Any]:
    too_much = {"problem": TOO_MUCH}
    child = subprocess.Popen(
        [sys.executable, "-I", _CHILD, *map(str, (size, MOST_ROWS, MOST_COLUMNS))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"},
    )
    assert child.stdin is not None and child.stdout is not None
    deadline, left = time.monotonic() + LONGEST, MOST_BYTES
    output = cast(io.BufferedReader, child.stdout)
    try:
        while True:
            line = _line(output, deadline)
            if line is None:
                return too_much
            said: dict[str, Any] = json.loads(line)
            if "read" not in said:
                return said
            start, length = (int(value) for value in said["read"])
            left -= length
            if left < 0 or length < 0:
                return too_much
            child.stdin.write(read(start, length))
            child.stdin.flush()
    except (ValueError, BrokenPipeError):
        return too_much
    finally:
        child.kill()
        child.stdin.close()
        output.close()
        child.wait()


def _line(output: io.BufferedReader, deadline: float) -> bytes | None:
    """Return the child's next line, None if it ended, took too long or said too much."""
    said = bytearray()
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([output], [], [], max(deadline - time.monotonic(), 0))
        piece = output.read1(65536) if ready else b""
        said += piece
        if not piece or len(said) > _ANSWER:
            return None
    return bytes(said)
