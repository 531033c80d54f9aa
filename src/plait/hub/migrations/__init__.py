# SPDX-License-Identifier: Apache-2.0
"""Bringing a database to the present form of its tables."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from plait.errors import BadInput

HEAD = "0001"
"""The newest revision. Kept here so that an up-to-date database is opened without Alembic."""


def current(engine: Engine) -> str | None:
    """Return the revision of a database, None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(engine: Engine) -> None:
    """Bring a database to `HEAD`; the caller holds the hub's lock.

    Raises:
        BadInput: a newer Plait has already changed it.
    """
    found = current(engine)
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
    immediate = engine.execution_options(sqlite_begin="IMMEDIATE")
    with immediate.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
