# SPDX-License-Identifier: Apache-2.0
"""``plait suggest``: which model or data set to build on, for a sample of one's own data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.options import Endpoint, HubToken, Json, print_json


def suggest(
    sample: Annotated[
        Path, typer.Argument(help="CSV or JSON Lines with the columns text and label.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A model's folder (measured here) or repository id; may be given more than once. "
            "Without any: what the hub has.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Rank models by how well they tell your labels, and data sets by how near their texts are.

    Models are measured by their frozen embeddings, with 95% intervals. With folders nothing leaves
    this machine. Otherwise the hub that HF_ENDPOINT names ranks what you may read, data sets too,
    and keeps nothing of the sample.
    """
    from plait.cli.contributions import wait_for_job
    from plait.client import call
    from plait.collaboration.suggest.ranking import MAX_BYTES, fusable, parse_sample, rank_models
    from plait.errors import BadInput

    if not sample.is_file():
        raise BadInput(f"There is no file {sample}.")
    if sample.stat().st_size > MAX_BYTES:
        raise BadInput(f"A sample may have {MAX_BYTES // 2**20} MB; send fewer rows.")
    content = sample.read_bytes()
    parsed = parse_sample(content)
    folders = {name: Path(name) for name in models or () if Path(name).is_dir()}
    if folders and len(folders) < len(models or ()):
        raise BadInput("Name folders only, or repository ids only.")
    result: dict[str, Any]
    if folders:
        ranked, left = rank_models(folders, parsed)
        result = {"models": ranked, "left": left, "fusable": fusable(folders, {}), "datasets": []}
    else:
        body = json.dumps({"sample": content.decode("utf-8-sig"), "models": models or []})
        job = call(endpoint, token, "POST", "suggest", body.encode())["job"]
        result = wait_for_job(endpoint, token, job)["result"] or {}
    if as_json:
        print_json(result)
        return
    for row in result["models"]:
        told = "\t".join(
            f"{name} {row[name]['value']:.3f} ({row[name]['low']:.3f} to {row[name]['high']:.3f})"
            for name in ("knn", "logme", "probe")
        )
        print(f"{row['model']}\t{told}")
    for pair in result["fusable"]:
        if pair["level"] != "outputs":
            print(f"fuse {' + '.join(pair['models'])}: {pair['level']}")
    for row in result["datasets"]:
        print(f"{row['dataset']}\tdistance {row['distance']['value']:.2f}")
    for row in result["left"]:
        print(f"{row['model']}: {row['reason']}", file=sys.stderr)
