# SPDX-License-Identifier: Apache-2.0
"""Evaluating a model folder on data set folders, as ``plait evaluate`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from plait.errors import BadInput
from plait.evaluation.classifier import Predictor, Progress
from plait.evaluation.results import Evaluation, evaluate
from plait.evaluation.tasks import Task, load_task
from plait.recipes.project import FILE, Columns, TaskSpec, load_project

FindData = Callable[[TaskSpec], Path]
"""Finds the folder of a task's data set, for instance by downloading it."""


def evaluate_folder(
    model: Path | Predictor,
    tasks: Path | str | TaskSpec | Sequence[TaskSpec] | None = None,
    split: str = "test",
    *,
    only: Sequence[str] = (),
    data_root: Path | None = None,
    find_data: FindData | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model on tasks whose data sets are folders.

    ``tasks`` is a ``plait.yaml`` (or a folder that has one), the folder of a data set, or tasks;
    without it the model folder's own ``plait.yaml`` is read. ``only`` keeps the tasks of those
    names. A task's data set is looked for under ``data_root``, then as a path (from the folder of
    the ``plait.yaml``), then with ``find_data``.

    Raises:
        BadInput: naming the task, file or folder that is missing or cannot be used.
    """
    chosen = model if tasks is None else tasks
    loaded = folder_tasks(chosen, split, only=only, data_root=data_root, find_data=find_data)
    return evaluate(model, [task for _, task in loaded], split, progress)


def folder_tasks(
    tasks: object,
    split: str = "test",
    *,
    only: Sequence[str] = (),
    data_root: Path | None = None,
    find_data: FindData | None = None,
) -> list[tuple[TaskSpec, Task]]:
    """Load tasks whose data sets are folders, each with its spec; as `evaluate_folder`.

    Raises:
        BadInput: naming the task, file or folder that is missing or cannot be used.
    """
    specs, here = _specs(tasks)
    if only:
        missing = [name for name in only if name not in {spec.name for spec in specs}]
        if missing:
            known = ", ".join(spec.name for spec in specs) or "none"
            raise BadInput(f"There is no task '{missing[0]}'; the tasks are: {known}.")
        specs = [spec for spec in specs if spec.name in set(only)]
    return [
        (spec, load_task(spec, _folder(spec, here, data_root, find_data), split)) for spec in specs
    ]


def _specs(source: object) -> tuple[list[TaskSpec], Path]:
    if isinstance(source, TaskSpec):
        return [source], Path()
    if isinstance(source, str | Path):
        path = Path(source)
        if (path / "data").is_dir():
            return [task_of_folder(path)], Path()
        if path.is_dir():
            path = path / FILE
        project = load_project(path)
        if not project.tasks:
            raise BadInput(f"{path} names no tasks; add one under 'tasks:'.")
        return list(project.tasks), path.parent
    if isinstance(source, Sequence) and all(isinstance(spec, TaskSpec) for spec in source):
        return list(source), Path()
    raise BadInput("Say which tasks to evaluate on: a plait.yaml, or the folder of a data set.")


def task_of_folder(path: Path) -> TaskSpec:
    """Make a task of a data set folder: columns text and label, document too if it is there."""
    probe = TaskSpec(name=path.resolve().name, dataset=str(path))
    grouped = TaskSpec(name=probe.name, dataset=probe.dataset, columns=Columns(group="document"))
    return grouped if _has_documents(path) else probe


def _has_documents(path: Path) -> bool:
    for file in sorted((path / "data").iterdir()):
        if file.suffix in (".jsonl", ".csv"):
            with file.open("rb") as lines:
                return b"document" in lines.readline(1_000_000)
        if file.suffix == ".parquet":
            with file.open("rb") as data:
                data.seek(-min(file.stat().st_size, 1_000_000), 2)
                return b"document" in data.read()
    return False


def _folder(spec: TaskSpec, here: Path, data_root: Path | None, find_data: FindData | None) -> Path:
    tried = [root / spec.dataset for root in (data_root, here) if root is not None]
    for folder in tried:
        if (folder / "data").is_dir():
            return folder
    if find_data is not None:
        return find_data(spec)
    raise BadInput(
        f"Task '{spec.name}': there is no data set folder {tried[0]} with a folder 'data' in it."
    )
