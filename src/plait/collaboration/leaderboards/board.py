# SPDX-License-Identifier: Apache-2.0
"""Reading leaderboards: ranks with ties, filters, the items behind a row.

A model's rank is one more than the number of models that are measurably better: those whose paired
95% interval of the difference on the same items (bootstrap over groups) lies above zero. Models
that cannot be told apart from the same better ones share a rank. Only models that the viewer may
read are counted. On a hidden split ranks are private: a viewer sees the rows of models that they
may write to; whoever may write to the data set sees all, unless its ``plait.yaml`` opens the ranks
(``leaderboard: {ranks: public}``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import undefer

from plait.errors import BadInput, EntryNotFound, Forbidden, NotFound
from plait.hub import Actor, Hub, Repository, can
from plait.hub.database import LeaderboardEntry, LeaderboardPair
from plait.hub.visibility import readable
from plait.recipes.project import FILE, MAX_CHARACTERS, ProjectSpec, TaskSpec, parse_project
from plait.recipes.tasks import UNBOUNDED

SORTS = ("rank", "score", "model", "size", "date")
MAX_DIFFERING = 200


@dataclass(frozen=True)
class Filters:
    """Which rows are wanted; ranks are those among all models that the viewer may read."""

    licence: str = ""
    data: str = ""
    """A data set that the model's card names as training data."""
    smallest: int | None = None
    largest: int | None = None
    """Parameters."""
    since: datetime | None = None


@dataclass(frozen=True)
class Row:
    """One model on one task."""

    entry: LeaderboardEntry
    model: Repository
    rank: int
    of: int
    """How many models are ranked."""

    @property
    def licence(self) -> str:
        """What the model's card says."""
        return str((self.model.card or {}).get("license") or "")

    @property
    def data(self) -> tuple[str, ...]:
        """The training data that the model's card names."""
        named = (self.model.card or {}).get("datasets") or ()
        return tuple(str(one) for one in ([named] if isinstance(named, str) else named))[:20]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        one = self.entry
        digits = 2 if one.hidden else 6  # of a hidden split nothing but rounded scores is told
        return {
            "id": one.id,
            "rank": self.rank,
            "of": self.of,
            "model": self.model.full_name,
            "revision": one.revision,
            "named": one.named,
            "score": round(one.score, digits),
            "interval": [round(one.low, digits), round(one.high, digits)],
            "n": one.n,
            "groups": one.groups,
            "parameters": self.model.parameters,
            "license": self.licence,
            "datasets": list(self.data),
            "date": one.created_at.isoformat(),
        }


@dataclass(frozen=True)
class Board:
    """The rows of one task."""

    task: str
    split: str
    metric: str
    hidden: bool
    private: bool
    """Whether the viewer sees only the rows of their own models."""
    rows: tuple[Row, ...]
    gaps: dict[tuple[int, int], tuple[float, float, float]]
    """Gain of one entry over another and its 95% interval, by their ids."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "task": self.task,
            "split": self.split,
            "metric": self.metric,
            "hidden": self.hidden,
            "rows": [row.to_json() for row in self.rows],
        }


def project_of(hub: Hub, repo: Repository, oid: str | None = None) -> ProjectSpec:
    """Return what a ``plait.yaml`` says, at main or a commit; nothing if it cannot be read."""
    at = oid or hub.git.head(repo)
    if at is None:
        return ProjectSpec()
    try:
        if hub.git.entry(repo, at, FILE).size > 4 * MAX_CHARACTERS:
            return ProjectSpec()
        return parse_project(hub.git.read(repo, at, FILE))
    except (EntryNotFound, BadInput):
        return ProjectSpec()


def declared(hub: Hub, dataset: Repository) -> tuple[TaskSpec, ...]:
    """Return the tasks of a data set's leaderboard: those of its ``plait.yaml`` on itself."""
    if dataset.type != "dataset":
        return ()
    own = dataset.full_name.lower()
    return tuple(s for s in project_of(hub, dataset).tasks if s.dataset.lower() in (own, "."))


def boards(hub: Hub, actor: Actor, dataset: Repository) -> list[Board]:
    """Return every task's leaderboard as the actor may see it, without filters."""
    return [board(hub, actor, dataset, spec.name) for spec in declared(hub, dataset)]


