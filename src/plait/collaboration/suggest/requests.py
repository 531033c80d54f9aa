# SPDX-License-Identifier: Apache-2.0
"""The job that ranks a hub's models and data sets for a sample, of which nothing is kept.

The sample lies in a file of the hub's working folder, readable by the hub's own user alone, from
the request until the job ends; what a job that never ran left is removed with the next request
after an hour. The job belongs to no repository, so that only who asked sees its result.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.collaboration import jobs
from plait.collaboration.suggest.ranking import Sample, fusable, rank_models
from plait.errors import BadInput, Cancelled, Forbidden, PlaitError, Unauthorized
from plait.hub import Actor, Hub, Repository, can
from plait.hub.database import Job
from plait.hub.people.actors import load_actor
from plait.hub.permissions import resource_of

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

KIND = "suggest"
MAX_MODELS = 12
MAX_DATASETS = 12
MAX_PARAMETERS = 400_000_000
TEXTS = 200
"""Texts of a data set that are looked at."""
MAX_FILE = 64 * 2**20
STALE = 3_600.0
_TOKEN = re.compile(r"[0-9a-f]{32}")
_SPLITS = ("train", "validation", "test")


def request(hub: Hub, actor: Actor, sample: Sample, models: list[str] | None = None) -> Job:
    """Queue the ranking of what the actor may read, or of the models named.

    Raises:
        Unauthorized, Forbidden: the actor is nobody, or the token does not speak for the user.
        RepositoryNotFound: a model that is named cannot be read.
        BadInput: too many are named.
    """
    if actor.user_id is None:
        raise Unauthorized("Log in to have models ranked for your data.")
    if actor.scope not in ("contributor", "write"):
        raise Forbidden("Use a token of scope 'write' or 'contributor'.")
    if models and len(models) > MAX_MODELS:
        raise BadInput(f"Name at most {MAX_MODELS} models.")
    for name in models or ():
        hub.repositories.get(actor, "model", name, "repo.files")
    _forget_stale(hub)
    token = secrets.token_hex(16)
    path = _path(hub, token)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"texts": sample.texts, "labels": sample.labels}))
    return jobs.enqueue(
        hub, KIND, {"sample": token, "models": models or []}, requested_by=actor.user_id
    )


def run(context: JobContext) -> dict[str, Any]:
    """Rank the candidates; the sample is removed when this is done."""
    hub, payload = context.hub, context.job.payload
    path = _path(hub, str(payload["sample"]))
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise BadInput("The sample is gone; send it again.") from None
    sample = Sample(tuple(data["texts"]), tuple(data["labels"]))
    account = hub.accounts.by_id(context.job.requested_by or 0)
    if account is None:
        raise BadInput("Who asked for this is gone.")
    with hub.session() as session:
        actor = load_actor(session, account, "read")
    repos = _candidates(hub, actor, payload["models"])
    folders = {repo.full_name: _model(context, repo) for repo in repos}

    def tell(fraction: float, stage: str) -> None:
        context.progress(0.8 * fraction, stage)

    models, left = rank_models(folders, sample, tell)
    for row in models:
        repo = next(one for one in repos if one.full_name == row["model"])
        row["license"] = str((repo.card or {}).get("license") or "")
        row["parameters"] = repo.parameters
    datasets: list[dict[str, Any]] = []
    if models:
        datasets = _datasets(context, actor, sample, folders[models[0]["model"]])
    bases = {repo.full_name: _base(repo) for repo in repos}
    ranked = {row["model"]: folders[row["model"]] for row in models}
    result = {
        "items": len(sample.texts),
        "models": models,
        "left": left,
        "datasets": datasets,
        "fusable": fusable(ranked, bases),
        "encoder": models[0]["model"] if models else None,
    }
    path.unlink(missing_ok=True)
    return result


def ended(hub: Hub, job: Job, reason: str) -> None:
    """Remove the sample of a job that failed or was cancelled."""
    _path(hub, str(job.payload.get("sample", ""))).unlink(missing_ok=True)


def _candidates(hub: Hub, actor: Actor, named: list[str]) -> list[Repository]:
    if named:
        return [hub.repositories.get(actor, "model", name, "repo.files") for name in named]
    page = hub.repositories.list(actor, "model", sort="downloads", limit=200)
    found = [
        repo
        for repo in page.items
        if repo.parameters
        and repo.parameters <= MAX_PARAMETERS
        and repo.head
        and _files(hub, actor, repo)
    ]
    return found[:MAX_MODELS]


def _files(hub: Hub, actor: Actor, repo: Repository) -> bool:
    """Tell whether the actor may read the files, also through a gate."""
    if can(actor, "repo.files", resource_of(repo)):
        return True
    try:
        hub.repositories.require(actor, repo, "repo.files")
    except PlaitError:
        return False
    return True


def _model(context: JobContext, repo: Repository) -> Path:
    from plait.collaboration.merging.material import wanted

    context.check()
    folder = context.folder / f"model-{repo.id}"
    oid = context.hub.git.resolve(repo, "main")
    context.hub.commits.materialize(repo, oid, folder, only=wanted)
    return folder


def _base(repo: Repository) -> str:
    named = (repo.card or {}).get("base_model")
    first = named[0] if isinstance(named, list) and named else named
    return first if isinstance(first, str) else ""


def _datasets(
    context: JobContext, actor: Actor, sample: Sample, encoder: Path
) -> list[dict[str, Any]]:
    """Rank data sets by how near their texts lie to the sample's, for the best encoder."""
    from plait.evaluation.transferability import embed, likeness

    hub = context.hub
    page = hub.repositories.list(actor, "dataset", sort="downloads", limit=100)
    own = embed(encoder, sample.texts)
    found: list[dict[str, Any]] = []
    for repo in page.items:
        if len(found) >= MAX_DATASETS:
            break
        context.progress(0.8 + 0.2 * len(found) / MAX_DATASETS, "looking at data sets")
        if not _files(hub, actor, repo):
            continue
        try:
            texts = _texts(context, repo)
            alike = likeness(own, embed(encoder, texts))
        except Cancelled:
            raise
        except PlaitError:
            continue  # no table of texts, or too few of them
        found.append({"dataset": repo.full_name, "texts": len(texts), **alike.to_json()})
    found.sort(key=lambda row: (row["distance"]["value"], row["dataset"]))
    return found


