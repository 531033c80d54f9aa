# SPDX-License-Identifier: Apache-2.0
"""Any models or revisions compared on any data set of the hub: a job measures, a page shows it.

Whoever may read the files of all of them may have them compared. Items come from the files that a
commit of the data set holds; a hidden split is not asked here, since a paired interval would tell
more of it than its owner's limit allows for (a leaderboard counts its questions). What each model
answered is kept item by item, and shown to those who may read all those files when they look.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from plait.collaboration import jobs
from plait.collaboration.leaderboards.board import Board, Row, differ, item_of, project_of
from plait.collaboration.leaderboards.comparing import Compared, parse_models, texts_of
from plait.collaboration.leaderboards.scoring import aligned, gap, may_still, of_model, signed_in
from plait.collaboration.splits import check_open_split
from plait.errors import BadInput, Conflict, NotFound, PlaitError
from plait.hub import Actor, Hub, Repository
from plait.hub.database import Job, LeaderboardEntry, StoredEvaluation, now
from plait.recipes.project import TaskSpec

if TYPE_CHECKING:
    from plait.collaboration.merging.access import LoadedTask
    from plait.collaboration.worker import JobContext
    from plait.evaluation import Evaluation

KIND = "compare"
MOST_TASKS = 20
HIDDEN = (
    "models are not compared on it item by item. Submit them to the data set's leaderboard, which "
    "counts its questions."
)


@dataclass(frozen=True)
class Asked:
    """What a comparison was asked about, by the names that a form takes."""

    models: tuple[str, ...]
    dataset: str
    split: str
    task: str


def request(
    hub: Hub,
    actor: Actor,
    names: Sequence[str],
    dataset: str,
    split: str = "test",
    task: str = "",
) -> Job:
    """Queue the job that measures models on the same items of a data set.

    Args:
        hub: where.
        actor: who asks, and pays for the job.
        names: models, ``namespace/name`` (its main) or ``namespace/name@REVISION``.
        dataset: ``namespace/name``, perhaps with a revision as well.
        split: whose items.
        task: one of the data set's, by name; all of them without.

    The tasks are those that the data set's ``plait.yaml`` names on itself; else those on it in the
    first model's; else the columns ``text`` and ``label`` are a text classification.

    Raises:
        Unauthorized, Forbidden: the actor is nobody, or the token does not speak for the user.
        RepositoryNotFound, GatedRepository: the actor may not read the files of one of them.
        RevisionNotFound: there is no such revision.
        BadInput: models are too few, too many or the same; no such split or task; a hidden split.
    """
    signed_in(actor, "have models compared")
    wanted = parse_models(names)
    title, _, revision = dataset.strip().partition("@")
    data = hub.repositories.get(actor, "dataset", title[:200], "repo.files")
    oid = hub.git.resolve(data, revision[:200] or "main")
    models: list[dict[str, Any]] = []
    for name, named in wanted:
        model = hub.repositories.get(actor, "model", name, "repo.files")
        at = hub.git.resolve(model, named or "main")
        if any((one["model"], one["oid"]) == (model.id, at) for one in models):
            raise BadInput(f"'{name}' at {named or 'main'} is named twice: both are {at[:10]}.")
        models.append({"model": model.id, "oid": at, "named": (named or "main")[:200]})
    split = split.strip()[:96] or "test"
    check_open_split(hub, data, oid, split, HIDDEN)
    first = hub.repositories.by_id(models[0]["model"])
    assert first is not None
    _chosen(tasks_of(hub, data, oid, first, models[0]["oid"]), task)
    # The job belongs to no repository: it is about several, and perhaps private ones.
    return jobs.enqueue(
        hub,
        KIND,
        {
            "dataset": data.id,
            "data": oid,
            "named": revision[:200],
            "split": split,
            "task": task,
            "models": models,
        },
        requested_by=actor.user_id,
    )


def tasks_of(
    hub: Hub, data: Repository, oid: str, model: Repository, at: str
) -> tuple[TaskSpec, ...]:
    """Return the tasks by which models are compared on a data set at a commit."""
    name = data.full_name.lower()
    own = [s for s in project_of(hub, data, oid).tasks if s.dataset.lower() in (name, ".")]
    named = own or [s for s in project_of(hub, model, at).tasks if s.dataset.lower() == name]
    return tuple(named) or (TaskSpec(name=data.name, dataset=data.full_name),)


def run(context: JobContext) -> dict[str, Any]:
    """Measure the models and keep what each answered.

    Raises:
        BadInput: one cannot be judged by the tasks, or may not be read any more.
    """
    from plait.collaboration.merging.gate import Measurements, model_key
    from plait.collaboration.merging.material import named as naming

    hub, payload = context.hub, context.job.payload
    data = hub.repositories.by_id(int(payload["dataset"]))
    models = [hub.repositories.by_id(int(one["model"])) for one in payload["models"]]
    if data is None or any(model is None for model in models):
        raise BadInput("The data set or one of the models is gone.")
    split = str(payload["split"])
    known = [model for model in models if model is not None]
    may_still(hub, context.job, data, *known)
    check_open_split(hub, data, str(payload["data"]), split, HIDDEN)
    specs, loaded = _load(context, data, known[0])
    measured = Measurements(hub, data, split, loaded)
    keys: list[str] = []
    found: list[Evaluation] = []
    for place, (model, one) in enumerate(zip(known, payload["models"], strict=True)):
        title = f"{model.full_name}@{one['named']}"
        files = {
            entry.path: entry.etag
            for entry in hub.git.tree(model, one["oid"], recursive=True)
            if of_model(entry.path)
        }
        folder = context.folder / f"model-{place}"

        def make(model: Repository = model, oid: str = one["oid"], folder: Path = folder) -> Any:
            hub.commits.materialize(model, oid, folder, only=of_model)
            return folder

        def tick(done: int, total: int, place: int = place, title: str = title) -> None:
            part = (place + done / max(total, 1)) / len(known)
            context.progress(0.05 + 0.9 * part, f"measuring {title}"[:200])

        tick(0, 1)
        # The data set's number is part of the key: what is kept goes when the data set does.
        keys.append(model_key({"dataset": str(data.id)}, files))
        with naming({folder: title}):
            found.append(measured.measure(keys[-1], make, title, tick))
        shutil.rmtree(folder, ignore_errors=True)
    context.progress(0.96, "comparing item by item")
    return {
        "keys": keys,
        "tasks": [_described(spec, one, found) for spec, one in zip(specs, loaded, strict=True)],
    }


def _described(spec: TaskSpec, loaded: LoadedTask, found: Sequence[Evaluation]) -> dict[str, Any]:
    """Return a task's scores, and the paired difference of each two models."""
    results = [aligned(one.tasks[spec.name]) for one in found]
    gaps = [
        [a, b, *between]
        for a, b in combinations(range(len(results)), 2)
        if (between := gap(results[a], results[b], loaded.key)) is not None
    ]
    return {
        "task": spec.name,
        "metric": spec.metric,
        "text": spec.columns.text,
        "key": loaded.key,
        "scores": [[r.score, *r.interval, r.n, r.groups] for r in results],
        "gaps": gaps,
    }


