# SPDX-License-Identifier: Apache-2.0
"""Models and revisions side by side on every leaderboard that has measured them.

Nothing is measured here: what leaderboards keep is put together. What the viewer may not read adds
nothing, and of hidden splits no item and no paired difference is told.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from plait.collaboration.leaderboards.board import Board, Row, board, declared, differing
from plait.errors import BadInput, NotFound, PlaitError, RevisionNotFound
from plait.hub import Actor, Hub, Repository
from plait.hub.database import LeaderboardEntry
from plait.hub.permissions import can, resource_of

MOST_MODELS = 6
MOST_BOARDS = 50
MAX_BYTES = 8 * 2**20
"""Bytes of a split's files that are read for the texts of its items."""
LONGEST = 400
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Compared:
    """One task on which two or more of the chosen models were measured."""

    dataset: Repository
    board: Board
    """With the chosen models' rows alone."""
    items: tuple[dict[str, Any], ...]
    """Items that they do not answer alike, with their texts where those can be read here."""
    shown: bool
    """Whether the viewer may see single items."""


def parse_models(names: Sequence[str]) -> list[tuple[str, str]]:
    """Read ``namespace/name`` or ``namespace/name@REVISION``; without one, any revision is meant.

    Raises:
        BadInput: there are fewer than two, or too many.
    """
    found = list(dict.fromkeys(name.strip()[:300] for name in names if name.strip()))
    if not 2 <= len(found) <= MOST_MODELS:
        raise BadInput(f"Name 2 to {MOST_MODELS} different models or revisions.")
    return [(name, revision) for name, _, revision in (one.partition("@") for one in found)]


def compare(hub: Hub, actor: Actor, models: Sequence[tuple[str, str]]) -> list[Compared]:
    """Put models side by side on every task on which two of them or more were measured.

    Args:
        hub: where.
        actor: who looks.
        models: names, each with a revision (a commit or what the submitter called it) or "", which
            is the newest that was measured.

    Raises:
        RepositoryNotFound: the actor may not read one of them.
    """
    repos = [hub.repositories.get(actor, "model", name) for name, _ in models]
    wanted = [(repo.id, revision) for repo, (_, revision) in zip(repos, models, strict=True)]
    made: list[Compared] = []
    for dataset in _datasets(hub, [repo.id for repo in repos]):
        if not can(actor, "repo.read", resource_of(dataset)):
            continue
        sees = _sees_files(hub, actor, dataset)
        for spec in declared(hub, dataset):
            whole = board(hub, actor, dataset, spec.name)
            rows = chosen(whole.rows, wanted)
            if len(rows) < 2 or len(made) >= MOST_BOARDS:
                continue
            ids = {row.entry.id for row in rows}
            gaps = {pair: gap for pair, gap in whole.gaps.items() if set(pair) <= ids}
            shown = sees and not whole.hidden and not any(row.entry.hidden for row in rows)
            items = differing(hub, actor, dataset, rows) if shown else []
            if items:
                texts = texts_of(hub, dataset, rows[0], spec.columns.text, {i["id"] for i in items})
                items = [item | {"text": texts.get(str(item["id"]), "")} for item in items]
            made.append(
                Compared(dataset, replace(whole, rows=rows, gaps=gaps), tuple(items), shown)
            )
    return made


def chosen(rows: Sequence[Row], wanted: Sequence[tuple[int, str]]) -> tuple[Row, ...]:
    """Return the row of each model that is wanted, in that order; the newest without a revision."""
    found: list[Row] = []
    for model, revision in wanted:
        fitting = [
            row
            for row in rows
            if row.model.id == model
            and (not revision or row.entry.named == revision
                 or (len(revision) >= 7 and row.entry.revision.startswith(revision.lower())))
        ]  # fmt: skip
        if fitting:
            newest = max(fitting, key=lambda row: row.entry.id)
            if newest not in found:
                found.append(newest)
    return tuple(found)


def _datasets(hub: Hub, models: Sequence[int]) -> list[Repository]:
    with hub.session() as session:
        return list(
            session.scalars(
                select(Repository)
                .where(
                    Repository.id.in_(
                        select(LeaderboardEntry.dataset_id).where(
                            LeaderboardEntry.model_id.in_(models)
                        )
                    )
                )
                .order_by(Repository.id)
                .limit(MOST_BOARDS)
            )
        )


def _sees_files(hub: Hub, actor: Actor, dataset: Repository) -> bool:
    try:
        hub.repositories.require(actor, dataset, "repo.files")
    except PlaitError:
        return False
    return True


def texts_of(
    hub: Hub, dataset: Repository, row: Row, column: str | None, ids: Collection[str]
) -> dict[str, str]:
    """Return items' texts by id, from the files on which they were measured.

    The caller must be allowed to read the data set's files. Parquet that strangers wrote is not
    unpacked in a server, and large files are not read for a page: their items have no text here.
    """
    if not column:
        return {}
    split, oid = row.entry.split, row.entry.data_revision
    try:
        tree = hub.git.tree(dataset, oid, recursive=True)
    except RevisionNotFound:
        return {}  # its history was rewritten since
    names = [
        entry.path
        for entry in tree
        if entry.path.startswith((f"data/{split}.", f"data/{split}-")) and entry.size <= MAX_BYTES
    ]
    if any(not name.endswith((".jsonl", ".csv")) for name in names):
        return {}
    found: dict[str, str] = {}
    count = left = 0
    for name in sorted(names):
        content = b"".join(hub.commits.open_file(dataset, oid, name).read())
        left += len(content)
        if left > MAX_BYTES:
            return {}
        for values in _rows(content.decode("utf-8-sig", "replace"), name):
            ident = f"{split}:{count}"
            count += 1
            if ident in ids and isinstance(values.get(column), str):
                text = " ".join(values[column].split())
                found[ident] = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return found


def _rows(text: str, name: str) -> list[dict[str, Any]]:
    if name.endswith(".csv"):
        try:
            return [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
        except csv.Error:
            return []
    made = []
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        made.append(row if isinstance(row, dict) else {})
    return made


def compared_to_json(found: Compared) -> dict[str, Any]:
    """Return plain values."""
    rows = found.board.rows
    names = {row.entry.id: f"{row.model.full_name}@{row.entry.revision}" for row in rows}
    pairs = [
        {"first": names[a], "second": names[b], "gain": gap[0], "low": gap[1], "high": gap[2]}
        for (a, b), gap in found.board.gaps.items()
        if a in names and b in names and a < b and not found.board.hidden
    ]
    return {
        "dataset": found.dataset.full_name,
        **found.board.to_json(),
        "pairs": pairs,
        "differing": [dict(item) for item in found.items],
    }


def nothing(models: Sequence[tuple[str, str]]) -> NotFound:
    """Return the error that says that no leaderboard has two of the models."""
    listed = ", ".join(f"{n}@{r}" if r else n for n, r in models)
    return NotFound(
        f"No leaderboard that you may read has measured two of {listed} on the same items. Submit "
        "them to one (plait leaderboard submit), or name a data set to have them measured on it."
    )