def _texts(context: JobContext, repo: Repository) -> list[str]:
    """Read the first texts of a data set's first split.

    Raises:
        BadInput: it has no table with a column ``text``, or nothing stands in it.
    """
    from plait.evaluation import tasks

    hub = context.hub
    oid = hub.git.resolve(repo, "main")
    names = [
        entry.path
        for split in _SPLITS
        for entry in hub.git.tree(repo, oid, recursive=True)
        if entry.path.startswith((f"data/{split}.", f"data/{split}-"))
        and entry.path.endswith((".jsonl", ".csv", ".parquet"))
        and entry.size <= MAX_FILE
    ]
    if not names:
        raise BadInput("The data set has no table.")
    folder = context.folder / f"data-{repo.id}"
    hub.commits.materialize(repo, oid, folder, only=lambda path: path == names[0])
    found: list[str] = []
    for row in tasks.read_rows(folder / names[0], "the data set", ["text"]):
        if isinstance(row["text"], str) and row["text"].strip():
            found.append(row["text"][:4_000])
        if len(found) >= TEXTS:
            break
    if not found:
        raise BadInput("The data set's table has no texts.")
    return found


def _path(hub: Hub, token: str) -> Path:
    if not _TOKEN.fullmatch(token):
        raise BadInput("The job names no sample.")
    return hub.settings.work_dir / f"sample-{token}.json"


def _forget_stale(hub: Hub) -> None:
    for file in hub.settings.work_dir.glob("sample-*.json"):
        try:
            if time.time() - file.stat().st_mtime > STALE:
                file.unlink()
        except FileNotFoundError:
            continue
