# SPDX-License-Identifier: Apache-2.0
"""``plait compare``: two or more models on the same items, pair by pair."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli import evaluate as evaluating
from plait.cli.options import Json, print_json

if TYPE_CHECKING:
    from plait.evaluation import Evaluation


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
    as_json: Json = False,
) -> None:
    """Compare models: paired differences with 95% intervals, and the items on which they differ."""
    from plait.errors import BadInput
    from plait.evaluation import compare as paired

    if len(models) < 2 or len(set(models)) < len(models):
        raise BadInput("Name two different models or more.")
    folders = {model: evaluating.find_model(model, None) for model in models}
    loaded = evaluating._load(tasks or [], project or folders[models[0]], split, data)
    found = {m: evaluating._evaluate(m, folder, loaded, split) for m, folder in folders.items()}
    pairs = {(a, b): paired(found[a], found[b]) for a, b in combinations(models, 2)}
    differing = {spec.name: differing_items(found, spec.name, task) for spec, task in loaded}
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
