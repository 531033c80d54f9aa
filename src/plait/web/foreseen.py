# SPDX-License-Identifier: Apache-2.0
"""What merging would do to a pull request's tables, on its page before anybody merges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from plait.collaboration import foreseen
from plait.errors import NotFound
from plait.hub import Discussion
from plait.web.figures import percent
from plait.web.here import At, Here
from plait.web.language import Translator
from plait.web.session import Form

MOST_NAMED = 20
ROWS = {
    "added": "foreseen.rows_added",
    "changed": "foreseen.rows_changed",
    "removed": "foreseen.rows_removed",
    "repeated": "foreseen.rows_repeated",
}


@dataclass(frozen=True)
class TableNote:
    """What a merge does to one table, ready to print."""

    path: str
    unread: str
    rows: tuple[tuple[str, str], ...]
    """What happens to rows, and how many in a phrase, of what is not nothing."""
    schema: tuple[str, ...]
    """Sentences about columns."""
    warnings: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class ForeseenView:
    """What the page shows of all tables."""

    tables: tuple[TableNote, ...]
    refused: str
    known: bool
    job: int | None


def add(router: APIRouter, prefix: str) -> None:
    """Add the route."""
    router.add_api_route(prefix + "/discussions/{number}/foresee", ask, methods=["POST"])


def foreseen_view(at: Here, discussion: Discussion) -> ForeseenView | None:
    """Tell what merging would do to the tables; None where there is nothing to tell."""
    if not at.sees_files:
        return None
    found = foreseen.foresee(at.visit.hub, at.record, discussion)
    if found is None or (found.known and not found.notes and not found.refused):
        return None
    return ForeseenView(
        tuple(note_of(note, at.visit.t) for note in found.notes),
        found.refused,
        found.known,
        found.job.id if found.job is not None else None,
    )


def note_of(note: Mapping[str, Any], t: Translator) -> TableNote:
    """Turn a driver's note on a table into what the page shows."""
    path = str(note["path"])
    if "rows" not in note:
        return TableNote(path, str(note.get("unread") or ""), (), (), (), "")
    rows, columns = note["rows"], note["columns"]
    schema = [
        t(f"foreseen.columns_{name}", names=_named(columns[name]))
        for name in ("added", "removed")
        if columns[name]
    ]
    schema += [
        t("foreseen.retyped", column=column, before=before, after=after)
        for column, (before, after) in list({**columns["retyped"], **columns["widened"]}.items())[
            :MOST_NAMED
        ]
    ]
    warnings = []
    if note["tests"]["count"]:
        warnings.append(t.count("foreseen.tests", note["tests"]["count"]))
    if note["near"]["count"]:
        warnings.append(t.count("foreseen.near", note["near"]["count"]))
    elif not note["near"]["looked"]:
        warnings.append(t("foreseen.not_looked", likeness=percent(note["near"]["likeness"])))
    return TableNote(
        path,
        "",
        tuple((name, t.count(phrase, rows[name])) for name, phrase in ROWS.items() if rows[name]),
        tuple(schema),
        tuple(warnings),
        ", ".join(str(one) for one in note["key"] or ()),
    )


def _named(names: list[str]) -> str:
    shown = ", ".join(str(name)[:60] for name in names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown}, …"


def ask(at: At, number: int, form: Form) -> Response:
    """Queue the job that reads large tables."""
    at.visit.signed_in()
    hub = at.visit.hub
    discussion = hub.discussions.get(at.record, min(max(number, 0), 2**31 - 1))
    if not discussion.is_pull_request:
        raise NotFound(f"Discussion {discussion.number} is not a pull request.")
    job = foreseen.request(hub, at.visit.actor, at.record, discussion)
    return at.visit.go(f"/jobs/{job.id}")
