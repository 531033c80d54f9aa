# SPDX-License-Identifier: Apache-2.0
"""Bringing a database to the present form of its tables."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from plait.errors import BadInput
from plait.hub.database.engine import WRITE, explain

HEAD = "0001"
"""The newest revision. Kept here so that an up-to-date database is opened without Alembic."""


def current(connection: Connection) -> str | None:
    """Return the revision of a database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def upgrade(engine: Engine) -> None:
    """Bring a database to `HEAD`; of several servers that start at once, one does it.

    Raises:
        BadInput: a newer Plait has already changed it.
        DatabaseUnavailable: the database does not answer.
    """
    try:
        with engine.connect() as connection:
            found = current(connection)
        if found != HEAD:
            with engine.execution_options(**{WRITE: True}).begin() as connection:
                _upgrade(connection, current(connection))
    except DBAPIError as error:
        if (meaning := explain(error)) is None:
            raise
        host = engine.url.set(password=None).render_as_string()
        raise type(meaning)(f"{meaning} It is {host}: {str(error.orig).strip()}") from error


def _upgrade(connection: Connection, found: str | None) -> None:
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise BadInput(
            f"The hub's database is at revision {found}, this Plait knows only {HEAD}. "
            "Install the newer version."
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
