# SPDX-License-Identifier: Apache-2.0
"""What the members answered on labelled items, and how predictions on these are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation import metrics
from plait.evaluation.results import class_of_labels
from plait.evaluation.tasks import Task
from plait.fusion.search.folds import fold_tasks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Outputs:
    """Members' answers on the items of some tasks, each item with its label and its document."""

    logs: Floats
    """[members, n, classes]: logarithms of probabilities; 0 where a member has no answer."""
    present: Mask
    """[n, members]"""
    labels: Integers
    groups: Integers
    """Documents, numbered from 0 over all tasks."""
    tasks: Integers
    folds: Integers
    metrics: tuple[str, ...]
    """By task."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def members(self) -> int:
        """How many there are."""
        return len(self.logs)

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.logs.shape[2])

    def rows(self, mask: Mask) -> Outputs:
        """Return the answers on some of the items."""
        return replace(
            self,
            logs=self.logs[:, mask],
            present=self.present[mask],
            labels=self.labels[mask],
            groups=self.groups[mask],
            tasks=self.tasks[mask],
            folds=self.folds[mask],
        )

    def calibrated(self, temperatures: Floats) -> Outputs:
        """Return the answers of members whose logits are divided by temperatures [members]."""
        scaled = self.logs / temperatures[:, None, None]
        top = scaled.max(axis=2, keepdims=True)
        norm = top + np.log(np.exp(scaled - top).sum(axis=2, keepdims=True))
        return replace(self, logs=np.where(self.present.T[..., None], scaled - norm, 0.0))

    def importance(self) -> Floats:
        """Return what each item counts [n] in a loss that goes with the tasks' metrics; mean 1.

        Every task counts the same, and so does every class of a task that is not scored by
        accuracy.
        """
        found = np.zeros(len(self))
        for task in np.unique(self.tasks):
            here = self.tasks == task
            labels = self.labels[here]
            counts = np.bincount(labels, minlength=self.classes)
            if self.metrics[task] == "accuracy":
                found[here] = 1 / len(labels)
            else:
                found[here] = 1 / (counts[labels] * np.count_nonzero(counts))
        made: Floats = found * (len(self) / found.sum())
        return made


def gather(
    logs: Sequence[Floats],
    present: Mask,
    tasks: Sequence[Task],
    labels: Sequence[str],
    folds: int,
    seed: int,
) -> Outputs:
    """Put members' answers together with the items' labels, documents and folds.

    Args:
        logs: [n, classes] of each member, in the order of the tasks' items.
        present: [n, members].
        tasks: with their items.
        labels: names of the classes.
        folds: how many; a document is in one only, also where several tasks have it.
        seed: of the folds.

    Raises:
        BadInput: if a task has fewer documents than folds, or a label that the members lack.
    """
    numbers: dict[str, int] = {}
    found: dict[str, list[int]] = {"labels": [], "groups": [], "tasks": [], "folds": []}
    for task in tasks:
        documents = {item.group for item in task.items}
        if len(documents) < folds:
            raise BadInput(
                f"Task '{task.name}' has {len(documents)} documents (groups of items) to choose "
                f"on, too few for {folds} folds; set parameters.folds lower or give it more."
            )
    for place, (task, folded) in enumerate(zip(tasks, fold_tasks(tasks, folds, seed), strict=True)):
        classes = class_of_labels(task, labels)
        fold = {
            item.id: int(number)
            for group, number in zip(folded.items, folded.folds, strict=True)
            for item in group
        }
        for item in task.items:
            # an item without a document is a group of its own, named by its row: not shared
            name = f"{place}|{item.group}" if item.group == item.id else f"|{item.group}"
            found["labels"].append(classes[item.label])
            found["groups"].append(numbers.setdefault(name, len(numbers)))
            found["tasks"].append(place)
            found["folds"].append(fold[item.id])
    return Outputs(
        logs=np.stack([np.asarray(rows, dtype=np.float64) for rows in logs]),
        present=present,
        labels=np.array(found["labels"]),
        groups=np.array(found["groups"]),
        tasks=np.array(found["tasks"]),
        folds=np.array(found["folds"]),
        metrics=tuple(task.metric for task in tasks),
    )


def score(predicted: Integers, outputs: Outputs) -> float:
    """Return the mean over the tasks of their metric, of predicted classes [n]."""
    scores = []
    for task in np.unique(outputs.tasks):
        here = outputs.tasks == task
        none = np.zeros(int(here.sum()), dtype=np.int64)
        table = metrics.counts(outputs.labels[here], predicted[here], none, outputs.classes)
        scores.append(float(metrics.metric(outputs.metrics[task])(table[0])))
    return float(np.mean(scores))


def combined(outputs: Outputs, weights: Floats, kind: str, present: Any = None) -> Floats:
    """Return the logarithms [n, classes] of the ensemble's probabilities."""
    import torch

    from plait.modeling.ensemble import combine

    whole = outputs.present if present is None else present
    mask = None if whole.all() else torch.from_numpy(whole)
    found = combine(torch.from_numpy(outputs.logs), torch.from_numpy(weights), kind, mask)
    made: Floats = found.numpy()
    return made