def _load(
    context: JobContext, data: Repository, first: Repository
) -> tuple[list[TaskSpec], list[LoadedTask]]:
    from plait.collaboration.merging.access import TaskSource, load
    from plait.evaluation.folders import task_of_folder

    hub, payload = context.hub, context.job.payload
    oid, split = str(payload["data"]), str(payload["split"])
    context.progress(0.01, "reading the items")
    everything = tasks_of(hub, data, oid, first, str(payload["models"][0]["oid"]))
    specs = _chosen(everything, str(payload["task"]))
    if [spec.name for spec in everything] == [data.name] and specs[0].columns.group is None:
        probe = context.folder / "probe"
        prefixes = (f"data/{split}.", f"data/{split}-")
        hub.commits.materialize(data, oid, probe, only=lambda path: path.startswith(prefixes))
        specs = [replace(specs[0], columns=task_of_folder(probe).columns)]
    loaded = []
    for spec in specs:
        context.check()
        source = TaskSource(replace(spec, dataset=f"of task {spec.name}"), data, oid)
        loaded.append(load(hub, source, split, context.folder / "data"))
    return specs, loaded


def _chosen(specs: Sequence[TaskSpec], task: str) -> list[TaskSpec]:
    found = [spec for spec in specs if not task or spec.name == task]
    if not found:
        listed = ", ".join(spec.name for spec in specs)
        raise BadInput(f"The data set has no task {task[:64]!a}; its tasks are: {listed}.")
    if len(found) > MOST_TASKS:
        raise BadInput(f"The data set has {len(found)} tasks; name one of them.")
    return found


