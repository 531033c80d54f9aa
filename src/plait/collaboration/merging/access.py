# SPDX-License-Identifier: Apache-2.0
"""Whose data sets a repository's tasks may use, and their items for a job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plait.errors import (
    BadInput,
    EntryNotFound,
    PlaitError,
    RepositoryNotFound,
    RevisionNotFound,
    TooManyRequests,
)
from plait.evaluation import Task, load_task
from plait.hub import ANONYMOUS, Hub, Repository, can
from plait.hub.database import Job
from plait.hub.repositories.hidden import Asker
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
    hidden: bool = False
    """Whether the items are of a hidden split: nothing but rounded scores leaves the hub."""


def asker_of(job: Job, repo: Repository) -> Asker:
    """Return for whom a job judges ``repo``."""
    return Asker(job.requested_by, repo.namespace_id, repo.id, job.id)


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


def load(
    hub: Hub, source: TaskSource, split: str, folder: Path, asker: Asker | None = None
) -> LoadedTask:
    """Read one split of a task's data set, in a folder of the job.

    Args:
        hub: where.
        source: the task and its data set.
        split: which items.
        folder: of the job; nobody else reads it.
        asker: for whom a model is judged. A hidden split is read for judging alone, and this
            counts as one question to it.

    Raises:
        BadInput: it cannot be used. For a private data set or a hidden split the sentence names the
            task alone: the details would tell of its content. Also a hidden split without asker.
        TooManyRequests: the hidden split was asked as often as its owner allows.
    """
    spec = source.spec
    target = folder / spec.name
    hidden = hub.hidden.is_hidden(source.dataset, split)
    if hidden and asker is None:
        raise BadInput(
            f"Task '{spec.name}': the split '{split}' of its data set is hidden. It judges what "
            "was chosen and chooses nothing; search on another split (fusion.search_split)."
        )
    try:
        if hidden and asker is not None:
            hub.hidden.ask(source.dataset, split, replace(asker, task=spec.name))
            target.mkdir(parents=True, exist_ok=True)
            content = sorted(hub.hidden.materialize(source.dataset, split, target))
        else:
            content = _open_files(hub, source, split, target)
        task = load_task(spec, target, split)
    except TooManyRequests:
        raise
    except PlaitError as error:
        if hidden:
            raise BadInput(
                f"Task '{spec.name}': the hidden split '{split}' of its data set cannot be used. "
                "Its owner sees its files with `plait hidden list` and can put in others."
            ) from None
        if not source.private:
            raise BadInput(f"Task '{spec.name}': {error.message}") from None
        raise BadInput(
            f"Task '{spec.name}': the split '{split}' of its data set cannot be used. Its owner "
            "sees why with `plait evaluate`."
        ) from None
    known = {k: v for k, v in asdict(spec).items() if k in ("name", "type", "metric", "columns")}
    about = {"task": known, "split": split, "files": content}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return LoadedTask(task, digest, hidden)


def _open_files(hub: Hub, source: TaskSource, split: str, target: Path) -> list[tuple[str, str]]:
    """Write the committed files of a split into a folder; return each path and hash."""
    prefix = f"data/{split}"
    entries = hub.commits.materialize(
        source.dataset,
        source.oid,
        target,
        only=lambda path: path.startswith((f"{prefix}.", f"{prefix}-")),
    )
    return sorted((entry.path, entry.etag) for entry in entries)


def describe_use(source: TaskSource, loaded: LoadedTask, role: str, split: str) -> dict[str, Any]:
    """Return what a lineage says of the items that chose or judged a model."""
    return {
        "task": source.spec.name,
        "split": split,
        "role": role,
        "items": loaded.key,
        "dataset": None if source.private else source.dataset.full_name,
        "revision": None if source.private or loaded.hidden else source.oid,
        "hidden": loaded.hidden,
    }


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
        allowed = parse_project(hub.git.read(dataset, head, PROJECT)).evaluation.allow
    except (EntryNotFound, BadInput):
        return False
    return repo.full_name.lower() in {name.lower() for name in allowed}
