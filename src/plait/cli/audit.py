# SPDX-License-Identifier: Apache-2.0
"""``plait audit``: read the audit log, and check that nobody has changed it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.options import HubDirectory, Json, open_hub, print_json
from plait.errors import BadInput

if TYPE_CHECKING:
    from plait.hub.database import AuditEntry

audit = typer.Typer(
    no_args_is_help=True, help="Read the audit log, and check that nobody has changed it."
)


@audit.command("verify")
def verify(
    directory: HubDirectory,
    noted: Annotated[
        str,
        typer.Option("--noted", help="POSITION:HASH of an entry noted elsewhere: still there?"),
    ] = "",
    as_json: Json = False,
) -> None:
    """Check the chain of hashes; exit status 1 names the first entry that breaks it.

    The last line says position and hash of the newest entry. Note it elsewhere: with --noted, a
    later check also sees whether the end of the log was cut off.
    """
    position, expected = None, ""
    if noted:
        number, _, expected = noted.partition(":")
        if not number.isdigit() or len(expected) != 64:
            raise BadInput("Write what you noted as POSITION:HASH.")
        position = int(number)
    with open_hub(directory) as hub:
        found = hub.audit.verify(position=position, expected=expected)
    if as_json:
        print_json(
            {
                "entries": found.entries,
                "position": found.position,
                "hash": found.hash,
                "broken": found.broken,
                "reason": found.reason,
            }
        )
    elif found.broken is not None:
        print(f"The audit log is broken at entry {found.broken}: {found.reason}.")
    else:
        print(f"The audit log is whole: {found.entries} entries.")
        print(f"{found.position}:{found.hash}")
    if found.broken is not None:
        raise typer.Exit(1)


@audit.command("list")
def list_entries(
    directory: HubDirectory,
    who: Annotated[str, typer.Option("--actor", help="Only what this account did.")] = "",
    action: Annotated[str, typer.Option(help="Only this: 'token.create', or all of 'token'.")] = "",
    target: Annotated[str, typer.Option(help="Only what was done to this.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the newest entries, newest first."""
    from plait.hub import SYSTEM
    from plait.hub.audit import public

    found: list[AuditEntry] = []
    with open_hub(directory) as hub:
        cursor: str | None = None
        while len(found) < limit:
            page = hub.audit.list(
                SYSTEM,
                who=who,
                action=action,
                target=target,
                limit=limit - len(found),
                cursor=cursor,
            )
            found += page.items
            cursor = page.cursor
            if cursor is None:
                break
    if as_json:
        print_json([public(entry) for entry in found])
        return
    for entry in found:
        details = json.dumps(entry.details) if entry.details else ""
        when, by = f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.actor or "somebody"
        print(
            entry.position, when, by, entry.address, entry.action, entry.target, details, sep="\t"
        )


@audit.command("export")
def export(directory: HubDirectory) -> None:
    """Write the whole log as JSON Lines on standard output, oldest first, with its hashes."""
    from plait.hub.audit import public

    with open_hub(directory) as hub:
        for entry in hub.audit.entries():
            line = {**public(entry), "previous": entry.previous, "hash": entry.hash}
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
