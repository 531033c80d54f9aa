# SPDX-License-Identifier: Apache-2.0
"""``plait compare``: two or more models on the same items, pair by pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli import evaluate as evaluating
from plait.cli.options import Endpoint, HubToken, Json, print_json

if TYPE_CHECKING:
    from plait.evaluation import Comparison, Evaluation


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders of models or repository ids, each perhaps with @REVISION.",
            metavar="MODEL MODEL...",
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", help="A task's name in the plait.yaml, or a data set's folder."),
    ] = None,
    project: Annotated[
        Path | None, typer.Option(help="The plait.yaml that names the tasks.")
    ] = None,
    split: Annotated[str, typer.Option(help="validation, gate, test, …")] = "test",
    data: Annotated[
        Path | None, typer.Option(help="A folder that holds the tasks' data sets.")
    ] = None,
    show: Annotated[
        int, typer.Option("--show", min=0, help="How many differing items of a task to print.")
    ] = 10,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE.svg", help="Draw scores and differences into an SVG file."
        ),
    ] = None,
    on_hub: Annotated[
        str | None,
        typer.Option(
            "--on-hub",
            metavar="DATASET",
            help="Have the hub that HF_ENDPOINT names measure them, by a job, on a data set of its "
            "own (namespace/name, perhaps with @REVISION); nothing is downloaded.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Compare models: paired differences with 95% intervals, and the items on which they differ."""
    from plait.errors import BadInput
    from plait.evaluation import compare as paired

    if len(models) < 2 or len(set(models)) < len(models):
        raise BadInput("Name two different models or more.")
    if on_hub is not None:
        if project is not None or data is not None or plot is not None or len(tasks or ()) > 1:
            raise BadInput("With --on-hub give --split and one --task at most; its page has plots.")
        _ask(endpoint, token, models, on_hub, split, (tasks or [""])[0], show, as_json=as_json)
        return
    if plot is not None and (plot.suffix.lower() != ".svg" or not plot.absolute().parent.is_dir()):
        raise BadInput(f"--plot writes an SVG file into a folder that is there, not {plot}.")
    folders = {model: evaluating.find_model(model, None) for model in models}
    loaded = evaluating._load(tasks or [], project or folders[models[0]], split, data)
    found = {m: evaluating._evaluate(m, folder, loaded, split) for m, folder in folders.items()}
    pairs = {(a, b): paired(found[a], found[b]) for a, b in combinations(models, 2)}
    differing = {spec.name: differing_items(found, spec.name, task) for spec, task in loaded}
    if plot is not None:
        plot.write_text(draw(found, pairs), encoding="utf-8")
    if as_json:
        print_json(
            {
                "models": {model: one.to_json(items=False) for model, one in found.items()},
                "pairs": [{"first": a, "second": b, **p.to_json()} for (a, b), p in pairs.items()],
                "differing": differing,
            }
        )
        return
    for task in found[models[0]].tasks:
        print(f"{task} ({found[models[0]].tasks[task].metric})")
        for model, one in found.items():
            low, high = one.tasks[task].interval
            print(f"  {model}\t{one.tasks[task].score:.4f}\t{low:.4f} to {high:.4f}")
        for (a, b), comparison in pairs.items():
            gap = comparison.tasks[task]
            print(
                f"  {a} - {b}\t{gap.effect:+.4f}\t{gap.low:+.4f} to {gap.high:+.4f}\t"
                f"p {gap.p_adjusted:.3g}"
            )
        print(f"  {len(differing[task])} items are answered differently")
        for item in differing[task][:show]:
            answers = ", ".join(f"{m}: {v}" for m, v in item["answers"].items())
            print(f"    {item['id']}\t{item['label']}\t{answers}\t{item['text'][:80]}")


