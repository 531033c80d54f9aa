# SPDX-License-Identifier: Apache-2.0
"""``plait evaluate``: judge models on the tasks of a ``plait.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.options import Json, print_json

if TYPE_CHECKING:
    from plait.evaluation import Comparison, Evaluation, Task
    from plait.recipes.project import TaskSpec

Loaded = list[tuple["TaskSpec", "Task"]]


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of models, or repository ids (namespace/name). Of several, each is "
            "compared with the first.",
            metavar="MODEL...",
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            help="A task's name in the plait.yaml (all of them without this), or the folder of a "
            "data set. May be given more than once.",
        ),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(help="The plait.yaml that names the tasks; default: the first model's own."),
    ] = None,
    split: Annotated[str, typer.Option(help="validation, gate, test, …")] = "test",
    revision: Annotated[
        str | None, typer.Option(help="Which revision of a repository id; default: main.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder that holds the tasks' data sets; otherwise the hub's are used."
        ),
    ] = None,
    items: Annotated[
        bool, typer.Option("--items", help="With --json: every item's score too.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Precision, recall and F1 by class or entity.")
    ] = False,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="Which class was taken for which.")
    ] = False,
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration",
            help="Whether probabilities are what they say, before and after a temperature from "
            "the validation split.",
        ),
    ] = False,
    every: Annotated[
        bool, typer.Option("--every-metric", help="All metrics that a task's items allow.")
    ] = False,
    write_card: Annotated[
        bool,
        typer.Option(
            "--write-card",
            help="Write the scores into the model folder's README.md (model-index) and, of data "
            "sets with a repository id, into .eval_results.",
        ),
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="List the metrics, with their sources, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure models, item by item, with 95% intervals over documents.

    Models and data sets that are not folders come from the hub that HF_ENDPOINT names, with the
    rights of HF_TOKEN.
    """
    from plait.cli import scores
    from plait.errors import BadInput

    if metrics:
        scores.print_metrics(as_json=as_json)
        return
    if not models:
        raise BadInput("Say which model to evaluate: a folder, or namespace/name.")
    if len(set(models)) < len(models):
        raise BadInput("A model is named twice; name each once.")
    folders = {model: find_model(model, revision) for model in models}
    if write_card and (missing := [m for m in models if not Path(m).is_dir()]):
        raise BadInput(f"--write-card needs the folder of a model; {missing[0]} is none.")
    loaded = _load(tasks or [], project or folders[models[0]], split, data)
    found = {model: _evaluate(model, folder, loaded, split) for model, folder in folders.items()}
    compared = _compare(found)
    if write_card:
        _write(folders, found, [spec for spec, _ in loaded], every=every)
    validation: dict[str, Evaluation] = {}
    if calibration and split != "validation":
        known = _load_validation(tasks or [], project or folders[models[0]], data)
        validation = {m: _evaluate(m, f, known, "validation") for m, f in folders.items() if known}
    if as_json:
        documents = {model: one.to_json(items=items) for model, one in found.items()}
        print_json(
            documents[models[0]]
            if len(models) == 1
            else {
                "models": documents,
                "comparisons": {model: one.to_json() for model, one in compared.items()},
            }
        )
        return
    scores.print_scores(found, split, every=every)
    scores.print_comparisons(compared, models[0])
    for model, one in found.items():
        title = f"{model}: " if len(models) > 1 else ""
        if report:
            scores.print_reports(one, title)
        if confusion:
            scores.print_confusion(one, title)
        if calibration:
            scores.print_calibration(one, validation.get(model), title)


def _load(tasks: list[str], project: Path, split: str, data: Path | None) -> Loaded:
    """Load the tasks that are asked for: those of the plait.yaml by name, and folders."""
    from plait.errors import BadInput
    from plait.evaluation.folders import folder_tasks

    named = [task for task in tasks if not Path(task).is_dir()]
    folders = [Path(task) for task in tasks if Path(task).is_dir()]
    loaded: Loaded = []
    if named or not folders:
        loaded += folder_tasks(project, split, only=named, data_root=data, find_data=find_data)
    for folder in folders:
        loaded += folder_tasks(folder, split)
    names = [spec.name for spec, _ in loaded]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"There are two tasks named '{name}'; evaluate them one by one.")
    return loaded


def _load_validation(tasks: list[str], project: Path, data: Path | None) -> Loaded:
    """Load the validation items of the tasks; none where a data set has no such split."""
    from plait.errors import BadInput

    try:
        return _load(tasks, project, "validation", data)
    except BadInput as error:
        print(f"No temperature: {error.message}", file=sys.stderr)
        return []


def _evaluate(model: str, folder: Path, loaded: Loaded, split: str) -> Evaluation:
    from plait.evaluation import evaluate as run

    with _progress(model) as show:
        return run(folder, [task for _, task in loaded], split, show)


def _compare(found: dict[str, Evaluation]) -> dict[str, Comparison]:
    """Compare every model with the first."""
    from plait.evaluation import compare

    first, *others = found
    return {other: compare(found[other], found[first]) for other in others}


def _write(
    folders: dict[str, Path], found: dict[str, Evaluation], specs: list[TaskSpec], *, every: bool
) -> None:
    from plait.evaluation import write_card, write_eval_results

    for model, folder in folders.items():
        written = [write_card(folder, found[model], specs, every=every)]
        written += write_eval_results(folder, found[model], specs)
        print(f"Wrote {', '.join(str(file) for file in written)}.", file=sys.stderr)


@contextmanager
def _progress(model: str) -> Iterator[Any]:
    """Show how far a model's items are done, where somebody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        row = bar.add_task(f"Evaluating {model}", total=None)

        def show(done: int, total: int) -> None:
            bar.update(row, completed=done, total=total)

        yield show


def find_model(model: str, revision: str | None) -> Path:
    """Give the folder of a model: a path as it is, a repository id by download."""
    from plait.fusion.resolve import resolve_model

    return resolve_model(f"{model}@{revision}" if revision else model)


def find_data(spec: TaskSpec) -> Path:
    """Download a task's data set with the stock client and the caller's own token.

    Raises:
        NotFound: it does not exist for this token.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    from plait.errors import BadInput, NotFound, PlaitError

    try:
        folder = snapshot_download(spec.dataset, repo_type="dataset", revision=spec.revision)
    except RepositoryNotFoundError:
        raise NotFound(
            f"Task '{spec.name}': no data set {spec.dataset} that this token may read. Set "
            "HF_TOKEN, or give --data with a folder that holds it."
        ) from None
    except HFValidationError:
        raise BadInput(
            f"Task '{spec.name}': {spec.dataset} is neither a folder nor a repository id."
        ) from None
    except HfHubHTTPError as error:
        raise PlaitError(f"Task '{spec.name}': {error}") from None
    return Path(folder)
