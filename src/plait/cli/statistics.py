# SPDX-License-Identifier: Apache-2.0
"""``plait statistics``: what fusion can know of data that stay at home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import Json, print_json


def statistics(
    model: Annotated[Path, typer.Argument(help="The folder of a text classifier.")],
    data: Annotated[
        Path, typer.Option(help="The folder of a data set: data/SPLIT.jsonl, .csv or .parquet.")
    ],
    split: Annotated[str, typer.Option(help="Which part of the data set to use.")] = "train",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", help="gram (for regmean) or fisher; may be given twice. Default: gram."
        ),
    ] = None,
    column: Annotated[str, typer.Option(help="The column with the texts.")] = "text",
    label: Annotated[str, typer.Option(help="The column with the labels.")] = "label",
    limit: Annotated[int, typer.Option(min=1, help="Use at most so many texts.")] = 512,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write; default: in the model.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute statistics of a model's data, to publish with it instead of the data.

    The methods regmean and fisher use them. They are sums over all texts, exact and not anonymous:
    those of few texts tell of these texts.
    """
    from plait.evaluation.tasks import load_task
    from plait.fusion.weights.checkpoints import STATISTICS
    from plait.recipes.project import Columns, TaskSpec
    from plait.training.statistics import collect_statistics

    spec = TaskSpec(data.name, str(data), columns=Columns(text=column, label=label))
    items = load_task(spec, data, split).items
    # evenly over the data set, which may be sorted by label
    chosen = [items[i * len(items) // limit].text for i in range(limit)]
    texts = chosen if len(items) > limit else [item.text for item in items]
    place = out or model / STATISTICS
    kinds = list(dict.fromkeys(kinds or ["gram"]))
    count = collect_statistics(model, texts, place, kinds=kinds)
    if as_json:
        print_json({"out": place, "texts": len(texts), "tensors": count, "kinds": kinds})
        return
    print(f"Wrote {place}: {count} tensors of {', '.join(kinds)} from {len(texts)} texts.")
    print("They are exact: publish them only where sums over these texts may be known.")
