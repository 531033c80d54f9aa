# SPDX-License-Identifier: Apache-2.0
"""Models side by side, by leaderboards or measured by a job, and a collection's leaderboard."""

from __future__ import annotations

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.charts import Mark, interval_plot
from plait.charts import Row as Line
from plait.collaboration import leaderboards
from plait.collaboration.leaderboards import Asked, Compared, Filters, Row, measuring
from plait.collaboration.leaderboards.tables import moment
from plait.errors import PlaitError
from plait.hub.database import Job
from plait.web.browse import SIZES
from plait.web.jobs import job_view
from plait.web.session import Form
from plait.web.sides import said
from plait.web.visit import Visit, Visitor

MOST_ITEMS = 100


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/compare", show)
    router.add_api_route("/compare", measure, methods=["POST"])
    router.add_api_route("/collections/{ns}/{slug}/leaderboard", of_collection)


def show(visit: Visitor, job: int = 0) -> Response:
    """Show what leaderboards or a job measured of models, or the form that asks for them."""
    if job:
        return _of_job(visit, measuring.find(visit.hub, visit.actor, job))
    query = visit.request.query_params
    given = [one for one in query.getlist("model")[:20] if one.strip()]
    names = [name for one in given for name in one.replace(",", " ").split()]
    asked = _asked(names, query.get("dataset", ""), query.get("split", ""), query.get("task", ""))
    if not names:
        return _page(visit, asked)
    try:
        models = leaderboards.parse_models(names)
        found = leaderboards.compare(visit.hub, visit.actor, models)
    except PlaitError as error:
        return _page(visit, asked, **said(error))
    return _page(visit, asked, found)


def measure(visit: Visitor, form: Form) -> Response:
    """Have the models measured by a job."""
    visit.signed_in()
    names = form.get("model", "").replace(",", " ").split()[:20]
    dataset, split, task = (form.get(name, "").strip() for name in ("dataset", "split", "task"))
    try:
        job = measuring.request(visit.hub, visit.actor, names, dataset, split, task)
    except PlaitError as error:
        return _page(visit, _asked(names, dataset, split, task), **said(error))
    return visit.go(f"/compare?job={job.id}")


def _asked(names: list[str], dataset: str, split: str, task: str) -> Asked:
    models = tuple(name[:300] for name in names)
    return Asked(models, dataset[:300], split[:96], task[:96])


def _of_job(visit: Visit, job: Job) -> Response:
    asked = measuring.asked(visit.hub, visit.actor, job)
    if job.state == "succeeded":
        return _page(visit, asked, measuring.measured(visit.hub, visit.actor, job), job=job)
    return _page(visit, asked, job=job)


def _page(
    visit: Visit,
    asked: Asked,
    found: list[Compared] | None = None,
    *,
    job: Job | None = None,
    problem: str = "",
    code: int = 200,
) -> Response:
    return visit.render(
        "compare_models.html",
        code=code,
        asked=asked,
        job=None if job is None else job_view(visit, job, None),
        found=[(one, *_differences(visit, index, one)) for index, one in enumerate(found or ())],
        nothing=found == [],
        most=MOST_ITEMS,
        most_models=leaderboards.MOST_MODELS,
        problem=problem,
    )


def _differences(
    visit: Visit, index: int, found: Compared
) -> tuple[Markup, list[tuple[str, Mark]]]:
    """Draw scores, and list the paired differences, unless the split is hidden."""
    t, board = visit.t, found.board
    if board.hidden:
        return Markup(""), []
    scores = [
        Line(
            f"{row.model.full_name} {row.entry.revision[:10]}",
            (Mark(board.metric, row.entry.score, row.entry.low, row.entry.high, series=3),),
        )
        for row in board.rows
    ]
    pairs = [
        (
            f"{_name(a)} − {_name(b)}",
            Mark(t("board.difference"), *board.gaps[a.entry.id, b.entry.id]),
        )
        for place, a in enumerate(board.rows)
        for b in board.rows[place + 1 :]
        if (a.entry.id, b.entry.id) in board.gaps
    ]
    drawn = interval_plot(
        scores,
        ident=f"compared-{index}",
        title=t("board.plot", task=board.task),
        description=t("board.plot_line"),
        show=lambda value: f"{value:.3f}",
    )
    return Markup(drawn), pairs  # noqa: S704 - our own drawing


def _name(row: Row) -> str:
    return f"{row.model.full_name} {row.entry.revision[:7]}"


def of_collection(visit: Visitor, ns: str, slug: str) -> Response:
    """Show the leaderboard over all data sets of a collection."""
    query = visit.request.query_params
    given = {
        name: query.get(name, "").strip()[:100] for name in ("license", "data", "size", "since")
    }
    small, large = SIZES.get(given["size"], (None, None))
    filters = Filters(given["license"], given["data"], small, large, moment(given["since"]))
    name = f"{ns}/{slug}"
    return visit.render(
        "collection_board.html",
        found=visit.hub.collections.get(visit.actor, name),
        board=leaderboards.collection_board(visit.hub, visit.actor, name, filters),
        given=given,
        sizes=[("", visit.t("board.any"))] + [(s, visit.t(f"size.{s}")) for s in SIZES],
    )
