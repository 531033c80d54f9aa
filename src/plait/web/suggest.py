# SPDX-License-Identifier: Apache-2.0
"""Choosing what to build on: a small sample goes in, ranked models and data sets come out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from plait.collaboration import jobs, suggest
from plait.errors import NotFound, PlaitError
from plait.web.session import Upload, read_either
from plait.web.sides import said
from plait.web.visit import Visit, Visitor


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/suggest", show)
    router.add_api_route("/suggest", ask, methods=["POST"])


def show(visit: Visitor, job: int = 0) -> Response:
    """Show the form, or what a job found for the visitor."""
    visit.signed_in()
    return _page(visit, job)


def _page(visit: Visit, number: int = 0, *, problem: str = "", code: int = 200) -> Response:
    found = None
    if number:
        found = jobs.get(visit.hub, min(max(number, 0), 2**31 - 1))
        if found.kind != suggest.KIND or found.requested_by != visit.actor.user_id:
            raise NotFound(f"There is no job {number}.")
    return visit.render(
        "suggest.html",
        code=code,
        job=found,
        live=found is not None and found.state not in jobs.FINISHED,
        result=found.result if found is not None and found.state == "succeeded" else None,
        problem=problem or (found.error or "" if found is not None else ""),
    )


def ask(visit: Visitor, form: Annotated[Upload, Depends(read_either)]) -> Response:
    """Queue the ranking for a sample."""
    visit.signed_in()
    try:
        pasted = form.fields.get("sample", "").encode()
        sample = suggest.parse_sample(form.files[0][1] if form.files else pasted)
        named = form.fields.get("models", "").split()
        job = suggest.request(visit.hub, visit.actor, sample, named)
    except PlaitError as error:
        return _page(visit, **said(error))
    return visit.go(f"/suggest?job={job.id}")
