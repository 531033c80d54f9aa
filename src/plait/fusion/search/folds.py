# SPDX-License-Identifier: Apache-2.0
"""A task's items in folds by document, in an order that every part of a search follows.

Documents are put into folds by a hash of their name within each label, so that folds, and the first
so many documents of the order, hold the labels in the same shares, and the same data give the same
folds everywhere. A document that is in several tasks is in the same fold of each.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput

if TYPE_CHECKING:
    from plait.evaluation import Task

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

FACTOR = 2
"""How many times as many items each round of successive halving takes."""
NEARLY_ALL = 0.75

Measure = Callable[[Sequence["Task"]], Mapping[str, Floats]]
"""Runs the model that a search has loaded on some tasks' items: by task, what the metric needs of
each group of items, [groups, ...], in order of appearance."""


@dataclass(frozen=True)
class FoldedTask:
    """One task's items in groups (documents), in order, each with its fold."""

    task: Task
    items: tuple[tuple[Any, ...], ...]
    folds: NDArray[np.int_]

    def __len__(self) -> int:
        return len(self.items)

    def part(self, start: int, stop: int) -> Task:
        """Return the task with the items of some groups of the order."""
        chosen = tuple(item for group in self.items[start:stop] for item in group)
        return replace(self.task, items=chosen)

    def groups_of(self, items: int) -> int:
        """Return how many groups of the order hold at least so many items."""
        count = 0
        for place, group in enumerate(self.items):
            if count >= items:
                return place
            count += len(group)
        return len(self.items)


def fold_tasks(tasks: Sequence[Task], folds: int, seed: int) -> list[FoldedTask]:
    """Put the items of some tasks into folds.

    Raises:
        BadInput: if a task has fewer groups than there are folds, or two.
    """
    from plait.evaluation.results import averaged_tasks

    metrics = {task.name: task.metric for task in tasks}
    together = averaged_tasks(metrics)
    for name, metric in metrics.items():
        if name not in together:
            raise BadInput(
                f"Task '{name}' is scored by {metric}, which cannot be averaged with "
                f"{metrics[together[0]]} of task '{together[0]}'; search on tasks of one unit."
            )
    known: dict[str, int] = {}
    return [_fold_task(task, folds, seed, known) for task in tasks]


def _fold_task(task: Task, folds: int, seed: int, known: dict[str, int]) -> FoldedTask:
    groups: dict[str, list[Any]] = {}
    for item in task.items:
        groups.setdefault(item.group, []).append(item)
    if len(groups) < folds:
        raise BadInput(
            f"Task '{task.name}' has {len(groups)} documents (groups of items) on the validation "
            f"split, too few for {folds} folds; set search.folds lower or give it more."
        )

    def drawn(group: str) -> bytes:
        return hashlib.sha256(f"{seed}|{task.name}|{group}".encode()).digest()

    by_label: dict[str, list[str]] = {}
    for group, items in groups.items():
        common = Counter(str(getattr(item, "label", "")) for item in items).most_common()
        most = min(label for label, count in common if count == common[0][1])
        by_label.setdefault(most, []).append(group)
    placed = []
    for label, names in by_label.items():
        names.sort(key=drawn)
        placed += [((i + 0.5) / len(names), label, name) for i, name in enumerate(names)]
    placed.sort()
    numbers = np.zeros(len(placed), dtype=np.int_)
    free = 0
    for place, (_, _, name) in enumerate(placed):
        # an item without a document is a group of its own, named by its row: no document at all
        shared = f"{task.name}|{name}" if groups[name][0].id == name else name
        if shared not in known:
            known[shared] = free % folds
            free += 1
        numbers[place] = known[shared]
    counts = np.bincount(numbers, minlength=folds)
    if counts.min() == 0:
        raise BadInput(
            f"Task '{task.name}' shares its documents with other tasks so that a fold stays empty; "
            "set search.folds lower."
        )
    return FoldedTask(task, tuple(tuple(groups[name]) for _, _, name in placed), numbers)


def rungs(folded_tasks: Sequence[FoldedTask], subset: int | None) -> list[tuple[int, ...]]:
    """Return, for each round, how many groups of each task it looks at; the last takes all.

    `subset` is how many items of each task the first round takes (None: an eighth, 32 at least).
    """
    sizes = [len(folded.task.items) for folded in folded_tasks]
    first = [max(32, -(-size // 8)) if subset is None else subset for size in sizes]
    found: list[tuple[int, ...]] = []
    factor = 1
    while True:
        wanted = [
            size if one * factor >= NEARLY_ALL * size else one * factor
            for size, one in zip(sizes, first, strict=True)
        ]
        row = tuple(
            folded.groups_of(count) for folded, count in zip(folded_tasks, wanted, strict=True)
        )
        if not found or row != found[-1]:
            found.append(row)
        if wanted == sizes:
            return found
        factor *= FACTOR


class Outcomes:
    """What one candidate made of the items: counts of each group, as far as it was measured."""

    def __init__(self, folded_tasks: Sequence[FoldedTask]) -> None:
        self.folded_tasks = folded_tasks
        self.tables: list[Floats | None] = [None] * len(folded_tasks)

    def extend(self, row: Sequence[int], measure: Measure) -> int:
        """Measure the groups up to those of a round that are not measured yet; return the items."""
        todo = []
        for folded, table, stop in zip(self.folded_tasks, self.tables, row, strict=True):
            start = 0 if table is None else len(table)
            if start < stop:
                todo.append(folded.part(start, stop))
        if not todo:
            return 0
        found = measure(todo)
        for place, folded in enumerate(self.folded_tasks):
            new = found.get(folded.task.name)
            if new is not None:
                before = self.tables[place]
                self.tables[place] = new if before is None else np.concatenate([before, new])
        return sum(len(task.items) for task in todo)

    def table(self, place: int, stop: int | None = None) -> Floats:
        """Return the counts of a task's first groups."""
        found = self.tables[place]
        assert found is not None, "measured before it is asked for"
        return found[:stop]


def direction(folded_tasks: Sequence[FoldedTask]) -> int:
    """Return 1 if more of the tasks' metric is better, -1 if less is (an error)."""
    from plait.evaluation.metrics import metric

    return metric(folded_tasks[0].task.metric).direction


def score(outcomes: Outcomes, masks: Sequence[Mask], row: Sequence[int] | None = None) -> float:
    """Return the mean over the tasks of their metric, on the groups of a mask (up to a round's)."""
    return float(np.mean([task_score(outcomes, i, mask, row) for i, mask in enumerate(masks)]))


def task_score(
    outcomes: Outcomes, place: int, mask: Mask, row: Sequence[int] | None = None
) -> float:
    """Return one task's metric on the groups of a mask."""
    from plait.evaluation.metrics import metric

    stop = None if row is None else row[place]
    table = outcomes.table(place, stop)
    return float(
        metric(outcomes.folded_tasks[place].task.metric)(table[mask[: len(table)]].sum(axis=0))
    )
