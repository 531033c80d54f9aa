# SPDX-License-Identifier: Apache-2.0
"""A model's contributions: whose, when, what they gained, and withdrawing one."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.collaboration import contributions, jobs
from plait.collaboration.contributions import Entry
from plait.errors import NotFound, PlaitError
from plait.web.figures import points
from plait.web.here import At, Here
from plait.web.session import Form
from plait.web.sides import said


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/contributions", show)
    router.add_api_route(prefix + "/contributions/{number}/withdraw", withdraw, methods=["POST"])


def show(at: At) -> Response:
    """List the contributions."""
    if at.record.type != "model":
        raise NotFound("Only models are fused from contributions.")
    return _page(at)


def _page(at: Here, *, problem: str = "", code: int = 200) -> Response:
    found = contributions.list_contributions(at.visit.hub, at.record)
    return at.visit.render(
        "contributions.html",
        code=code,
        repo=at.view,
        held=[_row(at, entry) for entry in found.held],
        withdrawn=found.withdrawn,
        maintains=at.visit.may("repo.merge", at.record),
        problem=problem,
    )


def _row(at: Here, entry: Entry) -> dict[str, object]:
    one, credit, job = entry.contribution, entry.credit, entry.job
    report = (job.result or {}) if job is not None else {}
    refused = bool(report.get("verdict") == "regresses" and not report.get("landed"))
    return {
        "number": one.number,
        "title": one.title,
        "author": one.author,
        "organisation": one.organisation,
        "revision": one.revision,
        "licence": one.licence or "",
        "files": sorted(one.files.items()),
        "merged_at": entry.merged_at,
        "landed": entry.landed,
        "inside": entry.inside_base,
        "credit": "" if credit is None else points(credit.value),
        "error": "" if credit is None or not credit.error else f"{credit.error * 100:.1f}",
        "privacy": sorted((entry.privacy or {}).items()),
        "may": contributions.may_withdraw(at.visit.actor, at.record, entry.discussion),
        "job": job if job is not None and job.state not in jobs.FINISHED else None,
        "refused": str(report.get("reason", "")) if refused else "",
    }


def withdraw(at: At, number: int, form: Form) -> Response:
    """Queue a withdrawal."""
    at.visit.signed_in()
    try:
        contributions.request_withdrawal(
            at.visit.hub,
            at.visit.actor,
            at.record,
            min(max(number, 0), 2**31 - 1),
            anyway=form.get("anyway") == "yes",
        )
    except PlaitError as error:
        if error.status == 404 and at.record.type != "model":
            raise
        return _page(at, **said(error))
    return at.visit.go(f"{at.view.url}/contributions", "withdrawing")
