# SPDX-License-Identifier: Apache-2.0
"""``plait pr resolve``: conflicts of a pull request listed, and settled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call
from plait.errors import BadInput

SHOWN = 20
MAX_FILE = 2 * 2**20


def resolve(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="namespace/name")],
    number: Annotated[int, typer.Argument(metavar="N", help="The pull request's number.")],
    path: Annotated[
        list[str] | None, typer.Option("--path", help="A file in conflict; all without it.")
    ] = None,
    place: Annotated[
        str | None, typer.Option("--place", help="One place of the file, as the list names it.")
    ] = None,
    take: Annotated[
        str | None,
        typer.Option("--take", help="main, pull, or a file whose text is taken as the whole."),
    ] = None,
    value: Annotated[
        str | None, typer.Option("--value", help="What shall stand at the place, as JSON or text.")
    ] = None,
    repo_type: Annotated[str, typer.Option("--type", help="model, dataset or space.")] = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """List a pull request's conflicts with main, or settle them.

    Without --take or --value they are listed with both sides. `--take main` or `--take pull`
    decides wherever the two contradict each other, and keeps what both changed apart; with --path
    in that file, with --place at that place. What is decided is kept; when all is, main is
    merged into the pull request's branch, which can be merged then.
    """
    where = _address(repo, number, repo_type)
    found = call(endpoint, token, "GET", where)
    if take is None and value is None:
        print_json(found) if as_json else print(describe(found))
        return
    listed = {one["path"]: one for one in found["files"]}
    if path and (missing := [name for name in path if name not in listed]):
        raise BadInput(f"'{missing[0]}' has no conflict. {describe(found)}")
    if not listed:
        raise BadInput(describe(found))
    body = {"resolutions": _resolutions(path or list(listed), place, take, value)}
    done = call(endpoint, token, "POST", where, json.dumps(body).encode())
    if as_json:
        print_json(done)
    elif done["job"] is not None:
        print(
            f"Job {done['job']['id']} reads the tables and settles it: "
            f"plait pr wait {repo} {number}"
        )
    elif done["left"]:
        print(f"Kept. {done['left']} left to decide: plait pr resolve {repo} {number}")
    else:
        print(f"Settled in commit {done['commit'][:10]}; {repo} #{number} can be merged.")


def describe(found: dict[str, Any]) -> str:
    """Say in lines what is in conflict, with both sides."""
    if found["refused"]:
        return str(found["refused"])
    if not found["known"]:
        return "Its tables are large: ask for the merge, whose job finds out what contradicts."
    if not found["files"]:
        return "Nothing contradicts main."
    lines = []
    for one in found["files"]:
        lines.append(f"{one['path']} ({one['driver']}): {one['reason']}")
        for place in one["places"][:SHOWN]:
            lines.append(f"  {place['where']}   --place {place['id']}")
            lines += [f"    {side:5}{_short(place[side])}" for side in ("base", "main", "pull")]
        if one["count"] > SHOWN:
            lines.append(f"  and {one['count'] - min(SHOWN, len(one['places'])):,} more")
    return "\n".join(lines)


def _resolutions(
    paths: list[str], place: str | None, take: str | None, value: str | None
) -> dict[str, Any]:
    if place is not None and len(paths) != 1:
        raise BadInput("--place is a place of one file; name the file with --path.")
    if value is not None:
        if place is None or take is not None:
            raise BadInput("--value goes with --path and --place, and without --take.")
        return {paths[0]: {"places": {place: {"value": _plain(value)}}}}
    if take in ("main", "pull"):
        return {name: {"places": {place: take}} if place else take for name in paths}
    if place is not None or len(paths) != 1:
        raise BadInput("A file is taken for one --path as a whole; else give main or pull.")
    return {paths[0]: {"content": _text(Path(str(take)))}}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadInput(
                f"{path} is larger than {MAX_FILE:,} bytes; commit it to the pull request."
            )
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise BadInput(
            f"--take must be main, pull or a text file; there is no text file {path}."
        ) from None


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _short(value: Any) -> str:
    if value is None:
        return "—"
    text = " ".join(
        (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split()
    )
    return text if len(text) <= 100 else text[:99] + "…"


def _address(repo: str, number: int, repo_type: str) -> str:
    if repo_type not in ("model", "dataset", "space"):
        raise BadInput(f"--type must be model, dataset or space, not {repo_type!r}.")
    if repo.count("/") != 1:
        raise BadInput(f"REPO must be namespace/name, not {repo!r}.")
    return f"{repo_type}s/{quote(repo)}/pulls/{number}/conflicts"
