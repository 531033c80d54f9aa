# SPDX-License-Identifier: Apache-2.0
"""``plait demo``: the whole road, on real models and real text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SizeName(StrEnum):
    """How much the demo takes on."""

    full = "full"
    small = "small"


def demo(
    directory: Annotated[
        Path,
        typer.Option("--dir", help="The demo's folder; an earlier demo's is cleared first."),
    ] = Path("plait-demo"),
    port: Annotated[int, typer.Option(help="Port of the hub; 0 takes a free one.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write what was measured as JSON to this file.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Keep the hub up at the end, until Ctrl-C.")
    ] = True,
    size: Annotated[
        SizeName, typer.Option(help="full: MiniLM, minutes. small: a 4 M encoder, a minute.")
    ] = SizeName.full,
) -> None:
    """Show the whole road: four organisations' models become one.

    Starts a hub, lets four organisations fine-tune one base on texts that never leave them,
    merges their pull requests one after the other behind a gate, measures everything on test
    items that nobody has used, and serves the pages. Needs no network but the package registry,
    and about eight minutes on two cores.
    """
    import signal

    from plait.demo.run import run_demo
    from plait.demo.sizes import SIZES

    # Whoever ends the demo politely ends its hub too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_demo(directory, size=SIZES[size.value], port=port, report_file=report, serve=serve)