def find(hub: Hub, actor: Actor, number: int) -> Job:
    """Return a comparison's job: one's own, or a finished one of what the actor may read.

    Raises:
        NotFound: there is none, or the actor may not know of it.
    """
    nothing = NotFound(f"There is no comparison {number}.")
    if not 0 < number < 2**31:
        raise nothing
    try:
        job = jobs.get(hub, number)
    except NotFound:
        raise nothing from None
    own = actor.user_id is not None and job.requested_by == actor.user_id
    if job.kind != KIND or not (own or job.state == "succeeded"):
        raise nothing
    try:
        _repositories(hub, actor, job)
    except PlaitError:
        raise nothing from None
    return job


def asked(hub: Hub, actor: Actor, job: Job) -> Asked:
    """Return what a comparison was asked about, as a form takes it.

    Raises:
        RepositoryNotFound, GatedRepository, NotFound: the actor may not read it (any more).
    """
    data, models = _repositories(hub, actor, job)
    payload = job.payload
    return Asked(
        tuple(
            f"{model.full_name}@{one['named']}"
            for model, one in zip(models, payload["models"], strict=True)
        ),
        f"{data.full_name}@{payload['named']}" if payload["named"] else data.full_name,
        str(payload["split"]),
        str(payload["task"]),
    )


def measured(hub: Hub, actor: Actor, job: Job) -> list[Compared]:
    """Return what a finished comparison found, task by task, with the items that differ.

    Raises:
        RepositoryNotFound, GatedRepository, NotFound: the actor may not read it (any more).
        Conflict: the job has not ended well.
    """
    data, models = _repositories(hub, actor, job)
    if job.state != "succeeded" or job.result is None:
        raise Conflict(f"Comparison {job.id} is {job.state}.")
    payload, made = job.payload, []
    for task in job.result["tasks"]:
        entries = [
            LeaderboardEntry(
                id=place, dataset_id=data.id, model_id=model.id, revision=one["oid"],
                named=one["named"], data_revision=payload["data"], task=task["task"],
                split=payload["split"], hidden=False, metric=task["metric"],
                score=numbers[0], low=numbers[1], high=numbers[2], n=numbers[3],
                groups=numbers[4], created_at=job.finished_at or now(),
            )
            for place, (model, one, numbers) in enumerate(
                zip(models, payload["models"], task["scores"], strict=True)
            )
        ]  # fmt: skip
        gaps: dict[tuple[int, int], tuple[float, float, float]] = {}
        for first, second, effect, low, high in task["gaps"]:
            gaps[first, second] = (effect, low, high)
            gaps[second, first] = (-effect, -high, -low)
        places = range(len(models))
        rows = tuple(
            Row(
                entry,
                model,
                1 + sum(gaps.get((other, entry.id), (0, 0, 0))[1] > 0 for other in places),
                len(models),
            )
            for entry, model in zip(entries, models, strict=True)
        )
        board = Board(task["task"], payload["split"], task["metric"], False, False, rows, gaps)
        items = differ(_outcomes(hub, task["key"], job.result["keys"]))
        if items:
            texts = texts_of(hub, data, rows[0], task["text"], {one["id"] for one in items})
            items = [item | {"text": texts.get(str(item["id"]), "")} for item in items]
        made.append(Compared(data, board, tuple(items), shown=True))
    return made


def _outcomes(hub: Hub, task_key: str, keys: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Return every item's outcome of each model, from what was kept."""
    with hub.session() as session:
        stored = {
            row.model_key: row.result
            for row in session.execute(
                select(StoredEvaluation.model_key, StoredEvaluation.result).where(
                    StoredEvaluation.task_key == task_key, StoredEvaluation.model_key.in_(keys)
                )
            )
        }
    if set(stored) != set(keys):
        raise NotFound("What single items scored is gone; have the models measured again.")
    made = []
    for key in keys:
        plain = stored[key]
        labels = (plain.get("about") or {}).get("labels")
        made.append([item_of(one, plain["type"], labels) for one in plain["items"]])
    return made


def _repositories(hub: Hub, actor: Actor, job: Job) -> tuple[Repository, list[Repository]]:
    """Return the data set and the models of a comparison, if the actor may read their files."""
    payload = job.payload
    found = [
        hub.repositories.by_id(int(number))
        for number in (payload["dataset"], *(one["model"] for one in payload["models"]))
    ]
    gone = NotFound("The data set or one of the models is gone.")
    for repo in found:
        if repo is None:
            raise gone
        hub.repositories.require(actor, repo, "repo.files")
    data, *models = [repo for repo in found if repo is not None]
    if hub.hidden.is_hidden(data, str(payload["split"])):
        raise gone
    return data, models
