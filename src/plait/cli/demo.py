# SPDX-License-Identifier: Apache-2.0
"""``plait demo``: the whole road, on real models and text, and on real graphs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SizeName(StrEnum):
    """How much the demo takes on."""

    full = "full"
    small = "small"


demo = typer.Typer(invoke_without_command=True)

Port = Annotated[int, typer.Option(help="Port of the hub; 0 takes a free one.")]
Report = Annotated[Path | None, typer.Option(help="Write what was measured as JSON to this file.")]
Serve = Annotated[
    bool, typer.Option("--serve/--no-serve", help="Keep the hub up at the end, until Ctrl-C.")
]


@demo.callback()
def models(
    context: typer.Context,
    directory: Annotated[
        Path,
        typer.Option("--dir", help="The demo's folder; an earlier demo's is cleared first."),
    ] = Path("plait-demo"),
    port: Port = 0,
    report: Report = None,
    serve: Serve = True,
    size: Annotated[
        SizeName, typer.Option(help="full: MiniLM, minutes. small: a 4 M encoder, a minute.")
    ] = SizeName.full,
) -> None:
    """Show the whole road: four organisations' models become one.

    Starts a hub, lets four organisations fine-tune one base on texts that never leave them,
    merges their pull requests one after the other behind a gate, measures everything on test
    items that nobody has used, and serves the pages. Needs no network but the package registry,
    and about eight minutes on two cores. **plait demo graph** does the like with knowledge graphs.
    """
    if context.invoked_subcommand is not None:
        return
    from plait.demo.run import run_demo
    from plait.demo.sizes import SIZES

    _end_politely()
    run_demo(directory, size=SIZES[size.value], port=port, report_file=report, serve=serve)


@demo.command("graph")
def graph(
    directory: Annotated[
        Path,
        typer.Option("--dir", help="The demo's folder; an earlier demo's is cleared first."),
    ] = Path("plait-demo-graph"),
    port: Port = 0,
    report: Report = None,
    serve: Serve = True,
    size: Annotated[
        SizeName, typer.Option(help="full: MiniLM learns to read. small: a 4 M encoder.")
    ] = SizeName.full,
) -> None:
    """Show two organisations' knowledge graphs become one.

    Starts a hub, publishes a graph of countries by their own names, refuses a pull request that
    breaks its shapes, aligns a second graph with English names and merges it with its conflicts,
    settles one as a person, and writes the union for Gephi. Then a tagger learns on sentences
    made of the graph, reads others that were written by hand, and what it found becomes a pull
    request. Needs no network but the package registries, and less than five minutes on two cores.
    """
    from plait.demo.graph_run import run_graph_demo

    _end_politely()
    run_graph_demo(directory, port=port, report_file=report, serve=serve, size=size.value)


def _end_politely() -> None:
    """Let whoever ends the demo with a signal end its hub too."""
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
