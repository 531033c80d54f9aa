# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: migrates over the connection it is given."""

from __future__ import annotations

from alembic import context

from plait.hub.database import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()
