# SPDX-License-Identifier: Apache-2.0
"""``plait storage``: where large files lie, and moving them elsewhere."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.options import HubDirectory, Json, print_json

if TYPE_CHECKING:
    from plait.hub.storage.migrate import Migration

storage = typer.Typer(no_args_is_help=True, help="Where large files lie.")


@storage.callback()
def _root() -> None:
    """Hold the commands."""


@storage.command("migrate")
def migrate(
    directory: HubDirectory,
    to: Annotated[str, typer.Option("--to", help="`disk` or s3://bucket/prefix.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="`disk` or s3://…; the store in force when not given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy all blobs and xorbs to another store, checked. Safe while the hub serves.

    Killed, it goes on where it was. When it is through, set PLAIT_STORE to the new store, restart
    the hub, and run it once more with --from for what arrived in between. Nothing is removed from
    the old store: delete it when the hub has been well for some days.
    """
    from plait.hub.storage import migrate as copying
    from plait.hub.storage import open_store
    from plait.settings import load_settings

    settings = load_settings(directory)
    settings.temporary_dir.mkdir(parents=True, exist_ok=True)

    def progress(report: Migration) -> None:
        if sys.stderr.isatty():
            gigabytes = report.copied_bytes / 1e9
            text = f"\r{report.copied} objects copied ({gigabytes:.2f} GB), {report.there} there"
            print(text, end="", file=sys.stderr, flush=True)

    target = open_store(settings, to)
    report = copying.migrate(settings, open_store(settings, source), target, progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if as_json:
        print_json(asdict(report))
    else:
        print(
            f"Copied {report.copied} objects ({report.copied_bytes / 1e6:,.1f} MB); "
            f"{report.there} were in {target.address} already."
        )
        for name in report.damaged:
            print(f"Damaged, not copied: {name}")
    if report.damaged:
        raise typer.Exit(1)
