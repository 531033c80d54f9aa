# SPDX-License-Identifier: Apache-2.0
"""``plait lineage``: what a model or a data set was made from."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from plait.cli.options import Endpoint, HubToken, print_json
from plait.errors import BadInput, PlaitError

if TYPE_CHECKING:
    from plait.lineage import Lineage
    from plait.lineage.models import Subject


def lineage(
    model: Annotated[
        str,
        typer.Argument(metavar="REPO[@REV]", help="A repository, or a folder with lineage.json."),
    ],
    form: Annotated[
        str, typer.Option("--format", help="text, json, cyclonedx, prov or spdx.")
    ] = "text",
    repo_type: Annotated[
        str, typer.Option("--type", help="model, or dataset: what was merged into its tables.")
    ] = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Show what a model or data set was made from: by hash, by whom, under which licence.

    As a table; as lineage.json itself; or as a CycloneDX ML-BOM, W3C PROV or SPDX document, for the
    tools of auditors. Repositories come from the hub that HF_ENDPOINT names. A data set has no
    lineage.json: the hub reads its lineage from the pull requests that were merged into it.
    """
    from plait.lineage import FORMATS, dump_lineage, export

    if form not in ("text", "json", *FORMATS):
        raise BadInput(f"--format must be text, json, {', '.join(FORMATS)}; not '{form[:40]}'.")
    if repo_type == "dataset":
        _of_data(model, form, endpoint, token)
        return
    if repo_type != "model":
        raise BadInput(f"--type must be model or dataset, not '{repo_type[:40]}'.")
    found, subject = _of_model(model)
    if form == "json":
        print(dump_lineage(found).decode(), end="")
    elif form != "text":
        print_json(export(found, subject, form))
    else:
        _print(found, subject, "fused by")


def _of_model(model: str) -> tuple[Lineage, Subject]:
    """Read the lineage.json of a folder or of a hub's repository."""
    from plait.cards import read_head
    from plait.fusion.resolve import resolve_model
    from plait.lineage import FILE, parse_lineage
    from plait.lineage.models import Subject

    folder = resolve_model(model)
    try:
        found = parse_lineage((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise BadInput(
            f"{model} has no {FILE}: it was not fused by merging pull requests. Of a data set, say "
            "--type dataset."
        ) from None
    try:
        stated = read_head((folder / "README.md").read_text("utf-8", "replace")).get("license")
    except (OSError, PlaitError):
        stated = None
    name, _, revision = model.partition("@")
    # a snapshot of the hub's client lies in a folder that is named by its commit
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else revision or "main"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return found, Subject(name, commit, endpoint, stated if isinstance(stated, str) else None)


def _of_data(data: str, form: str, endpoint: str | None, token: str | None) -> None:
    """Ask the hub what was merged into a data set, and print it."""
    from plait.cli.contributions import repository_path
    from plait.client import call
    from plait.lineage import parse_lineage
    from plait.lineage.models import Subject

    name, _, revision = data.partition("@")
    path = f"{repository_path(name, 'dataset')}/lineage/{quote(revision or 'main', safe='')}"
    asked = "json" if form == "text" else form
    found = call(endpoint, token, "GET", f"{path}?format={asked}")
    if form != "text":
        print_json(found)
        return
    # Licences stand in the export; the table shows those of the pull requests.
    subject = Subject(name, revision or "main", endpoint or "", None, "dataset")
    _print(parse_lineage(found), subject, "merged")


def _print(found: Lineage, subject: Subject, how: str) -> None:
    from plait.lineage.models import models_of

    result, inputs = models_of(found, subject)
    for one in (result, *inputs):
        who = f"  by {one.author} for {one.organisation}" if one.author else ""
        print(f"{one.name:<16} {one.repository}@{one.revision[:10]}  {one.licence or ''}{who}")
        for path, sha256 in sorted(one.files.items()):
            print(f"{'':<16} {sha256}  {path}")
    print(f"{how} {found.recipe.get('merge_method')}, {found.created}")
