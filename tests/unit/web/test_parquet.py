# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import time

import pytest

from plait.errors import BadInput
from plait.web import parquet
from plait.web.parquet import MOST_BYTES, read_parquet

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def written(**columns: list[object]) -> bytes:
    import pyarrow.parquet as writer

    buffer = io.BytesIO()
    writer.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def test_the_first_rows_of_any_type_are_shown() -> None:
    data = written(
        id=list(range(300)), text=["é"] * 300, bits=[b"\x00\x01"] * 300, many=[[1.5, None]] * 300
    )
    found = read_parquet(lambda start, length: data[start : start + length], len(data), "first")
    assert list(found.columns) == ["id", "text", "bits", "many"]
    assert [value.text for value in found.rows[2]] == ["2", "é", "2 bytes", "[1.5, null]"]
    assert len(found.rows) == 100 and found.total == 300 and found.cut


def test_a_file_that_was_read_is_not_read_again() -> None:
    data = written(id=[1])
    read_parquet(lambda start, length: data[start : start + length], len(data), "again")

    def never(start: int, length: int) -> bytes:
        raise AssertionError("read twice")

    assert len(read_parquet(never, len(data), "again").rows) == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 1000, b"x" * 5000])
def test_what_is_no_parquet_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        read_parquet(lambda start, length: data[start : start + length], len(data), f"{data!r:.40}")


def test_a_damaged_file_is_refused_and_does_no_harm() -> None:
    good = written(id=list(range(1000)), text=["word"] * 1000)
    for place in (5, len(good) // 2, len(good) - 60, len(good) - 12):
        data = good[:place] + bytes(value ^ 0xFF for value in good[place : place + 8])
        data += good[place + 8 :]
        try:
            found = read_parquet(
                lambda start, length, data=data: data[start : start + length],  # type: ignore[misc]
                len(data),
                f"damaged {place}",
            )
        except BadInput:
            continue
        assert len(found.rows) <= 100


def test_a_file_that_asks_for_too_much_is_refused() -> None:
    size = 10 * MOST_BYTES
    # Its end says that nearly all of it is the footer.
    end = (size - 8).to_bytes(4, "little") + b"PAR1"

    def read(start: int, length: int) -> bytes:
        tail = max(0, start + length - (size - 8))
        return bytes(max(length - tail, 0)) + end[8 - tail :] if tail else bytes(length)

    with pytest.raises(BadInput):
        read_parquet(read, size, "greedy")


def test_a_child_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(id=[1])
    monkeypatch.setattr(parquet, "LONGEST", 0.0)
    began = time.monotonic()
    with pytest.raises(BadInput):
        read_parquet(lambda start, length: data[start : start + length], len(data), "slow")
    assert time.monotonic() - began < 5