def _ask(
    endpoint: str | None,
    token: str | None,
    models: list[str],
    dataset: str,
    split: str,
    task: str,
    show: int,
    *,
    as_json: bool,
) -> None:
    """Have a hub's job measure the models, and print what it found."""
    from plait.cli.contributions import wait_for_job
    from plait.client import call

    asked = {"models": models, "dataset": dataset, "split": split, "task": task}
    job = call(endpoint, token, "POST", "compare", json.dumps(asked).encode())["job"]
    wait_for_job(endpoint, token, job)
    found = call(endpoint, token, "GET", f"compare/{job['id']}")
    if as_json:
        print_json(found)
        return
    for one in found["tasks"]:
        print(f"{one['task']} ({one['metric']})")
        titles = {f"{row['model']}@{row['revision']}": model for row, model in
                  zip(one["rows"], models, strict=True)}  # fmt: skip
        for row, model in zip(one["rows"], models, strict=True):
            low, high = row["interval"]
            print(f"  {model}\t{row['score']:.4f}\t{low:.4f} to {high:.4f}")
        for pair in one["pairs"]:
            print(
                f"  {titles[pair['first']]} - {titles[pair['second']]}\t{pair['gain']:+.4f}\t"
                f"{pair['low']:+.4f} to {pair['high']:+.4f}"
            )
        print(f"  {len(one['differing'])} items are answered differently")
        for item in one["differing"][:show]:
            answers = ", ".join(f"{m}: {v}" for m, v in zip(models, item["answers"], strict=True))
            print(f"    {item['id']}\t{item['label']}\t{answers}\t{item['text'][:80]}")


def draw(found: Mapping[str, Evaluation], pairs: Mapping[tuple[str, str], Comparison]) -> str:
    """Draw every task's scores and, below, its paired differences, each with its 95% interval."""
    from plait.charts import Mark, Row, interval_plot, stacked, standalone

    names = list(found)
    first = found[names[0]]
    scores = [
        Row(
            f"{task} ({result.metric})",
            tuple(
                Mark(name, one.tasks[task].score, *one.tasks[task].interval, series=place % 4)
                for place, (name, one) in enumerate(found.items())
            ),
        )
        for task, result in first.tasks.items()
    ]
    gaps = [
        Row(
            task,
            tuple(
                Mark(f"{a} − {b}", one.tasks[task].effect, one.tasks[task].low,
                     one.tasks[task].high, series=place % 4)
                for place, ((a, b), one) in enumerate(pairs.items())
            ),
        )
        for task in first.tasks
    ]  # fmt: skip
    told = "; ".join(
        f"{a} − {b} on {task}: {one.tasks[task].effect:+.4f}"
        for (a, b), one in pairs.items()
        for task in first.tasks
    )
    upper = interval_plot(
        scores,
        ident="scores",
        title=f"Scores of {', '.join(names)}",
        description="Each row a task, each mark a model with its 95% interval.",
        show=lambda value: f"{value:.4g}",
    )
    lower = interval_plot(
        gaps,
        ident="differences",
        title="Paired differences on the same items",
        description=told,
        show=lambda value: f"{value:+.4g}",
    )
    return standalone(
        stacked(
            [("Scores", upper), ("Paired differences, with 95% intervals", lower)],
            ident="comparison",
            title=f"{', '.join(names)} compared",
            description=told,
        )
    )


def differing_items(found: dict[str, Evaluation], task: str, loaded: Any) -> list[dict[str, Any]]:
    """Return the items of a task that not all models answer alike, with the texts."""
    items = {model: one.tasks[task] for model, one in found.items()}
    known = {item.id: item for item in loaded.items}
    made = []
    for same in zip(*(result.items for result in items.values()), strict=True):
        answers = [_answer(one, result) for one, result in zip(same, items.values(), strict=True)]
        if any(answer != answers[0] for answer in answers):
            item = known.get(same[0].id)
            made.append(
                {
                    "id": same[0].id,
                    "label": getattr(item, "label", None),
                    "text": getattr(item, "text", ""),
                    "answers": dict(zip(items, answers, strict=True)),
                }
            )
    return made


def _answer(record: Any, result: Any) -> Any:
    from plait.evaluation.types import task_type

    if not hasattr(record, "predicted"):
        return task_type(result.type).row(record)[2:]
    labels = result.about.get("labels")
    return labels[record.predicted] if labels else record.predicted
