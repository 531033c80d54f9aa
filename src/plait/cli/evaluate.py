# SPDX-License-Identifier: Apache-2.0
"""``plait evaluate``: judge a model on the tasks of a ``plait.yaml``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.options import Json, print_json

if TYPE_CHECKING:
    from plait.evaluation import Evaluation
    from plait.recipes.project import TaskSpec


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model's folder, or a repository id (namespace/name).")
    ],
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
        typer.Option(help="The plait.yaml that names the tasks; default: the model's own."),
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
    as_json: Json = False,
) -> None:
    """Measure a model, item by item, with 95% intervals over documents.

    Models and data sets that are not folders come from the hub that HF_ENDPOINT names, with the
    rights of HF_TOKEN.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from plait.evaluation import evaluate_folder

    folder = find_model(model, revision)
    named = [task for task in tasks or [] if not Path(task).is_dir()]
    folders = [Path(task) for task in tasks or [] if Path(task).is_dir()]
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        row = bar.add_task("Evaluating", total=None)

        def show(done: int, total: int) -> None:
            bar.update(row, completed=done, total=total)

        results: list[Evaluation] = []
        if named or not folders:
            results.append(
                evaluate_folder(
                    folder,
                    project or folder,
                    split,
                    only=named,
                    data_root=data,
                    find_data=find_data,
                    progress=show,
                )
            )
        results += [evaluate_folder(folder, each, split, progress=show) for each in folders]
    if as_json:
        documents = [result.to_json(items=items) for result in results]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    for result in results:
        print_scores(model, split, result)


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


def print_scores(model: str, split: str, result: Evaluation) -> None:
    """Print one line a task, and the average."""
    print(f"{model} on {split}")
    for name, task in result.tasks.items():
        low, high = task.interval
        print(f"  {name:<20} {task.score:.3f} [{low:.3f}, {high:.3f}]  {task.metric}, n={task.n}")
    if len(result.tasks) > 1:
        low, high = result.average_interval
        print(f"  {'average':<20} {result.average:.3f} [{low:.3f}, {high:.3f}]")
