# SPDX-License-Identifier: Apache-2.0
"""``plait train``: fine-tune a text classifier, here or by a job of the hub."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.options import Endpoint, HubToken, Json, print_json


def train(
    model: Annotated[
        str, typer.Argument(help="A text classifier's folder, or its repository: namespace/name.")
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="A data set's folder (data/SPLIT.jsonl, .csv or .parquet), or its repository: "
            "namespace/name, perhaps with @REVISION."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The new folder, if the model is one.")
    ] = None,
    split: Annotated[str, typer.Option(help="Whose items are learnt.")] = "train",
    text: Annotated[str, typer.Option(help="The column of the texts.")] = "text",
    label: Annotated[str, typer.Option(help="The column of the labels.")] = "label",
    title: Annotated[str, typer.Option(help="Title of the pull request on the hub.")] = "",
    epochs: Annotated[int, typer.Option(help="How often every item is seen.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="The highest of the schedule.")] = 1e-4,
    batch_size: Annotated[int, typer.Option(help="Items in a step.")] = 16,
    max_length: Annotated[int, typer.Option(help="Tokens of a text that are read.")] = 64,
    freeze_embeddings: Annotated[
        bool, typer.Option(help="Whether words keep their vectors, as fusing likes it.")
    ] = True,
    freeze_head: Annotated[
        bool, typer.Option(help="Whether the head stays as it is, for all contributors alike.")
    ] = False,
    balance_classes: Annotated[
        bool, typer.Option(help="Whether every label weighs the same.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the order of items and of dropout.")] = 0,
    wait: Annotated[bool, typer.Option(help="Whether to wait for the hub's job.")] = True,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Fine-tune a text classifier on the texts and labels of a data set.

    With folders it happens here. With repositories the hub that HF_ENDPOINT names does it by a job,
    and opens a pull request of yours with what comes of it: its gate decides whether it lands.
    """
    from plait.collaboration.training import Settings
    from plait.errors import BadInput

    settings = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "max_length": max_length,
        "freeze_embeddings": freeze_embeddings,
        "freeze_head": freeze_head,
        "balance_classes": balance_classes,
        "seed": seed,
    }
    Settings(**settings).check()  # type: ignore[arg-type]
    if Path(model).is_dir() != Path(data).is_dir():
        raise BadInput("Name two folders, or two repositories of the hub; not one of each.")
    if Path(model).is_dir():
        _here(Path(model), Path(data), out, split, text, label, settings, as_json)
        return
    if out is not None:
        raise BadInput("What the hub trains becomes a pull request; leave out --out.")
    from plait.cli.contributions import repository_path, wait_for_job
    from plait.client import call

    body = {"dataset": data, "split": split, "text": text, "label": label, "title": title}
    path = f"{repository_path(model)}/train"
    job = call(endpoint, token, "POST", path, json.dumps(body | {"settings": settings}).encode())[
        "job"
    ]
    if wait:
        job = wait_for_job(endpoint, token, job)
    if as_json:
        print_json(job)
        return
    if not wait:
        print(f"Job {job['id']} is {job['state']}; `plait jobs log {job['id']} --follow` tells.")
        return
    made = job["result"]
    losses = ", ".join(f"{loss:.4f}" for loss in made["losses"])
    print(f"Trained on {made['items']:,} items in {made['steps']:,} steps; mean losses {losses}.")
    print(f"Pull request #{made['pull_request']} of {model} has what came of it.")


def _here(
    model: Path,
    data: Path,
    out: Path | None,
    split: str,
    text: str,
    label: str,
    settings: dict[str, Any],
    as_json: bool,
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from plait.errors import BadInput
    from plait.evaluation.tasks import load_task
    from plait.recipes.project import Columns, TaskSpec
    from plait.training.classifier import fine_tune

    if out is None:
        raise BadInput("Say where the trained model goes: -o FOLDER.")
    spec = TaskSpec(data.name, str(data), columns=Columns(text=text, label=label))
    items = load_task(spec, data, split).items
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        row = bar.add_task("Training", total=1.0)

        def tell(done: int, total: int, loss: float) -> None:
            bar.update(row, completed=done / max(total, 1), description=f"loss {loss:.3f}")

        found = fine_tune(
            model,
            [item.text for item in items],
            [item.label if isinstance(item.label, int) else str(item.label) for item in items],
            out,
            **settings,
            progress=tell,
        )
    told = {
        "out": found.out,
        "items": found.items,
        "steps": found.steps,
        "losses": [round(loss, 5) for loss in found.losses],
        "cpu_seconds": round(found.cpu_seconds, 2),
    }
    if as_json:
        print_json(told)
        return
    losses = ", ".join(f"{loss:.4f}" for loss in found.losses)
    print(f"Trained on {found.items:,} items in {found.steps:,} steps; mean losses {losses}.")
    print(f"Wrote {out} ({found.cpu_seconds:.1f} CPU-seconds).")
