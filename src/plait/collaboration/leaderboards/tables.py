# SPDX-License-Identifier: Apache-2.0
"""Leaderboards as tables to download."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from plait.collaboration.leaderboards.board import Board
from plait.errors import BadInput

COLUMNS = (
    "task", "rank", "of", "model", "revision", "score", "low", "high", "n", "groups",
    "parameters", "license", "datasets", "date",
)  # fmt: skip


def table_text(found: Sequence[Board]) -> str:
    """Write boards as one CSV table."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for one in found:
        for row in one.rows:
            plain = row.to_json() | {"task": one.task}
            plain |= {"low": plain["interval"][0], "high": plain["interval"][1]}
            plain["datasets"] = " ".join(plain["datasets"])
            writer.writerow([_cell(plain[name]) for name in COLUMNS])
    return out.getvalue()


def moment(text: str) -> datetime | None:
    """Read a day or a time.

    Raises:
        BadInput: it is none.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text[:40])
    except ValueError:
        raise BadInput("'since' must be a day, like 2026-01-31.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _cell(value: Any) -> Any:
    # A spreadsheet takes such a text for a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
