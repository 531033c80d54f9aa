# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plait.hub import Hub

HubDirectory = Annotated[
    Path,
    typer.Option(
        "--dir", envvar="PLAIT_DIR", help="The hub's folder; it is made when it does not exist."
    ),
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", envvar="HF_ENDPOINT", help="The hub's address.")
]
HubToken = Annotated[
    str | None, typer.Option("--token", envvar="HF_TOKEN", help="Your token.", show_envvar=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextmanager
def open_hub(directory: Path) -> Iterator[Hub]:
    """Open the hub in ``directory`` for one command; a running server does not mind."""
    from plait.hub import Hub
    from plait.settings import load_settings

    hub = Hub.open(load_settings(directory))
    try:
        yield hub
    finally:
        hub.close()


def cpu_seconds(seconds: float) -> str:
    """Return CPU-seconds as people read them: what is too short to tell is said to be."""
    return f"{seconds:,.1f} CPU s" if seconds >= 0.1 else "under 0.1 CPU s"


def count_of_parameters(count: int) -> str:
    """Return a number of parameters as people read it: in full up to a hundred thousand."""
    if count < 100_000:
        return f"{count:,} parameters"
    return f"{count / 1e6:,.1f} M parameters"


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output; what is no finite number, as null."""
    try:
        told = json.dumps(value, indent=2, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:  # rare, and a second pass is then cheap
        plain = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
        told = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    print(told)
