# SPDX-License-Identifier: Apache-2.0
"""``plait extract``: a fine-tune as an adapter."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import Json, print_json


def extract(
    model: Annotated[str, typer.Argument(help="The fine-tune: a folder or a repository id.")],
    base: Annotated[str, typer.Option(help="What it was fine-tuned from.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")],
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    as_json: Json = False,
) -> None:
    """Extract the LoRA adapter that is nearest to what a fine-tune changed of its base."""
    from plait.fusion.resolve import resolve_model
    from plait.fusion.weights.extract import extract_adapter

    found = extract_adapter(resolve_model(base), resolve_model(model), out, rank=rank)
    if as_json:
        print_json(asdict(found))
        return
    print(
        f"Wrote {found.out}: {found.matrices} matrices at rank {found.rank}, {found.kept:.1%} of "
        "their change"
    )
    if found.left_out:
        print(f"left out: {len(found.left_out)} other tensors, such as {found.left_out[0]}")
