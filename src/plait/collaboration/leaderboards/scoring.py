# SPDX-License-Identifier: Apache-2.0
"""Submitting models to a leaderboard, and the job that scores them.

Whoever may read a model's files and a data set's files may have the one judged by the other. From
outside, a pull request on the data set names models in ``submissions/*.yaml`` (``model:`` and
``revision:``); they are scored with the rights of its author.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from plait.cards import load_yaml
from plait.collaboration import jobs
from plait.collaboration.leaderboards.board import declared, project_of
from plait.errors import BadInput, Conflict, Forbidden, PlaitError, Unauthorized
from plait.hub import Actor, Discussion, Hub, Repository, can
from plait.hub.database import Job, LeaderboardEntry, LeaderboardPair
from plait.hub.people.actors import load_actor
from plait.hub.permissions import ANONYMOUS, SYSTEM
from plait.hub.repositories.discussions import pull_ref

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext
    from plait.evaluation.results import TaskResult

KIND = "leaderboard"
FOLDER = "submissions"
MAX_SUBMITTED = 10
MAX_ENTRIES = 300
RESAMPLES = 4_000
CONFIDENCE = 0.95


def submit(hub: Hub, actor: Actor, dataset: Repository, model: str, revision: str = "main") -> Job:
    """Queue the job that scores a model on all tasks of a data set's leaderboard.

    Raises:
        RepositoryNotFound, GatedRepository: the actor may not read the files of one of them.
        BadInput: the data set declares no task.
        RevisionNotFound: the model has no such revision.
    """
    return _enqueue(hub, actor, dataset, [_named(hub, actor, dataset, model, revision)])


def submit_pull(hub: Hub, actor: Actor, dataset: Repository, discussion: Discussion) -> Job:
    """Queue the job that scores the models which a pull request names in ``submissions/*.yaml``.

    Raises:
        Forbidden: the actor is neither its author nor somebody who may merge it.
        BadInput: it names no model, or too many.
    """
    signed_in(actor)
    if not discussion.is_pull_request:
        raise BadInput(f"Discussion {discussion.number} is not a pull request.")
    if discussion.author_id != actor.user_id and not can(actor, "repo.merge", dataset):
        raise Forbidden("Only its author, or who may merge it, has a submission scored.")
    author = hub.accounts.by_id(discussion.author_id) if discussion.author_id else None
    if author is None:
        raise Forbidden("The author of the pull request is gone; open a new one.")
    with hub.session() as session:
        speaker = load_actor(session, author, "read")
    head = hub.git.resolve(dataset, pull_ref(discussion.number))
    main = {
        e.path: e.oid
        for e in hub.git.tree(dataset, hub.git.resolve(dataset, "main"), recursive=True)
    }
    named = []
    for entry in hub.git.tree(dataset, head, recursive=True):
        path = entry.path
        if not path.startswith(f"{FOLDER}/") or not path.endswith((".yaml", ".yml")):
            continue
        if main.get(path) == entry.oid:
            continue
        if entry.size > 10_000:
            raise BadInput(f"{path} is larger than 10 kB.")
        data = load_yaml(hub.git.read(dataset, head, path).decode("utf-8", "replace"), what=path)
        if not isinstance(data, dict) or not isinstance(data.get("model"), str):
            raise BadInput(f"{path} must name a model: 'model: namespace/name'.")
        revision = data.get("revision", "main")
        named.append(_named(hub, speaker, dataset, data["model"], str(revision)[:200]))
    if not 1 <= len(named) <= MAX_SUBMITTED:
        raise BadInput(
            f"The pull request must add 1 to {MAX_SUBMITTED} files {FOLDER}/NAME.yaml, each with "
            "'model: namespace/name' and perhaps 'revision: …'."
        )
    return _enqueue(hub, speaker, dataset, named, discussion)


def names_models(hub: Hub, dataset: Repository, paths: Sequence[str]) -> bool:
    """Tell whether changed paths of a pull request on a data set submit models to it."""
    return (
        dataset.type == "dataset"
        and any(p.startswith(f"{FOLDER}/") and p.endswith((".yaml", ".yml")) for p in paths)
        and bool(declared(hub, dataset))
    )


def signed_in(actor: Actor, what: str = "submit a model") -> None:
    """Refuse those on whose bill no job can be.

    Raises:
        Unauthorized, Forbidden: the actor is nobody, or the token does not speak for the user.
    """
    if actor.user_id is None:
        raise Unauthorized(f"Log in to {what}.")
    if actor.scope not in ("contributor", "write"):
        raise Forbidden(f"Use a token of scope 'write' or 'contributor' to {what}.")


def _named(
    hub: Hub, actor: Actor, dataset: Repository, model: str, revision: str
) -> dict[str, Any]:
    hub.repositories.require(actor, dataset, "repo.files")
    if not declared(hub, dataset):
        raise BadInput(
            f"'{dataset.full_name}' has no leaderboard: its plait.yaml names no task on itself."
        )
    found = hub.repositories.get(actor, "model", model, "repo.files")
    oid = hub.git.resolve(found, revision)
    return {"model": found.id, "oid": oid, "named": revision[:200]}


def _enqueue(
    hub: Hub,
    actor: Actor,
    dataset: Repository,
    models: list[dict[str, Any]],
    discussion: Discussion | None = None,
) -> Job:
    if discussion is None:
        signed_in(actor)
    # The job belongs to no repository: only who asked for it may know which model it is about.
    first = models[0]
    return jobs.enqueue(
        hub,
        KIND,
        {
            "dataset": dataset.id,
            "models": models,
            "discussion": None if discussion is None else discussion.number,
        },
        requested_by=actor.user_id,
        key=f"{KIND}:{dataset.id}:{actor.user_id}:{first['model']}:{first['oid']}:{len(models)}",
    )


def run(context: JobContext) -> dict[str, Any]:
    """Score the models of a job on every task of the leaderboard.

    Raises:
        BadInput: a model cannot be judged by these tasks.
        TooManyRequests: a hidden split was asked as often as its owner allows.
    """
    hub, payload = context.hub, context.job.payload
    dataset = hub.repositories.by_id(int(payload["dataset"]))
    if dataset is None:
        raise BadInput("The data set is gone.")
    scored: list[dict[str, Any]] = []
    for place, one in enumerate(payload["models"]):
        model = hub.repositories.by_id(int(one["model"]))
        if model is None:
            raise BadInput("The model is gone.")
        may_still(hub, context.job, model, dataset)
        context.progress(place / len(payload["models"]), f"scoring model {place + 1}")
        scored += _score(context, dataset, model, one)
    if payload.get("discussion"):
        _tell(hub, dataset, int(payload["discussion"]), scored)
    return {"scored": scored}


def may_still(hub: Hub, job: Job, *repos: Repository) -> None:
    """Refuse to go on where whoever asked may not read the files any more.

    Raises:
        RepositoryNotFound, GatedRepository: of one of them.
        BadInput: who asked is gone.
    """
    account = hub.accounts.by_id(job.requested_by) if job.requested_by else None
    if account is None:
        raise BadInput("Who asked for this is gone.")
    with hub.session() as session:
        actor = load_actor(session, account, "read")
    for repo in repos:
        hub.repositories.require(actor, repo, "repo.files")


def _score(
    context: JobContext, dataset: Repository, model: Repository, one: dict[str, Any]
) -> list[dict[str, Any]]:
    from plait.collaboration.merging.access import TaskSource, asker_of, load
    from plait.evaluation import evaluate

    hub, split = context.hub, project_of(context.hub, dataset).leaderboard.split
    folder = context.folder / f"model-{model.id}"
    hub.commits.materialize(model, one["oid"], folder, only=of_model)
    data = hub.git.resolve(dataset, "main")
    told = []
    for spec in declared(hub, dataset):
        context.check()
        source = TaskSource(replace(spec, dataset=f"of task {spec.name}"), dataset, data)
        place = context.folder / f"data-{model.id}"
        loaded = load(hub, source, split, place, asker_of(context.job, model))
        try:
            found = evaluate(folder, [loaded.task], split, lambda done, total: context.check())
        except PlaitError as error:
            if loaded.hidden or source.private:
                raise BadInput(f"The model cannot be judged by the task '{spec.name}'.") from None
            raise BadInput(error.message.replace(str(folder), model.full_name)) from error
        result = aligned(found.tasks[spec.name])
        values: dict[str, Any] = {
            "named": one["named"],
            "data_revision": data,
            "task": spec.name,
            "split": split,
            "hidden": loaded.hidden,
            "metric": result.metric,
            "score": result.score,
            "low": result.interval[0],
            "high": result.interval[1],
            "n": result.n,
            "groups": result.groups,
            "result": _plain(replace(found, tasks={spec.name: result}), spec.name),
            "submitted_by": context.job.requested_by,
        }
        _keep(hub, dataset, model, one["oid"], loaded.key, values)
        score = round(result.score, 2 if loaded.hidden else 6)
        shown = {"model": model.full_name, "task": spec.name, "score": score}
        told.append({**shown, "public": can(ANONYMOUS, "repo.read", model) and not loaded.hidden})
    return told


def of_model(path: str) -> bool:
    """Tell whether a file belongs to a model as it is judged."""
    from plait.collaboration.merging.material import wanted

    return wanted(path) or path.startswith("heads/")


def _plain(evaluation: Any, task: str) -> dict[str, Any]:
    plain: dict[str, Any] = evaluation.to_json()["tasks"][task]
    return plain


def aligned(result: TaskResult) -> TaskResult:
    """Number the classes by their names, so that models which order them otherwise compare."""
    from plait.evaluation.results import score_items
    from plait.evaluation.types import task_type
    from plait.evaluation.types.classification import Classification

    labels = result.about.get("labels")
    if not isinstance(task_type(result.type), Classification) or not isinstance(labels, list):
        return result
    order = sorted(range(len(labels)), key=lambda place: str(labels[place]).lower())
    new = {old: place for place, old in enumerate(order)}
    items = tuple(
        replace(item, label=new[item.label], predicted=new[item.predicted]) for item in result.items
    )
    about = {**result.about, "labels": [labels[place] for place in order]}
    return score_items(result.metric, items, about, result.type, seen=result.seen)


def gap(first: TaskResult, second: TaskResult, key: str = "") -> tuple[float, float, float] | None:
    """Return the first's gain over the second and its paired 95% interval; None: not comparable."""
    from plait.evaluation import bootstrap, metrics
    from plait.evaluation.types import task_type

    kind = task_type(first.type)
    if first.type != second.type or first.metric != second.metric or first.n != second.n:
        return None
    if any(x.id != y.id or kind.truth(x) != kind.truth(y)
           for x, y in zip(first.items, second.items, strict=True)):  # fmt: skip
        return None
    measure = kind.measure([first.items, second.items], [first.about, second.about], first.metric)
    sample = bootstrap.resample(measure, resamples=RESAMPLES, key=key)
    strayed = bootstrap.deviations([sample], bootstrap.as_difference(0, 1))
    side = (1 + CONFIDENCE) / 2
    low, high = strayed.lower(side), strayed.upper(side)
    if metrics.metric(first.metric).direction < 0:
        return -strayed.effect, -high, -low
    return strayed.effect, low, high


def _keep(
    hub: Hub,
    dataset: Repository,
    model: Repository,
    oid: str,
    task_key: str,
    values: dict[str, Any],
) -> None:
    """Store an entry, and its differences from all others on the same items."""
    from plait.evaluation.results import Evaluation

    def read(result: dict[str, Any]) -> TaskResult:
        return Evaluation.from_json({"split": "", "tasks": {"task": result}}).tasks["task"]

    mine = read(values["result"])
    with hub.session() as session:
        others = session.scalars(
            select(LeaderboardEntry)
            .where(LeaderboardEntry.dataset_id == dataset.id, LeaderboardEntry.task_key == task_key)
            .options(undefer(LeaderboardEntry.result))
        ).all()
    if len(others) >= MAX_ENTRIES:
        raise Conflict(f"A leaderboard holds {MAX_ENTRIES} entries; its owner can remove some.")
    gaps = [
        (other.id, found)
        for other in others
        if (other.model_id, other.revision) != (model.id, oid)
        and (found := gap(mine, read(other.result), task_key)) is not None
    ]
    with hub.session(write=True) as session:
        same = session.scalar(
            select(LeaderboardEntry).where(
                LeaderboardEntry.task_key == task_key,
                LeaderboardEntry.model_id == model.id,
                LeaderboardEntry.revision == oid,
            )
        )
        if same is not None:
            return  # measured before, on the same items
        entry = LeaderboardEntry(
            dataset_id=dataset.id, model_id=model.id, revision=oid, task_key=task_key, **values
        )
        session.add(entry)
        session.flush()
        for number, (effect, low, high) in gaps:
            session.add(
                LeaderboardPair(
                    first_id=entry.id, second_id=number, gain=effect, low=low, high=high
                )
            )


def _tell(hub: Hub, dataset: Repository, number: int, scored: list[dict[str, Any]]) -> None:
    """Say in the pull request what its models scored; nothing of private ones or hidden splits."""
    lines = [f"| {r['model']} | {r['task']} | {r['score']:.4f} |" for r in scored if r["public"]]
    text = "The models are scored; see the leaderboard."
    if lines:
        text += "\n\n| model | task | score |\n|---|---|---|\n" + "\n".join(lines)
    hub.discussions.add_comment(SYSTEM, hub.discussions.get(dataset, number), text)
