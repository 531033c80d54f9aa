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
    from plait.hub.collect import collect_garbage

    with open_hub(directory) as hub:
        report = collect_garbage(hub, dry_run=dry_run)
    if as_json:
        print_json(asdict(report))
    else:
        print(report.summary())


def check_hub(directory: HubDirectory, as_json: Json = False) -> None:
    """Check that every revision's bytes are there; exit status 1 names what is missing."""
    from plait.hub.collect import check_consistency

    with open_hub(directory) as hub:
        problems = check_consistency(hub)
    if as_json:
        print_json({"problems": problems})
    else:
        print("\n".join(problems) if problems else "Every revision is whole.")
    if problems:
        raise typer.Exit(1)
