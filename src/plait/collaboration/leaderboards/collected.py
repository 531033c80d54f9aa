# SPDX-License-Identifier: Apache-2.0
"""A collection's leaderboard: models over all tasks of the data sets that stand in it.

Tasks have metrics of their own, so scores are not averaged; ranks are. Models are ordered by how
many of the tasks they were measured on, then by their mean rank there; equal ones share a place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plait.collaboration.leaderboards.board import Board, Filters, Row, board, declared
from plait.hub import Actor, Hub, Repository

MOST_TASKS = 40


@dataclass(frozen=True)
class Standing:
    """One model over the tasks of a collection."""

    model: Repository
    rows: tuple[Row | None, ...]
    """Its best-ranked revision on each task; None where it was not measured."""
    place: int
    measured: int
    mean_rank: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "place": self.place,
            "model": self.model.full_name,
            "measured": self.measured,
            "mean_rank": round(self.mean_rank, 3),
            "rows": [None if row is None else row.to_json() for row in self.rows],
        }


@dataclass(frozen=True)
class CollectionBoard:
    """The tasks of a collection's data sets, and models in their order over them."""

    tasks: tuple[tuple[Repository, Board], ...]
    standings: tuple[Standing, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "tasks": [
                {"dataset": data.full_name, "task": one.task, "metric": one.metric,
                 "split": one.split, "hidden": one.hidden}
                for data, one in self.tasks
            ],
            "models": [one.to_json() for one in self.standings],
        }  # fmt: skip


def collection_board(
    hub: Hub, actor: Actor, slug: str, filters: Filters | None = None
) -> CollectionBoard:
    """Return the leaderboard of a collection as the actor may see it.

    Raises:
        NotFound: there is no such collection that the actor may read.
    """
    found = hub.collections.get(actor, slug)
    tasks: list[tuple[Repository, Board]] = []
    for item in found.items:
        data = item.repository
        if data is None or data.type != "dataset":
            continue
        for spec in declared(hub, data):
            if len(tasks) < MOST_TASKS:
                tasks.append((data, board(hub, actor, data, spec.name, filters)))
    best: dict[int, list[Row | None]] = {}
    models: dict[int, Repository] = {}
    for place, (_, one) in enumerate(tasks):
        for row in one.rows:
            models[row.model.id] = row.model
            held = best.setdefault(row.model.id, [None] * len(tasks))
            before = held[place]
            if before is None or row.rank < before.rank:
                held[place] = row
    order = sorted(best, key=lambda ident: (*_key(best[ident]), models[ident].full_name.lower()))
    standings: list[Standing] = []
    for index, ident in enumerate(order):
        rows = best[ident]
        missing, mean = _key(rows)
        same = index > 0 and _key(best[order[index - 1]]) == (missing, mean)
        place = standings[-1].place if same else index + 1
        standings.append(Standing(models[ident], tuple(rows), place, len(rows) - missing, mean))
    return CollectionBoard(tuple(tasks), tuple(standings))


def _key(rows: list[Row | None]) -> tuple[int, float]:
    ranks = [row.rank for row in rows if row is not None]
    return len(rows) - len(ranks), sum(ranks) / len(ranks)
