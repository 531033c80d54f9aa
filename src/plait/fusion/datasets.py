# SPDX-License-Identifier: Apache-2.0
"""From what a recipe names to folders and items: models and data sets beside it, or from a hub."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from plait.errors import BadInput
from plait.evaluation.tasks import Task, load_task
from plait.fusion.resolve import is_repository, resolve_model, why_not_fetched
from plait.fusion.weights.opening import Resolver
from plait.recipes.levels import Splits
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
        told = why_not_fetched(spec.dataset, error, "data set")
        raise BadInput(f"Task '{spec.name}': {told}") from error


def repositories(references: Iterable[str], folder: Path) -> list[str]:
    """Return the references that are repositories (namespace/name), not folders beside a recipe."""
    named = [r.partition("@")[0] for r in references if not (folder / r).expanduser().exists()]
    return list(dict.fromkeys(r for r in named if r.count("/") == 1 and is_repository(r)))


def load_tasks(specs: Iterable[TaskSpec], folder: Path, split: str) -> list[Task]:
    """Read one split of every task's data set.

    Raises:
        BadInput: as `data_folder` and `plait.evaluation.load_task`.
    """
    return [load_task(spec, data_folder(spec, folder), split) for spec in specs]


def refuse_scored_on_seen(specs: Iterable[TaskSpec], folder: Path, splits: Splits) -> None:
    """Refuse a test split that is a copy of one that is learnt or chosen on.

    Files are compared by size, and by content only where the sizes are the same.

    Raises:
        BadInput: naming the task and the two splits.
    """
    if splits.test is None:
        return
    for spec in specs:
        data = data_folder(spec, folder)
        test = _files(data, splits.test)
        for seen in (splits.train, splits.validation):
            for one, other in product(test, _files(data, seen)):
                same = one.stat().st_size == other.stat().st_size
                if same and filecmp.cmp(one, other, shallow=False):
                    raise BadInput(
                        f"Task '{spec.name}': {one.name} and {other.name} of '{spec.dataset}' are "
                        f"the same, so that what is scored in the end was seen before: the result "
                        "would flatter itself. Give it a test split of its own, or write "
                        "'splits: {test: null}'."
                    )


def _files(data: Path, split: str) -> list[Path]:
    place = data / "data"
    return sorted([*place.glob(f"{split}.*"), *place.glob(f"{split}-*-of-*.*")])


def lacking_split(specs: Sequence[TaskSpec], folder: Path, split: str) -> str | None:
    """Return the name of the first task whose data set lacks a split, if there is one."""
    for spec in specs:
        if not _files(data_folder(spec, folder), split):
            return spec.name
    return None
