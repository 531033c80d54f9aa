# SPDX-License-Identifier: Apache-2.0
"""The members of an ensemble: what they are, whether their labels fit, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.evaluation.classifier import NotNumbers
from plait.evaluation.predictors import is_image_classifier, load_predictor
from plait.evaluation.tasks import Sample, Task
from plait.fusion.datasets import model_folder
from plait.fusion.outputs.items import Floats, Mask
from plait.fusion.outputs.options import Settings
from plait.fusion.weights.finite import why_not_numbers
from plait.fusion.weights.opening import Resolver
from plait.modeling import ARCHITECTURES
from plait.pretrained import HEADS, head_names, read_config

_TINY = 1e-30


@dataclass(frozen=True)
class Member:
    """A member: its folder, its configuration, which head is meant, and where its labels are."""

    name: str
    folder: Path
    config: dict[str, Any]
    task: str | None
    labels: tuple[str, ...]
    columns: tuple[int, ...] = ()
    """The column of its output for each of the ensemble's labels."""

    @property
    def kind(self) -> str:
        """`text`, `image`, or the `model_type` of one of our architectures."""
        if self.config["model_type"] in ARCHITECTURES:
            return str(self.config["model_type"])
        return "image" if is_image_classifier(self.config) else "text"

    @property
    def bytes(self) -> int:
        """The size of its weights."""
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))


def find_members(settings: Settings, resolve: Resolver | None) -> list[Member]:
    """Find every member's folder and read its labels; no weights are read.

    Raises:
        BadInput: if a model is not found, is no classifier, or its labels are not the others'.
    """
    recipe = settings.recipe
    members = []
    for source in recipe.models:
        folder = model_folder(source.model, recipe.folder, resolve)
        config = read_config(folder)
        task = _head(folder, source.name, source.extra.get("task"), [t.name for t in recipe.tasks])
        told = config if task is None else read_head(folder, task)
        members.append(Member(source.name, folder, config, task, _labels(told, folder)))
    return match_labels(members)


def match_labels(members: Sequence[Member]) -> list[Member]:
    """Give every member its columns, in the order of the first one's labels.

    Raises:
        BadInput: if the names of two members' labels, case aside, are not the same.
    """
    first = members[0]
    wanted = [label.lower() for label in first.labels]
    found = []
    for member in members:
        names = [label.lower() for label in member.labels]
        if len(set(names)) < len(names):
            raise BadInput(
                f"'{member.name}' gives two labels one name ({', '.join(member.labels)}); correct "
                "'id2label' in its config.json."
            )
        if sorted(names) != sorted(wanted):
            raise BadInput(
                "The models of an ensemble need the same labels. "
                f"'{first.name}' has: {_list(first.labels)}. '{member.name}' has: "
                f"{_list(member.labels)}."
            )
        columns = tuple(names.index(label) for label in wanted)
        found.append(
            Member(member.name, member.folder, member.config, member.task, member.labels, columns)
        )
    return found


def answers(
    member: Member,
    tasks: Sequence[Task],
    max_length: int,
    threads: int | None = None,
    step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Floats, Mask]:
    """Run a member on all items of some tasks that have what it reads.

    Returns:
        Logarithms of probabilities [n, classes] in the ensemble's order of labels, 0 where the
        member has no answer, and where it has one [n].
    """
    predictor = load_predictor(
        member.folder, task=member.task, threads=threads, max_length=max_length
    )
    samples = [item.sample for task in tasks for item in task.items]
    reads: frozenset[str] = getattr(predictor, "modalities", frozenset({"text"}))
    present = np.array([bool(reads & _modalities(sample)) for sample in samples], dtype=bool)
    logs = np.zeros((len(samples), len(member.labels)))

    def count(done: int, total: int) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("The fusion was cancelled.")
        if step is not None:
            step(done, total)

    chosen = [sample for sample, there in zip(samples, present, strict=True) if there]
    if chosen:
        try:
            logs[present] = log_probabilities(predictor, chosen, count)
        except NotNumbers as error:
            raise BadInput(why_not_numbers(member.name, member.folder)) from error
    return logs[:, list(member.columns)], present


def log_probabilities(
    predictor: Any, samples: Sequence[Sample], progress: Callable[[int, int], None] | None = None
) -> Floats:
    """Return the logarithms of a predictor's probabilities [n, classes].

    Raises:
        NotNumbers: if they are none.
    """
    if hasattr(predictor, "log_probabilities"):
        found = np.asarray(predictor.log_probabilities(samples, progress), dtype=np.float64)
    else:
        given = np.asarray(predictor.predict(samples, progress), dtype=np.float64)
        found = np.log(np.maximum(given, _TINY, where=~np.isnan(given), out=given.copy()))
    if not np.isfinite(found).all():
        raise NotNumbers("A model's output has values that are not numbers (NaN).")
    return found


def check_present(present: Mask, tasks: Sequence[Task], members: Sequence[Member]) -> None:
    """Refuse items that nobody can answer, and members that answer nothing.

    Raises:
        BadInput: naming the first such item or member.
    """
    items = [(task.name, item.id) for task in tasks for item in task.items]
    nobody = np.flatnonzero(~present.any(axis=1))
    if len(nobody):
        name, identity = items[int(nobody[0])]
        raise BadInput(
            f"Item {identity} of task '{name}' has nothing that any of the models reads."
        )
    for place in np.flatnonzero(~present.any(axis=0)):
        raise BadInput(
            f"No item has what '{members[int(place)].name}' reads ({members[int(place)].kind}); "
            "name the column of the data set that holds it under 'columns' of the task."
        )


def _modalities(sample: Sample) -> set[str]:
    return {"text"} if isinstance(sample, str) else set(sample)


def _head(folder: Path, name: str, asked: object, tasks: Sequence[str]) -> str | None:
    heads = head_names(folder)
    if not heads:
        if asked is not None:
            raise BadInput(f"'{name}' has no heads of its own for tasks; leave its 'task' out.")
        return None
    if asked is None and len(heads) == 1:
        return heads[0]
    if asked is None and len(tasks) == 1 and tasks[0] in heads:
        return tasks[0]
    if asked not in heads:
        raise BadInput(
            f"'{name}' has heads for {', '.join(heads)}; name one of them under 'task' of the "
            "model."
        )
    return str(asked)


def read_head(folder: Path, task: str) -> dict[str, Any]:
    """Return what config.json of a task's head says."""
    import json

    try:
        found: dict[str, Any] = json.loads(
            (folder / HEADS / task / "config.json").read_text("utf-8")
        )
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{folder.name}/{HEADS}/{task} has no config.json that is JSON.") from None
    return found


def _labels(config: dict[str, Any], folder: Path) -> tuple[str, ...]:
    told = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
    try:
        names = tuple(str(told[str(index)]) for index in range(len(told)))
    except (KeyError, TypeError):
        raise BadInput(
            f"{folder.name} has a config.json without 'id2label', the names of classes 0, 1, …"
        ) from None
    if len(names) < 2:
        raise BadInput(f"{folder.name} gives one number, not classes; an ensemble needs classes.")
    return names


def _list(labels: Sequence[str]) -> str:
    return ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