def board(
    hub: Hub,
    actor: Actor,
    dataset: Repository,
    task: str,
    filters: Filters | None = None,
    *,
    sort: str = "rank",
    descending: bool = False,
) -> Board:
    """Return one task's leaderboard as the actor may see it.

    Raises:
        RepositoryNotFound: the actor may not read the data set.
        NotFound: it declares no such task.
        BadInput: there is no such order.
    """
    hub.repositories.require(actor, dataset, "repo.read")
    project = project_of(hub, dataset)
    spec = next((s for s in declared(hub, dataset) if s.name == task), None)
    if spec is None:
        raise NotFound(f"'{dataset.full_name}' has no leaderboard of a task {task[:64]!a}.")
    if sort not in SORTS:
        raise BadInput(f"There is no order {sort[:20]!a}. Use one of: {', '.join(SORTS)}.")
    split = project.leaderboard.split
    hidden = hub.hidden.is_hidden(dataset, split)
    owns = can(actor, "repo.write", dataset)
    private = hidden and not owns and project.leaderboard.ranks != "public"
    entries = _entries(hub, actor, dataset, spec, split)
    gaps = _gaps(hub, [entry.id for entry, _ in entries])
    ranks = {
        entry.id: 1 + sum(gaps.get((o.id, entry.id), (0, 0, 0))[1] > 0 for o, _ in entries)
        for entry, _ in entries
    }
    rows = [Row(entry, model, ranks[entry.id], len(entries)) for entry, model in entries]
    if private:
        rows = [row for row in rows if can(actor, "repo.write", row.model)]
    rows = [row for row in rows if _wanted(row, filters or Filters())]
    better = -1 if spec.metric in UNBOUNDED else 1
    keys: dict[str, Any] = {
        "rank": lambda row: (row.rank, -better * row.entry.score, row.entry.id),
        "score": lambda row: (-better * row.entry.score, row.entry.id),
        "model": lambda row: row.model.full_name.lower(),
        "size": lambda row: (row.model.parameters or 0, row.entry.id),
        "date": lambda row: row.entry.id,
    }
    rows.sort(key=keys[sort], reverse=descending)
    shown = {row.entry.id for row in rows}
    kept = {pair: gap for pair, gap in gaps.items() if set(pair) <= shown}
    return Board(task, split, spec.metric, hidden, private, tuple(rows), kept)


def entry_of(hub: Hub, actor: Actor, dataset: Repository, number: int) -> tuple[Board, Row]:
    """Return a row that the actor may see, with its board.

    Raises:
        NotFound: there is none.
    """
    for one in boards(hub, actor, dataset):
        for row in one.rows:
            if row.entry.id == number:
                return one, row
    raise NotFound(f"The leaderboard of '{dataset.full_name}' has no entry {number}.")


def may_remove(actor: Actor, dataset: Repository, row: Row) -> bool:
    """Tell whether the actor may take a row away: who may write to the data set or the model."""
    return can(actor, "repo.write", dataset) or can(actor, "repo.write", row.model)


def remove(hub: Hub, actor: Actor, dataset: Repository, number: int) -> None:
    """Take a row and its comparisons away; ranks of the others are counted without it.

    Raises:
        NotFound: there is no row that the actor may see.
        Forbidden: the actor may write neither to the data set nor to the model.
    """
    _, row = entry_of(hub, actor, dataset, number)
    if not may_remove(actor, dataset, row):
        raise Forbidden("Only who may write to the data set or to the model removes its row.")
    with hub.session(write=True) as session:
        session.execute(delete(LeaderboardEntry).where(LeaderboardEntry.id == row.entry.id))
        # The model may be private: the data set's log names the row, not the model.
        hub.events.record(
            session, actor, "leaderboard.remove", repo=dataset,
            target=f"{row.entry.task} #{row.entry.id}",
        )  # fmt: skip


def items_of(hub: Hub, actor: Actor, dataset: Repository, row: Row) -> list[dict[str, Any]]:
    """Return every item's outcome, for those who may read the data set's files.

    Raises:
        RepositoryNotFound, GatedRepository: the actor may not.
        NotFound: the split is hidden: its items are shown to nobody.
    """
    hub.repositories.require(actor, dataset, "repo.files")
    if row.entry.hidden or hub.hidden.is_hidden(dataset, row.entry.split):
        raise NotFound("The split is hidden: what single items scored is shown to nobody.")
    with hub.session() as session:
        entry = session.scalar(
            select(LeaderboardEntry)
            .where(LeaderboardEntry.id == row.entry.id)
            .options(undefer(LeaderboardEntry.result))
        )
    if entry is None:
        raise NotFound("The entry is gone.")
    labels = (entry.result.get("about") or {}).get("labels")
    return [item_of(one, entry.result.get("type", ""), labels) for one in entry.result["items"]]


