# SPDX-License-Identifier: Apache-2.0
"""A data set's leaderboard, one row of it, and models side by side."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.charts import Mark, interval_plot
from plait.charts import Row as Line
from plait.collaboration import leaderboards
from plait.collaboration.leaderboards import Board, Filters, Row
from plait.collaboration.leaderboards.board import SORTS
from plait.collaboration.leaderboards.tables import moment, table_text
from plait.errors import NotFound, PlaitError
from plait.web.browse import SIZES
from plait.web.here import At, Here
from plait.web.session import Form
from plait.web.sides import said

MOST_DRAWN = 30
MOST_COMPARED = 6
MOST_ITEMS = 100
_GIVEN = ("license", "data", "size", "since", "sort", "descending")


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/leaderboard", show)
    router.add_api_route(prefix + "/leaderboard", submit, methods=["POST"])
    router.add_api_route(prefix + "/leaderboard/compare", compare)
    router.add_api_route(prefix + "/leaderboard/{number}", entry)
    router.add_api_route(prefix + "/discussions/{number}/score", submit_pull, methods=["POST"])
    router.add_api_route(prefix + "/leaderboard/{number}/remove", remove, methods=["POST"])


def show(at: At) -> Response:
    """Show the leaderboard of every task."""
    query = at.visit.request.query_params
    if query.get("format") == "csv":
        headers = {"Content-Disposition": 'attachment; filename="leaderboard.csv"'}
        text = table_text([one for one, _ in _boards(at)])
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
    return _page(at)


def _boards(at: Here) -> list[tuple[Board, dict[str, str]]]:
    query = at.visit.request.query_params
    given = {name: query.get(name, "").strip()[:100] for name in _GIVEN}
    small, large = SIZES.get(given["size"], (None, None))
    filters = Filters(given["license"], given["data"], small, large, moment(given["since"]))
    sort = given["sort"] if given["sort"] in SORTS else "rank"
    down = given["descending"] == "yes"
    hub, actor = at.visit.hub, at.visit.actor
    return [
        (
            leaderboards.board(
                hub, actor, at.record, spec.name, filters, sort=sort, descending=down
            ),
            given,
        )
        for spec in leaderboards.declared(hub, at.record)
    ]


def _page(at: Here, *, problem: str = "", code: int = 200) -> Response:
    if at.record.type != "dataset":
        raise NotFound("Only data sets have leaderboards.")
    found = _boards(at)
    query = at.visit.request.query_params
    sort = query.get("sort", "") if query.get("sort") in SORTS else "rank"
    down = query.get("descending") == "yes"
    return at.visit.render(
        "leaderboard.html",
        code=code,
        repo=at.view,
        boards=[(one, _plot(at, one)) for one, _ in found],
        given={name: query.get(name, "")[:100] for name in _GIVEN},
        sizes=[("", at.visit.t("board.any"))] + [(s, at.visit.t(f"size.{s}")) for s in SIZES],
        sorted_by=sort,
        down=down,
        sort_link=lambda key: at.visit.link(
            sort=key, descending="yes" if key == sort and not down else None
        ),
        csv=at.visit.link(format="csv"),
        problem=problem,
    )


def submit(at: At, form: Form) -> Response:
    """Have a model scored."""
    at.visit.signed_in()
    revision = form.get("revision", "").strip() or "main"
    try:
        job = leaderboards.submit(
            at.visit.hub, at.visit.actor, at.record, form.get("model", "").strip()[:200], revision
        )
    except PlaitError as error:
        if at.record.type != "dataset":
            raise
        return _page(at, **said(error))
    return at.visit.go(f"/jobs/{job.id}")


def submit_pull(at: At, number: int, form: Form) -> Response:
    """Have the models scored that a pull request on the data set names."""
    at.visit.signed_in()
    hub = at.visit.hub
    discussion = hub.discussions.get(at.record, min(max(number, 0), 2**31 - 1))
    job = leaderboards.submit_pull(hub, at.visit.actor, at.record, discussion)
    return at.visit.go(f"/jobs/{job.id}")


def entry(at: At, number: int) -> Response:
    """Show one row: how to measure it again, and what single items scored."""
    hub, actor = at.visit.hub, at.visit.actor
    board, row = leaderboards.entry_of(hub, actor, at.record, min(max(number, 0), 2**31 - 1))
    wrong: list[dict[str, Any]] = []
    shown = at.sees_files and not board.hidden and not row.entry.hidden
    if shown:
        rows = leaderboards.items_of(hub, actor, at.record, row)
        wrong = [one for one in rows if one.get("right") is False][:MOST_ITEMS]
    return at.visit.render(
        "leaderboard_entry.html",
        repo=at.view,
        board=board,
        row=row,
        command=leaderboards.command_of(at.record, row),
        items=f"/api/plait/datasets/{at.record.full_name}/leaderboard/{row.entry.id}/items"
        if shown
        else "",
        wrong=wrong,
        may_remove=leaderboards.may_remove(actor, at.record, row),
    )


def remove(at: At, number: int, form: Form) -> Response:
    """Take a row away."""
    at.visit.signed_in()
    number = min(max(number, 0), 2**31 - 1)
    leaderboards.remove(at.visit.hub, at.visit.actor, at.record, number)
    return at.visit.go(f"{at.view.url}/leaderboard")


def compare(at: At, task: str = "") -> Response:
    """Show some models of one task side by side, and the items on which they differ."""
    query = at.visit.request.query_params
    wanted = {int(n) for n in query.getlist("entry")[:50] if n.isascii() and n.isdigit()}
    hub, actor = at.visit.hub, at.visit.actor
    board = leaderboards.board(hub, actor, at.record, task[:64])
    rows = [row for row in board.rows if row.entry.id in wanted][:MOST_COMPARED]
    items: list[dict[str, Any]] = []
    shown = at.sees_files and not board.hidden and not any(row.entry.hidden for row in rows)
    if shown and len(rows) > 1:
        items = leaderboards.differing(hub, actor, at.record, rows)
    t = at.visit.t
    lines = [
        Line(
            f"{a.model.full_name} − {b.model.full_name}",
            (Mark(t("board.difference"), *board.gaps[a.entry.id, b.entry.id]),),
        )
        for place, a in enumerate(rows)
        for b in rows[place + 1 :]
        if (a.entry.id, b.entry.id) in board.gaps
    ]
    plot = ""
    if lines:
        plot = interval_plot(
            lines,
            ident="differences",
            title=t("board.differences"),
            description=t("board.differences_line"),
            show=lambda value: f"{value:+.3f}",
        )
    return at.visit.render(
        "leaderboard_compare.html",
        repo=at.view,
        board=board,
        rows=rows,
        plot=Markup(plot),  # noqa: S704 - our own drawing
        pairs=[(line.label, line.marks[0]) for line in lines],
        shown=shown,
        count=len(items),
        items=items[:MOST_ITEMS],
    )


def _plot(at: Here, board: Board) -> Markup:
    rows: list[Row] = list(board.rows)[:MOST_DRAWN]
    if not rows:
        return Markup("")
    digits = 2 if board.hidden else 3
    lines = [
        Line(
            row.model.full_name,
            (
                Mark(
                    f"{at.visit.t('board.rank')} {row.rank}",
                    round(row.entry.score, digits),
                    round(row.entry.low, digits),
                    round(row.entry.high, digits),
                ),
            ),
        )
        for row in rows
    ]
    drawn = interval_plot(
        lines,
        ident=f"board-{board.task}",
        title=at.visit.t("board.plot", task=board.task),
        description=at.visit.t("board.plot_line"),
        show=lambda value: f"{value:.{digits}f}",
    )
    return Markup(drawn)  # noqa: S704 - our own drawing
