# SPDX-License-Identifier: Apache-2.0
"""``plait credit`` and ``plait like``: what contributions gained, and liking repositories."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from plait.cli.contributions import repository_path
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call


def credit(
    where: Annotated[
        str, typer.Argument(metavar="ORG | REPO", help="An organisation, a user or a model.")
    ],
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Tell what contributions gained, in points: an organisation's in all models, or a model's."""
    model = "/" in where
    path = repository_path(where) if model else f"accounts/{quote(where, safe='')}"
    found = call(endpoint, token, "GET", f"{path}/credit")
    if as_json:
        print_json(found)
        return
    rows = found["contributions"] if model else found["models"]
    for row in rows:
        error = f" ± {100 * row['error']:.1f}" if row["error"] else ""
        what = (
            f"#{row['number']}\t{row['organisation']}"
            if model
            else f"{row['model']}\t{', '.join(f'#{n}' for n in row['contributions'])}"
        )
        print(f"{what}\t{100 * row['value']:+.1f}{error}\t{row['metric']}")
    if not rows:
        print("Nothing has been credited yet.")
    elif model:
        print(f"together\t\t{100 * found['total']:+.1f}")


def like(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")],
    off: Annotated[bool, typer.Option("--off", help="Take the like back.")] = False,
    kind: Annotated[str, typer.Option("--type", help="model, dataset or space.")] = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Like a repository, or take the like back."""
    found = call(
        endpoint, token, "DELETE" if off else "POST", f"{repository_path(repo, kind)}/like"
    )
    print(f"{found['likes']} like it." if found["likes"] != 1 else "1 likes it.")
