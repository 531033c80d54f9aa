# SPDX-License-Identifier: Apache-2.0
"""``plait fuse``: make one model of several, by a recipe."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import Json, cpu_seconds, print_json
from plait.errors import BadInput


def fuse(
    recipe: Annotated[
        Path, typer.Argument(help="A YAML recipe: mergekit's language, or another level.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")],
    threads: Annotated[
        int | None, typer.Option(help="Threads to use; default: every core.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder when it exists.")
    ] = False,
    shard_size: Annotated[
        str | None,
        typer.Option(help="Most bytes in one file of weights, such as 5GB; default: one file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fuse models by a recipe: their weights, outputs or features, by distillation, or `auto`.

    Models are folders or repository ids (taken from the hub that HF_ENDPOINT names). Streams:
    memory stays near the largest tensor. An interrupted run resumes where it stopped.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from plait.fusion import Progress as FusionProgress
    from plait.fusion import fuse as run
    from plait.fusion.summary import summary
    from plait.fusion.weights.check import human

    quiet = as_json or not sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        row = bar.add_task("Fusing", total=None)

        def show(state: FusionProgress) -> None:
            bar.update(row, description=state.stage, completed=state.done, total=state.total)

        result = run(
            recipe,
            out,
            threads=threads,
            overwrite=overwrite,
            progress=show,
            out_shard_size=_bytes(shard_size) if shard_size else None,
        )
    if as_json:
        print_json(asdict(result))
        return
    for line in summary(result.report):
        print(line)
    for line in result.report.get("warnings", ()):
        print(f"warning: {line}", file=sys.stderr)
    size = sum((result.out / name).stat().st_size for name in result.outputs)
    print(f"Wrote {result.out} ({human(size)}, {cpu_seconds(result.cpu_seconds)})")
    for name, digest in sorted(result.outputs.items()):
        print(f"  {digest}  {name}")


def _bytes(text: str) -> int:
    """Return the number of bytes of a text such as 500MB or 5GB (powers of a thousand)."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not found or float(found.group(1)) <= 0:
        raise BadInput(f"--shard-size must be a size such as 500MB or 5GB, not '{text[:40]}'.")
    return int(float(found.group(1)) * 1000 ** " KMGT".index(found.group(2).upper() or " "))
