# SPDX-License-Identifier: Apache-2.0
"""``plait settings``: what an operator can set, and what is in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import Json, print_json
from plait.settings import Described, describe, load_settings, masked


def settings(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", envvar="PLAIT_DIR", help="Show what is in force for this hub."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table of docs/operate.md.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every setting: its variable, its value and what it means. Secrets are not shown."""
    if markdown:
        print(as_table())
        return
    force = load_settings(directory or Path())
    rows = [(row, masked(row.name, getattr(force, row.name))) for row in describe()]
    if as_json:
        print_json({row.variable: value for row, value in rows})
        return
    for row, value in rows:
        changed = "" if getattr(force, row.name) == row.default else "  (set)"
        print(f"{row.variable}={value}{changed}\n    {row.meaning}")


def as_table() -> str:
    """Return all settings as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for row in describe():
        rows.append(
            f"| `{row.variable}` | {_shown(row)} | {row.meaning.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows)


def _shown(row: Described) -> str:
    value = row.default
    if value == "":
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int) and value >= 2**20:
        for power, unit in ((30, "GiB"), (20, "MiB")):
            if value % 2**power == 0:
                return f"{value} ({value >> power} {unit})"
    return str(value)
