# SPDX-License-Identifier: Apache-2.0
"""Opening the database."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError, TimeoutError
from sqlalchemy.orm import Session

from plait.errors import (
    BadInput,
    DatabaseBusy,
    DatabaseUnavailable,
    MissingExtra,
    PlaitError,
    StorageFull,
)

WRITE = "plait_write"
"""The execution option of transactions that write: they exclude each other from their start."""

_PATIENCE = 30
"""Seconds that a transaction waits for its turn to write."""
_BUSY = frozenset({"40001", "40P01", "55P03", "57014"})  # PostgreSQL's codes for "once more"


def make_engine(url: str, connections: int = 30) -> Engine:
    """Open the database, at most ``connections`` at once where it is a server.

    Transactions that write come one after another on both databases, so that what such a
    transaction has read stays true until it is written. On SQLite that is its write lock, in
    PostgreSQL an advisory lock; the rest of the isolation is each database's default.

    Raises:
        BadInput: the URL is not one of SQLite or PostgreSQL.
        MissingExtra: the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadInput(
            "PLAIT_DATABASE_URL is not an address of a database. Write "
            "'postgresql://user:password@host:5432/name', or leave it out for SQLite."
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend not in ("postgresql", "postgres"):
        raise BadInput(
            f"Plait keeps its records in SQLite or PostgreSQL, not in {backend!a}. Write "
            "PLAIT_DATABASE_URL as 'postgresql://user:password@host:5432/name'."
        )
    if connections < 1:
        raise BadInput("PLAIT_DATABASE_CONNECTIONS must be 1 or more.")
    return _postgresql(parsed.set(drivername="postgresql+psycopg"), connections)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": _PATIENCE},
        # As many as the server has threads, so that no request waits for a connection.
        pool_size=20,
        max_overflow=44,
    )

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
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN DEFERRED")

    return engine


def _postgresql(url: URL, connections: int) -> Engine:
    try:
        engine = create_engine(
            url,
            connect_args={"connect_timeout": 10, "application_name": "plait"},
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,  # the database may have been restarted meanwhile
            pool_size=connections,
            max_overflow=0,
            pool_timeout=_PATIENCE,
        )
    except ModuleNotFoundError:
        raise MissingExtra("The driver of PostgreSQL (psycopg)", "postgres") from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITE):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_key('plait writes')})")

    return engine


def explain(error: DBAPIError | TimeoutError) -> PlaitError | None:
    """Return what an error of the database means to whoever asked; None for a mistake of ours."""
    if isinstance(error, TimeoutError):
        return DatabaseBusy(_ONCE_MORE)
    said = str(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    if "disk is full" in said or state == "53100":
        return StorageFull("There is no room left for the hub's database. Free space on its disk.")
    if isinstance(error, DataError):
        return BadInput("A value is too long, too large, or has the character NUL. Change it.")
    if state in _BUSY or "database is locked" in said:
        return DatabaseBusy(_ONCE_MORE)
    if isinstance(error, OperationalError) and (error.connection_invalidated or state is None):
        return DatabaseUnavailable("The hub's database does not answer. Try again in a moment.")
    return None


_ONCE_MORE = "The hub's database is busy. Try again in a moment."


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def lock_name(session: Session, name: str) -> None:
    """Hold ``name`` until the end of the transaction, whether or not a row of that name exists.

    Transactions that write exclude each other anyway; this says so to the others.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_key(name))))
