# SPDX-License-Identifier: Apache-2.0
"""The merge queue's page: what was tried, which set is best, what the others would have cost."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.collaboration import jobs
from plait.collaboration.queue import changed_since, queue_state, request_queue
from plait.errors import BadInput, NotFound, PlaitError
from plait.web.figures import percent, points
from plait.web.here import At, Here
from plait.web.jobs import job_view
from plait.web.report import VERDICTS
from plait.web.session import Form
from plait.web.sides import said


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/queue", show)
    router.add_api_route(prefix + "/queue", start, methods=["POST"])


def show(at: At) -> Response:
    """Show what the queue proposed."""
    if at.record.type != "model":
        raise NotFound("Only a model's pull requests are fused.")
    return _page(at)


def _page(at: Here, *, problem: str = "", code: int = 200) -> Response:
    hub = at.visit.hub
    state = queue_state(hub, at.record)
    job = jobs.get(hub, state["job"]["id"]) if state["job"] else None
    report = state["report"]
    tasks = sorted(report["validation"]["main"]) if report else []
    return at.visit.render(
        "queue.html",
        code=code,
        repo=at.view,
        job=job_view(at.visit, job, at.record) if job is not None else None,
        report=report,
        tasks=tasks,
        titles=report["titles"] if report else {},
        verdict=VERDICTS.get(str(report["verdict"]), "") if report else "",
        left_out=[
            {
                "number": row["number"],
                "average": points(row["average"]),
                "tasks": [points(row["tasks"].get(name)) for name in tasks],
            }
            for row in (report["left_out"] if report else ())
        ],
        scores=[
            (name, *(percent(report["validation"][side].get(name)) for side in ("main", "chosen")))
            for name in tasks
        ],
        judged=[
            {
                **row,
                "shown": VERDICTS.get(str(row["verdict"]), ""),
                "sure": f"{row['confidence']:.2%}",
            }
            for row in (report.get("judged", ()) if report else ())
        ],
        flags=(report.get("merge") or {}).get("flags", ()) if report else (),
        changed=changed_since(hub, at.record, report)
        if report and report["chosen"] and not report["landed"]
        else None,
        preview=state["preview"] if report and not report["landed"] else None,
        waiting=hub.discussions.count(at.record, pull_request=True, status="open"),
        may_merge=at.visit.may("repo.merge", at.record),
        problem=problem,
    )


def start(at: At, form: Form) -> Response:
    """Queue the job."""
    at.visit.signed_in()
    if at.record.type != "model":
        raise NotFound("Only a model's pull requests are fused.")
    land = form.get("land", "") == "yes"
    try:
        shown = form.get("proposal", "") if land else ""
        if land and not (shown.isascii() and shown.isdigit() and len(shown) < 16):
            raise BadInput("The form does not say which proposal is to land. Load the page again.")
        proposal = int(shown) if land else None
        request_queue(at.visit.hub, at.visit.actor, at.record, land=land, proposal=proposal)
    except PlaitError as error:
        return _page(at, **said(error))
    return at.visit.go(f"{at.view.url}/queue")
