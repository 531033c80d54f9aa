# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning as a job of the hub: a model learns a data set, and its pull request says so.

Whoever may read both and may propose changes to the model may ask for it, and pays. What comes of
it is a pull request like any other: nothing of the model changes until its gate has passed it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.collaboration import jobs
from plait.collaboration.leaderboards.scoring import may_still, of_model, signed_in
from plait.collaboration.splits import check_open_split
from plait.errors import BadInput
from plait.hub import Actor, Delete, Hub, Repository
from plait.hub.database import Job
from plait.hub.people.actors import load_actor
from plait.recipes.project import Columns, TaskSpec

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

KIND = "train"
MAX_ITEMS = 200_000
HIDDEN = "it judges models, and none learns from it."


@dataclass(frozen=True)
class Settings:
    """How a model is fine-tuned: the options of `plait.training.classifier.fine_tune`."""

    epochs: int = 2
    learning_rate: float = 1e-4
    batch_size: int = 16
    max_length: int = 64
    freeze_embeddings: bool = True
    freeze_head: bool = False
    balance_classes: bool = False
    seed: int = 0

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            BadInput: naming the setting and its bounds.
        """
        from plait.training.classifier import check_numbers

        if not math.isfinite(self.learning_rate):
            raise BadInput("learning_rate must be a number.")
        check_numbers(self.epochs, self.learning_rate, self.batch_size, self.max_length)
        if not 0 <= self.seed < 2**31:
            raise BadInput(f"seed must be from 0 to {2**31 - 1:,}, not {self.seed}.")


def request(
    hub: Hub,
    actor: Actor,
    model: Repository,
    dataset: str,
    *,
    split: str = "train",
    text: str = "text",
    label: str = "label",
    title: str = "",
    settings: Settings | None = None,
) -> Job:
    """Queue the job that fine-tunes a text classifier's main on a data set of the hub.

    Args:
        hub: where.
        actor: who asks, is the pull request's author, and pays for the job.
        model: what is trained; its main stays as it is.
        dataset: ``namespace/name``, perhaps with ``@REVISION``.
        split: whose items are learnt.
        text: the column of the texts.
        label: the column of the labels, which are names or numbers of the model's classes.
        title: of the pull request.
        settings: how; None: as usual.

    Raises:
        Unauthorized, Forbidden: the actor is nobody, or may not propose changes to the model.
        RepositoryNotFound, GatedRepository: the actor may not read the files of one of them.
        RevisionNotFound: there is no such revision.
        BadInput: no such split, a hidden one, or a setting that cannot be.
    """
    signed_in(actor, "have a model trained")
    hub.repositories.require(actor, model, "repo.files")
    hub.commits.may_commit(actor, model, "main", create_pr=True)
    name, _, revision = dataset.strip().partition("@")
    data = hub.repositories.get(actor, "dataset", name[:200], "repo.files")
    settings = settings or Settings()
    settings.check()
    oid = hub.git.resolve(data, revision[:200] or "main")
    split = split.strip()[:96] or "train"
    check_open_split(hub, data, oid, split, HIDDEN)
    return jobs.enqueue(
        hub,
        KIND,
        {
            "model": model.id,
            "oid": hub.git.resolve(model, "main"),
            "dataset": data.id,
            "data": oid,
            "split": split,
            "text": text.strip()[:200] or "text",
            "label": label.strip()[:200] or "label",
            "title": " ".join(title.split())[:200],
            "settings": asdict(settings),
        },
        requested_by=actor.user_id,
    )


def run(context: JobContext) -> dict[str, Any]:
    """Fine-tune, and open the pull request.

    Raises:
        BadInput: the model is no text classifier, the data do not fit it, or one may not be read
            any more.
    """
    from plait.collaboration.merging.access import TaskSource, load
    from plait.training.classifier import fine_tune

    hub, payload = context.hub, context.job.payload
    opened = (context.job.result or {}).get("pull_request")
    if opened:  # by an attempt that ended before it could say so
        return dict(context.job.result or {})
    data = hub.repositories.by_id(int(payload["dataset"]))
    model = hub.repositories.by_id(int(payload["model"]))
    if data is None or model is None:
        raise BadInput("The data set or the model is gone.")
    may_still(hub, context.job, data, model)
    split = str(payload["split"])
    check_open_split(hub, data, str(payload["data"]), split, HIDDEN)
    context.progress(0.01, "reading the items")
    columns = Columns(text=str(payload["text"]), label=str(payload["label"]))
    spec = TaskSpec(name="train", dataset=data.full_name, columns=columns)
    source = TaskSource(replace(spec, dataset="of the training"), data, str(payload["data"]))
    items = load(hub, source, split, context.folder / "data").task.items
    if len(items) > MAX_ITEMS:
        raise BadInput(f"The split has {len(items):,} items; a job learns {MAX_ITEMS:,} at most.")
    context.progress(0.03, "reading the model")
    base, out = context.folder / "base", context.folder / "trained"
    hub.commits.materialize(model, str(payload["oid"]), base, only=of_model)

    def tell(done: int, total: int, loss: float) -> None:
        context.progress(0.05 + 0.9 * done / max(total, 1), "training")

    settings = Settings(**payload["settings"])
    settings.check()
    found = fine_tune(
        base,
        [item.text for item in items],
        [_label(item.label) for item in items],
        out,
        **asdict(settings),
        progress=tell,
        cancelled=context.cancelled,
    )
    context.log(f"mean loss by epoch: {', '.join(f'{loss:.4f}' for loss in found.losses)}")
    context.progress(0.96, "opening the pull request")
    number, oid = _propose(context, model, data, out, found.losses)
    context.log(f"opened pull request #{number}")
    told = {
        "pull_request": number,
        "revision": oid,
        "items": found.items,
        "steps": found.steps,
        "losses": [round(loss, 5) for loss in found.losses],
    }
    context.note(told)
    return told


def _propose(
    context: JobContext,
    model: Repository,
    data: Repository,
    folder: Path,
    losses: tuple[float, ...],
) -> tuple[int, str]:
    """Put the weights into a pull request of whoever asked; return its number and commit."""
    from plait.collaboration.merging.changes import INDEX, files, weight_files
    from plait.collaboration.merging.landing import store_weights
    from plait.fusion.weights.checksums import hash_files

    hub, payload = context.hub, context.job.payload
    account = hub.accounts.by_id(context.job.requested_by or 0)
    if account is None:
        raise BadInput("Who asked for this is gone.")
    with hub.session() as session:
        actor = load_actor(session, account, "write")
    hashes = hash_files(path for path in folder.glob("*.safetensors"))
    operations = store_weights(hub, model, folder, {p.name: h for p, h in hashes.items()})
    written = {operation.path for operation in operations}
    at_base = files(hub, model, str(payload["oid"]))
    before = weight_files(at_base, lambda path: hub.git.read(model, str(payload["oid"]), path))
    operations += [
        Delete(path) for path in (*before, INDEX) if path in at_base and path not in written
    ]
    # a model may be read by people who must not learn what a private data set is called
    called = "a private data set" if data.private else f"{data.full_name}@{payload['data'][:10]}"
    title = str(payload["title"]) or f"Fine-tuned on {called}"
    outcome = hub.commits.apply(
        actor,
        model,
        "main",
        operations,
        title,
        _description(called, payload, losses),
        parent=str(payload["oid"]),
        create_pr=True,
    )
    assert outcome.discussion is not None
    return outcome.discussion.number, outcome.oid


def _description(called: str, payload: Mapping[str, Any], losses: tuple[float, ...]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in payload["settings"].items())
    return (
        f"Trained by a job of this hub on the split '{payload['split']}' of {called}, from "
        f"{payload['oid'][:10]}. {settings[:1].upper()}{settings[1:]}. Mean loss by epoch: "
        f"{', '.join(f'{loss:.4f}' for loss in losses)}."
    )


def _label(label: Any) -> int | str:
    return label if isinstance(label, int) else str(label)
