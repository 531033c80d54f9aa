# SPDX-License-Identifier: Apache-2.0
"""The gate of a repository: asking for its files, and deciding who is let in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.errors import Conflict, NotFound, PlaitError
from plait.hub.repositories.access import STATUSES, Field, Status, fields_of
from plait.web import markdown
from plait.web.here import At, Here
from plait.web.session import Form

PAGE = 50


@dataclass(frozen=True)
class Question:
    """A field of the form: where it is in the form, and what it asks."""

    id: str
    field: Field
    value: str


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/access", show)
    router.add_api_route(prefix + "/access", ask, methods=["POST"])
    router.add_api_route(prefix + "/access/withdraw", withdraw, methods=["POST"])
    router.add_api_route(prefix + "/settings/access", requests)
    router.add_api_route(prefix + "/settings/access", decide, methods=["POST"])


def _gated(at: Here) -> None:
    if not at.record.gated:
        raise NotFound(f"'{at.record.full_name}' is not gated: its files are open to its readers.")


def show(at: At) -> Response:
    """Show the form to ask for access, or what became of the visitor's request."""
    _gated(at)
    return _form(at, {})


def _form(at: Here, given: dict[str, str], problem: str = "", code: int = 200) -> Response:
    card = at.record.card
    request = at.visit.hub.access.state(at.visit.actor, at.record)
    if request is not None and not given:
        asked = enumerate(fields_of(at.record))
        kept = request.fields or {}
        given = {f"answer-{n}": str(kept.get(field.name, "")) for n, field in asked}
    prompt = card.get("extra_gated_prompt")
    heading = card.get("extra_gated_heading")
    text = (
        markdown.render(prompt[:20_000], markdown.repository_links(at.view.url, "main"), top=3)
        if isinstance(prompt, str)
        else ""
    )
    return at.visit.render(
        "access.html",
        code=code,
        repo=at.view,
        heading=heading[:200] if isinstance(heading, str) else "",
        prompt=Markup(text),  # noqa: S704 - sanitised
        questions=_questions(at, given),
        request=request,
        inside=at.sees_files,
        problem=problem,
        automatic=at.record.gated == "auto",
    )


def _questions(at: Here, given: dict[str, str]) -> Sequence[Question]:
    return [
        Question(f"answer-{number}", field, given.get(f"answer-{number}", ""))
        for number, field in enumerate(fields_of(at.record))
    ]


def ask(at: At, form: Form) -> Response:
    """Ask for access."""
    at.visit.signed_in()
    _gated(at)
    answers: dict[str, Any] = {
        question.field.name: question.value
        for question in _questions(at, form)
        if question.id in form
    }
    try:
        found = at.visit.hub.access.ask(at.visit.actor, at.record, answers)
    except PlaitError as error:
        if error.status != 400 and not isinstance(error, Conflict):
            raise
        return _form(at, form, error.message, error.status)
    if found.status == "accepted":
        return at.visit.go(f"{at.view.url}/tree/main", "accepted")
    return at.visit.go(f"{at.view.url}/access", "asked")


def withdraw(at: At, form: Form) -> Response:
    """Take one's own request back."""
    at.visit.signed_in()
    at.visit.hub.access.withdraw(at.visit.actor, at.record)
    return at.visit.go(at.view.url, "withdrawn")


def requests(at: At, status: str = "pending", cursor: str = "") -> Response:
    """List who asked."""
    at.visit.signed_in()
    at.visit.hub.repositories.require(at.visit.actor, at.record, "repo.admin")
    return _requests(at, status, cursor)


def _requests(
    at: Here, status: str, cursor: str = "", problem: str = "", code: int = 200
) -> Response:
    shown: Status = next((name for name in STATUSES if name == status), "pending")
    access, actor = at.visit.hub.access, at.visit.actor
    found = (
        access.list(actor, at.record, shown, limit=PAGE, cursor=cursor[:20] or None)
        if at.record.gated
        else None
    )
    return at.visit.render(
        "access_requests.html",
        code=code,
        repo=at.view,
        status=shown,
        counts=access.count(actor, at.record) if found else {},
        requests=found.items if found else [],
        problem=problem,
        first=at.visit.link(cursor=None) if cursor else None,
        more=at.visit.link(cursor=found.cursor) if found and found.cursor else None,
    )


def decide(at: At, form: Form) -> Response:
    """Accept, reject, or let in somebody who has not asked."""
    at.visit.signed_in()
    access, actor = at.visit.hub.access, at.visit.actor
    back = f"{at.view.url}/settings/access"
    try:
        if form.get("grant") is not None:
            access.grant(actor, at.record, form["grant"].strip())
            return at.visit.go(f"{back}?status=accepted", "saved")
        status = form.get("status", "")
        wanted: Status | None = next((name for name in STATUSES if name == status), None)
        if wanted is None:
            raise NotFound("Choose whether to accept or to reject.")
        access.decide(
            actor,
            at.record,
            wanted,
            request_id=form.get("request", "")[:40],
            reason=form.get("reason", "").strip() if wanted == "rejected" else "",
        )
    except PlaitError as error:
        if error.code == "RepoNotFound" or error.status in (401, 403):
            raise
        return _requests(at, form.get("from", "pending"), "", error.message, error.status)
    return at.visit.go(f"{back}?status={form.get('from', 'pending')[:10]}", "saved")
