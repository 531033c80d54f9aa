# SPDX-License-Identifier: Apache-2.0
"""What the commands of ``plait graph`` share: the group, options, progress."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

graph = typer.Typer(
    help="Knowledge graphs: read them from other programs, merge, align, ask, write them.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="The folder of a graph.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The folder or file to write.")]
SourceName = Annotated[
    str, typer.Option(help="The name under which the statements' origin is kept.")
]
FormatName = Annotated[
    str | None, typer.Option("--format", help="The format, where the suffix does not tell it.")
]


def viewed(found: Any) -> Any:
    """Return a graph with entities that are one as one, and of conflicts the preferred."""
    from plait.graphs.view import collapsed, truthy

    return truthy(collapsed(found))


def show_count(done: int, stage: str) -> None:
    """Show on a terminal how many are done."""
    if sys.stderr.isatty():
        print(f"\r\033[K{stage}: {done:,}", end="", file=sys.stderr, flush=True)


def show_fraction(fraction: float, stage: str) -> None:
    """Show on a terminal what part is done."""
    if sys.stderr.isatty():
        print(f"\r\033[K{fraction:4.0%} {stage}", end="", file=sys.stderr, flush=True)


def clear_line() -> None:
    """Wipe the line of progress."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
