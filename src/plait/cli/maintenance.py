# SPDX-License-Identifier: Apache-2.0
"""``plait gc`` and ``plait check-hub``: what an operator runs now and then."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from plait.cli.options import HubDirectory, Json, open_hub, print_json


def gc(
    directory: HubDirectory,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove bytes that no revision refers to any more. Safe while the hub serves.

    Bytes younger than a day stay: the commit of their upload may still be on its way.
    """
    from plait.hub.collect import collect

    with open_hub(directory) as hub:
        report = collect(hub, dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
        return
    verb = "Would remove" if dry_run else "Removed"
    print(
        f"{verb} {len(report.blobs)} blobs ({report.blob_bytes / 1e6:,.1f} MB), "
        f"{len(report.xorbs)} xorbs, {len(report.temporary)} unfinished uploads, "
        f"{len(report.git_folders)} abandoned git folders, {report.sessions} expired sessions."
    )


def check_hub(
    directory: HubDirectory,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every blob and compare its checksum.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that every revision's bytes are there; exit status 1 names what is missing."""
    from plait.hub.collect import check

    with open_hub(directory) as hub:
        problems = check(hub, deep=deep)
    if as_json:
        print_json({"problems": [asdict(problem) for problem in problems]})
    else:
        print("\n".join(map(str, problems)) if problems else "Every revision is whole.")
    if problems:
        raise typer.Exit(1)
