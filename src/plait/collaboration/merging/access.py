# SPDX-License-Identifier: Apache-2.0
"""Whose data sets a repository's tasks may use, and their items for a job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from plait.errors import BadInput, EntryNotFound, PlaitError, RepositoryNotFound, RevisionNotFound
from plait.evaluation import Task, load_task
from plait.hub import ANONYMOUS, Hub, Repository, can
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import MAX_CHARACTERS, TaskSpec, parse_project


@dataclass(frozen=True)
class TaskSource:
    """A task and the data set at the commit that it is read from."""

    spec: TaskSpec
    dataset: Repository
    oid: str

    @property
    def private(self) -> bool:
        """Tell whether nothing of its content may be shown."""
        return not can(ANONYMOUS, "repo.files", self.dataset)


@dataclass(frozen=True)
class LoadedTask:
    """A task's items of one split, and a key that changes when they or their use do."""

    task: Task
    key: str


def find_sources(
    hub: Hub, repo: Repository, tasks: Sequence[TaskSpec]
) -> tuple[list[TaskSource], list[str]]:
    """Find the data sets of ``repo``'s tasks.

    Returns:
        The sources, and the names of the tasks whose data set cannot be used.

    A public data set may be used by everybody. A private or gated one must itself permit it, in the
    ``plait.yaml`` at its main: ``evaluation: {allow: [namespace/name]}``. One that does not and
    one that does not exist are the same thing here: what a model's page says must not tell of
    private data sets.
    """
    found, missing = [], []
    for spec in tasks:
        try:
            found.append(_find(hub, repo, spec))
        except RepositoryNotFound:
            missing.append(spec.name)
    return found, missing


def refused(repo: Repository, names: Sequence[str]) -> RepositoryNotFound:
    """Return the error for tasks whose data set cannot be used."""
    many = len(names) > 1
    listed = ", ".join(f"'{name}'" for name in names)
    return RepositoryNotFound(
        f"Task{'s' if many else ''} {listed}: there is no such data set that "
        f"'{repo.full_name}' may be judged by. If it is private, its owner must allow it: "
        f"'evaluation: {{allow: [{repo.full_name}]}}' in the data set's own plait.yaml."
    )


def load(hub: Hub, source: TaskSource, split: str, folder: Path) -> LoadedTask:
    """Read one split of a task's data set, in a folder of the job.

    Raises:
        BadInput: it cannot be used. For a private data set the sentence names the task alone: the
            details would tell of its content.
    """
    spec = source.spec
    target = folder / spec.name
    prefix = f"data/{split}"
    try:
        entries = hub.commits.materialize(
            source.dataset,
            source.oid,
            target,
            only=lambda path: path.startswith((f"{prefix}.", f"{prefix}-")),
        )
        task = load_task(spec, target, split)
    except PlaitError as error:
        if not source.private:
            raise BadInput(f"Task '{spec.name}': {error.message}") from None
        raise BadInput(
            f"Task '{spec.name}': the split '{split}' of its data set cannot be used. Its owner "
            "sees why with `plait evaluate`."
        ) from None
    content = {
        "task": {
            k: v for k, v in asdict(spec).items() if k in ("name", "type", "metric", "columns")
        },
        "split": split,
        "files": sorted((entry.path, entry.etag) for entry in entries),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return LoadedTask(task, digest)


def _find(hub: Hub, repo: Repository, spec: TaskSpec) -> TaskSource:
    dataset = hub.repositories.find("dataset", spec.dataset)
    if dataset is None or not may_use(hub, repo, dataset):
        raise refused(repo, [spec.name])
    try:
        oid = hub.git.resolve(dataset, spec.revision)
    except RevisionNotFound:
        raise refused(repo, [spec.name]) from None
    # The data set's name serves error messages alone from here on; the task's says as much.
    return TaskSource(replace(spec, dataset=f"of task {spec.name}"), dataset, oid)


def may_use(hub: Hub, repo: Repository, dataset: Repository) -> bool:
    """Tell whether the hub's jobs may judge ``repo`` by ``dataset``."""
    if can(ANONYMOUS, "repo.files", dataset):
        return True
    if dataset.disabled:
        return False
    head = hub.git.head(dataset)
    if head is None:
        return False
    try:
        if hub.git.entry(dataset, head, PROJECT).size > 4 * MAX_CHARACTERS:
            return False
        allowed = parse_project(hub.git.read(dataset, head, PROJECT)).allow
    except (EntryNotFound, BadInput):
        return False
    return repo.full_name.lower() in {name.lower() for name in allowed}
