# SPDX-License-Identifier: Apache-2.0
"""``plait statistics``: what fusion can know of data that stay at home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import Json, print_json


def statistics(
    model: Annotated[
        Path, typer.Argument(help="The folder of a text classifier or language model.")
    ],
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
    limit: Annotated[int, typer.Option(min=1, help="Use at most so many texts.")] = 512,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Hide single texts: noise for (epsilon, delta)-differential privacy."),
    ] = None,
    delta: Annotated[
        float, typer.Option(help="With --epsilon: the other number of the two.")
    ] = 1e-5,
    diagonal: Annotated[
        bool,
        typer.Option("--diagonal", help="Of gram only the diagonal: less to hide, less to learn."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write; default: in the model.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute statistics of a model's data, to publish with it instead of the data.

    The methods regmean and fisher use them. Labels are not read. Without --epsilon they are exact
    sums, with no guarantee: those of few texts tell of these texts. With it each text's part is cut
    at a length that does not depend on the texts, and Gaussian noise is added, so that nobody can
    tell whether any one text was among them by more than the file says.
    """
    from plait.evaluation.texts import load_texts
    from plait.fusion.weights.checkpoints import STATISTICS
    from plait.fusion.weights.privacy import read_statement
    from plait.recipes.project import Columns, TaskSpec
    from plait.training.privacy import Privacy
    from plait.training.statistics import collect_statistics

    spec = TaskSpec(data.name, str(data), columns=Columns(text=column))
    every = [text for text, _ in load_texts(spec, data, split)]
    # evenly over the data set, which may be sorted by label
    chosen = [every[i * len(every) // limit] for i in range(limit)]
    texts = chosen if len(every) > limit else every
    place = out or model / STATISTICS
    kinds = list(dict.fromkeys(kinds or ["gram"]))
    privacy = None if epsilon is None else Privacy(epsilon, delta)
    count = collect_statistics(model, texts, place, kinds=kinds, privacy=privacy, diagonal=diagonal)
    stated = read_statement(place)
    if as_json:
        told = {"out": place, "texts": len(texts), "tensors": count, "kinds": kinds}
        print_json(told | {"privacy": stated["privacy"]})
        return
    print(f"Wrote {place}: {count} tensors of {', '.join(kinds)} from {len(texts)} texts.")
    print(f"Privacy: {stated['privacy']}.")
    if privacy is None:
        print("Publish them only where sums over these texts may be known, or give --epsilon.")
