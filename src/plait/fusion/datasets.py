# SPDX-License-Identifier: Apache-2.0
"""From what a recipe names to folders and items: models and data sets beside it, or from a hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from plait.errors import BadInput
from plait.evaluation.tasks import Task, load_task
from plait.fusion.resolve import is_repository, resolve_model
from plait.fusion.weights.opening import Resolver
from plait.recipes.project import TaskSpec


def model_folder(reference: str, folder: Path, resolve: Resolver | None = None) -> Path:
    """Return the folder of a model: beside the recipe if it is there, else as `resolve` finds it.

    Raises:
        BadInput: if it is found nowhere.
    """
    beside = folder / Path(reference).expanduser()
    return beside if beside.exists() else Path((resolve or resolve_model)(reference))


def data_folder(spec: TaskSpec, folder: Path) -> Path:
    """Return the folder of a task's data set: beside the recipe, else a snapshot from the hub.

    Raises:
        BadInput: if there is no such folder and no such repository can be fetched.
    """
    beside = folder / Path(spec.dataset).expanduser()
    if (beside / "data").is_dir():
        return beside
    if beside.is_dir() or not is_repository(spec.dataset):
        raise BadInput(
            f"Task '{spec.name}': there is no data set folder {beside} with a folder 'data' in it."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(spec.dataset, repo_type="dataset", revision=spec.revision or None)
        )
    except Exception as error:  # the client's family of errors is wide: network, access, names
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"Task '{spec.name}': '{spec.dataset}' is neither a folder nor a data set that can be "
            f"fetched: {reason}"
        ) from error


def load_tasks(specs: Iterable[TaskSpec], folder: Path, split: str) -> list[Task]:
    """Read one split of every task's data set.

    Raises:
        BadInput: as `data_folder` and `plait.evaluation.load_task`.
    """
    return [load_task(spec, data_folder(spec, folder), split) for spec in specs]


def lacking_split(specs: Sequence[TaskSpec], folder: Path, split: str) -> str | None:
    """Return the name of the first task whose data set lacks a split, if there is one."""
    for spec in specs:
        data = data_folder(spec, folder) / "data"
        if not any(data.glob(f"{split}.*")) and not any(data.glob(f"{split}-*-of-*.*")):
            return spec.name
    return None