def differing(
    hub: Hub, actor: Actor, dataset: Repository, rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """Return the items that not all of some models answer alike, and what each answered.

    Raises:
        RepositoryNotFound, GatedRepository, NotFound: as `items_of`.
    """
    return differ([items_of(hub, actor, dataset, row) for row in rows])


def differ(answers: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the items that not all of some models answer alike, of each model's `item_of`."""
    found = []
    for same in zip(*answers, strict=True):
        outcomes = [one.get("predicted", one.get("values")) for one in same]
        if any(one != outcomes[0] for one in outcomes):
            found.append({"id": same[0]["id"], "label": same[0].get("label"), "answers": outcomes})
    return found


def command_of(dataset: Repository, row: Row) -> str:
    """Return the commands that measure the row again."""
    one = row.entry
    return (
        f"hf download {dataset.full_name} --repo-type dataset --revision {one.data_revision} "
        f"--local-dir data/{dataset.full_name}\n"
        f"plait evaluate {row.model.full_name} --revision {one.revision} "
        f"--project data/{dataset.full_name}/plait.yaml --data data --task {one.task} "
        f"--split {one.split} --json --items"
    )


def _entries(
    hub: Hub, actor: Actor, dataset: Repository, spec: TaskSpec, split: str
) -> list[tuple[LeaderboardEntry, Repository]]:
    """Return what was measured on the newest items of the task, newest revision of a name first."""
    newest = (
        select(LeaderboardEntry.task_key)
        .where(
            LeaderboardEntry.dataset_id == dataset.id,
            LeaderboardEntry.task == spec.name,
            LeaderboardEntry.split == split,
            LeaderboardEntry.metric == spec.metric,
        )
        .order_by(LeaderboardEntry.id.desc())
        .limit(1)
    )
    with hub.session() as session:
        rows = session.execute(
            select(LeaderboardEntry, Repository)
            .join(Repository, Repository.id == LeaderboardEntry.model_id)
            .where(
                LeaderboardEntry.dataset_id == dataset.id,
                LeaderboardEntry.task_key == newest.scalar_subquery(),
                readable(actor),
            )
            .order_by(LeaderboardEntry.id)
        ).all()
    return [(entry, model) for entry, model in rows]


def _gaps(hub: Hub, ids: Sequence[int]) -> dict[tuple[int, int], tuple[float, float, float]]:
    with hub.session() as session:
        pairs = session.scalars(
            select(LeaderboardPair).where(
                LeaderboardPair.first_id.in_(ids), LeaderboardPair.second_id.in_(ids)
            )
        ).all()
    found = {}
    for pair in pairs:
        found[pair.first_id, pair.second_id] = (pair.gain, pair.low, pair.high)
        found[pair.second_id, pair.first_id] = (-pair.gain, -pair.high, -pair.low)
    return found


def _wanted(row: Row, filters: Filters) -> bool:
    size = row.model.parameters
    return (
        (not filters.licence or row.licence.lower() == filters.licence.lower())
        and (not filters.data or filters.data.lower() in {one.lower() for one in row.data})
        and (filters.smallest is None or (size is not None and size >= filters.smallest))
        and (filters.largest is None or (size is not None and size <= filters.largest))
        and (filters.since is None or row.entry.created_at >= filters.since)
    )


def item_of(row: Sequence[Any], kind: str, labels: Any) -> dict[str, Any]:
    """Return one item's outcome by name, from a record as an evaluation's JSON keeps it."""
    if not kind.endswith("classification") or kind == "token-classification":
        return {"id": row[0], "group": row[1], "values": list(row[2:])}

    def name(number: int) -> Any:
        return labels[number] if isinstance(labels, list) and number < len(labels) else number

    return {
        "id": row[0],
        "group": row[1],
        "label": name(row[2]),
        "predicted": name(row[3]),
        "right": row[2] == row[3],
        "probability": row[4],
    }
