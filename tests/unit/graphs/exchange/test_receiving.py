# SPDX-License-Identifier: Apache-2.0
"""What is read out of a database comes as a stream, and is kept as far as it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.errors import BadInput
from plait.graphs.exchange import receiving
from plait.graphs.exchange.bolt import Server
from plait.graphs.exchange.receiving import receive

SERVER = Server("bolt://127.0.0.1:1")
MANY = 10**6


class Answer:
    """A driver's result: its rows come one by one."""

    def __init__(self, rows: Iterator[Mapping[str, Any]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self._rows

    def data(self) -> list[Mapping[str, Any]]:
        return list(self._rows)


class Database:
    """Two nodes, of which the first has more relationships than a page holds many times."""

    def __init__(self) -> None:
        self.pulled = 0

    def run(self, query: str, **given: Any) -> Answer:
        nodes = [{"key": key, "labels": ["A"], "properties": {"id": key}} for key in ("a", "b")]
        if "count(*)" in query:
            return Answer(iter([{"labels": ["A"], "nodes": 2, "keyed": 2}]))
        if "-[r]->" in query:
            return Answer(self._relationships(given["end"]))
        last, included = given["last"], ">= $last" in query
        return Answer(
            row
            for row in nodes
            if last is None or row["key"] > last or (included and row["key"] == last)
        )

    def _relationships(self, end: str | None) -> Iterator[Mapping[str, Any]]:
        for number in range(int(end or 0), MANY):
            self.pulled += 1
            yield {"subject": "a", "kind": "R", "object": f"{number:010}", "properties": {}}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    held = Database()

    @contextmanager
    def session(server: Server) -> Iterator[Database]:
        yield held

    monkeypatch.setattr(receiving, "session", session)
    monkeypatch.setattr(receiving, "PAGE", 10)
    return held


def stopping(after: int) -> Any:
    def stop(done: int, stage: str) -> None:
        if done >= after:
            raise KeyboardInterrupt

    return stop


def test_a_hub_is_streamed_and_gone_on_with_where_it_was_left(
    database: Database, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    with pytest.raises(KeyboardInterrupt):
        receive(SERVER, source="x", spool=spool, progress=stopping(1_000))
    assert database.pulled == 998, "two nodes, and no row more than was asked for"
    kept = len(spool.read_bytes().splitlines())
    with pytest.raises(KeyboardInterrupt):
        receive(SERVER, source="x", spool=spool, progress=stopping(1_100))
    # The last end may have had more relationships, so that it alone is read again.
    assert database.pulled == 998 + 100
    assert len(spool.read_bytes().splitlines()) > kept


def test_a_spool_of_another_transfer_is_refused(database: Database, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with pytest.raises(KeyboardInterrupt):
        receive(SERVER, source="x", spool=spool, progress=stopping(100))
    with pytest.raises(BadInput, match=r"transfer of .*127\.0\.0\.1:1.*remove the file"):
        receive(Server("bolt://other"), source="x", spool=spool, progress=stopping(1_000))


def test_what_follows_the_last_place_is_read_again(database: Database, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with pytest.raises(KeyboardInterrupt):
        receive(SERVER, source="x", spool=spool, progress=stopping(100))
    whole = spool.read_bytes()
    # As a process leaves it that was killed: rows without their place, and half a line.
    lines = whole.splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if line.startswith(b'["at"')]
    spool.write_bytes(b"".join(lines[: places[-2] + 4]) + b'["relationship", {"subj')
    before = database.pulled
    with pytest.raises(KeyboardInterrupt):
        receive(SERVER, source="x", spool=spool, progress=stopping(200))
    again = [line for line in spool.read_bytes().splitlines(keepends=True) if b'["at"' not in line]
    assert database.pulled - before == 200 - (places[-2] - len(places) + 1)
    assert len(set(again)) >= 200
