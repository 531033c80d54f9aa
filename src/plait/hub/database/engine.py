# SPDX-License-Identifier: Apache-2.0
"""Opening the database."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.orm import Session


def make_engine(url: str) -> Engine:
    """Open the database; SQLite in WAL mode, with foreign keys and a patient busy timeout."""
    sqlite = url.startswith("sqlite")
    engine = create_engine(
        url,
        connect_args={"timeout": 30} if sqlite else {},
        pool_pre_ping=not sqlite,
        # As many as the server has threads, so that no request waits for a connection.
        pool_size=20,
        max_overflow=44,
    )
    if sqlite:

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            # The driver's own transaction handling would begin too late for BEGIN IMMEDIATE.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            # A transaction may ask for the write lock at once (see Hub.session(write=True)).
            mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
            connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def lock_name(session: Session, name: str) -> None:
    """Hold ``name`` until the end of the transaction, whether or not a row of that name exists.

    SQLite's transactions that write exclude each other anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        session.execute(select(func.pg_advisory_xact_lock(key)))
