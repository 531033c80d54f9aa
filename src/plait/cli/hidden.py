# SPDX-License-Identifier: Apache-2.0
"""``plait hidden``: test sets that go in and never come out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call
from plait.errors import BadInput

hidden = typer.Typer(
    no_args_is_help=True,
    help="Test sets that nobody can download: a data set's splits that only the hub's jobs read.",
)

Repo = Annotated[str, typer.Argument(metavar="REPO", help="The data set: namespace/name")]


@hidden.command("list")
def show(
    repo: Repo, endpoint: Endpoint = None, token: HubToken = None, as_json: Json = False
) -> None:
    """List a data set's hidden splits, their files and the questions asked."""
    found = call(endpoint, token, "GET", _path(repo))
    print_json(found) if as_json else print(describe(repo, found))


@hidden.command("put")
def put(
    repo: Repo,
    file: Annotated[Path, typer.Argument(help="SPLIT.jsonl, SPLIT.parquet or SPLIT.csv")],
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Store a file of a hidden split, in place of one of that name.

    The data set's plait.yaml must name the split: evaluation: {hidden: [test]}. Keep your own copy:
    nobody gets the file back.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}.") from None
    path = f"{_path(repo)}/{quote(file.name, safe='')}"
    made = call(endpoint, token, "PUT", path, content, "application/octet-stream")
    print(f"Stored {made['name']} ({made['size']:,} bytes) in the hidden split {made['split']}.")


@hidden.command("remove")
def remove(
    repo: Repo,
    name: Annotated[str, typer.Argument(help="The file's name, as listed.")],
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Remove a file of a hidden split for good."""
    call(endpoint, token, "DELETE", f"{_path(repo)}/{quote(name, safe='')}")
    print(f"Removed {name}.")


def describe(repo: str, found: dict[str, Any]) -> str:
    """Say in lines which splits are hidden."""
    if not found["splits"]:
        return f"{repo} has no hidden splits."
    lines = [f"{repo}: {found['limit']} questions for one user or organisation"]
    for split in found["splits"]:
        asked = "" if split["asked"] is None else f", {split['asked']} asked in this period"
        lines.append(f"{split['split']}: {len(split['files'])} files{asked}")
        lines += [f"  {one['name']}  {one['size']:,} bytes" for one in split["files"]]
    return "\n".join(lines)


def _path(repo: str) -> str:
    if repo.count("/") != 1:
        raise BadInput(f"REPO must be namespace/name, not {repo!r}.")
    return f"datasets/{quote(repo)}/hidden"
