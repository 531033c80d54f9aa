# SPDX-License-Identifier: Apache-2.0
"""``plait lineage``: what a model was made from."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from plait.cli.options import print_json
from plait.errors import BadInput, PlaitError


def lineage(
    model: Annotated[
        str,
        typer.Argument(
            metavar="REPO[@REV]", help="A model repository, or a folder with lineage.json."
        ),
    ],
    form: Annotated[
        str, typer.Option("--format", help="text, json, cyclonedx, prov or spdx.")
    ] = "text",
) -> None:
    """Show what a model was made from: by hash, by whom, under which licence.

    As a table; as lineage.json itself; or as a CycloneDX ML-BOM, W3C PROV or SPDX document, for the
    tools of auditors. Repositories come from the hub that HF_ENDPOINT names.
    """
    from plait.cards import read_head
    from plait.fusion.resolve import resolve_model
    from plait.lineage import FILE, FORMATS, dump_lineage, export, parse_lineage
    from plait.lineage.models import Subject, models_of

    if form not in ("text", "json", *FORMATS):
        raise BadInput(f"--format must be text, json, {', '.join(FORMATS)}; not '{form[:40]}'.")
    folder = resolve_model(model)
    try:
        found = parse_lineage((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise BadInput(
            f"{model} has no {FILE}: it was not fused by merging pull requests."
        ) from None
    try:
        stated = read_head((folder / "README.md").read_text("utf-8", "replace")).get("license")
    except (OSError, PlaitError):
        stated = None
    name, _, revision = model.partition("@")
    # a snapshot of the hub's client lies in a folder that is named by its commit
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else revision or "main"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    subject = Subject(name, commit, endpoint, stated if isinstance(stated, str) else None)
    if form == "json":
        print(dump_lineage(found).decode(), end="")
        return
    if form != "text":
        print_json(export(found, subject, form))
        return
    result, inputs = models_of(found, subject)
    for one in (result, *inputs):
        who = f"  by {one.author} for {one.organisation}" if one.author else ""
        print(f"{one.name:<16} {one.repository}@{one.revision[:10]}  {one.licence or ''}{who}")
        for path, sha256 in sorted(one.files.items()):
            print(f"{'':<16} {sha256}  {path}")
    print(f"fused by {found.recipe.get('merge_method')}, {found.created}")
