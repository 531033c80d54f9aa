# SPDX-License-Identifier: Apache-2.0
"""``plait verify``: make a fused revision again from its lineage and compare the bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.options import Json, print_json
from plait.errors import BadInput

if TYPE_CHECKING:
    from plait.fusion.results import Progress as FusionProgress
    from plait.fusion.verification import FileCheck
    from plait.lineage import Origin


def verify(
    model: Annotated[
        str,
        typer.Argument(
            metavar="REPO[@REV]", help="A model repository, or a folder with lineage.json."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Fuse a revision again from what its lineage names, and compare every byte.

    The base and every contribution are downloaded from the hub that HF_ENDPOINT names, with the
    rights of HF_TOKEN, and checked by hash. Exit status 0: the same bytes; 1: not.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from plait.fusion.resolve import resolve_model
    from plait.fusion.verification import verify as run
    from plait.lineage import FILE, parse_lineage

    folder = resolve_model(model)
    try:
        lineage = parse_lineage((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise BadInput(
            f"{model} has no {FILE}: it was not fused by merging pull requests, and nothing says "
            "what it was made from."
        ) from None

    def fetch(origin: Origin) -> Path:
        return resolve_model(f"{origin.repository}@{origin.revision}")

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    quiet = as_json or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        row = bar.add_task("Fetching", total=None)

        def show(state: FusionProgress) -> None:
            bar.update(row, description=state.stage, completed=state.done, total=state.total)

        found = run(lineage, folder, fetch, progress=show)
    if as_json:
        print_json(found.to_json())
    else:
        for check in (*found.inputs, *found.published, *found.made):
            _print(check)
        for name, (stated, here) in found.software.items():
            print(f"  made with {name} {stated}; this is {here}")
        print("The same bytes." if found.same else "Not the same.")
    if not found.same:
        raise typer.Exit(1)


def _print(check: FileCheck) -> None:
    word = "same" if check.same else "missing" if check.found is None else "differs"
    print(f"  {word:<8} {check.stated[:16]}  {check.model}: {check.path}")
