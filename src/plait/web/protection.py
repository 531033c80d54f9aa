# SPDX-License-Identifier: Apache-2.0
"""Settings of protected branches, and reviewing a pull request on its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from plait.collaboration.requests import describe_preview, request_preview
from plait.errors import BadInput, NotFound, PlaitError
from plait.hub import Discussion, can
from plait.hub.database import CommitStatus
from plait.hub.permissions import ROLES
from plait.hub.repositories.protection import Requirements, Rule
from plait.web.here import At, Here
from plait.web.session import Form
from plait.web.sides import said


@dataclass(frozen=True)
class PullState:
    """What a pull request needs and has besides its merge: reviews, checks, a preview."""

    requirements: Requirements
    statuses: list[CommitStatus]
    preview: dict[str, Any] | None
    may_review: bool
    may_preview: bool


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/settings/branches", show)
    router.add_api_route(prefix + "/settings/branches", save, methods=["POST"])
    router.add_api_route(prefix + "/settings/branches/remove", remove, methods=["POST"])
    router.add_api_route(prefix + "/discussions/{number}/review", review, methods=["POST"])
    router.add_api_route(prefix + "/discussions/{number}/preview", preview, methods=["POST"])


def pull_state(at: Here, discussion: Discussion) -> PullState:
    """Gather what `_pull_state.html` shows of a pull request."""
    hub, actor = at.visit.hub, at.visit.actor
    head = hub.git.head(at.record, f"refs/pr/{discussion.number}")
    live = discussion.status in ("open", "draft")
    return PullState(
        hub.protection.requirements(at.record, discussion),
        hub.statuses.latest(at.record, head) if head else [],
        describe_preview(hub, at.record, discussion),
        may_review=live
        and actor.signed_in
        and actor.user_id != discussion.author_id
        and can(actor, "repo.discuss", at.record),
        may_preview=live and can(actor, "repo.merge", at.record),
    )


def show(at: At) -> Response:
    """Show the rules of the branches."""
    return _page(at)


def _page(
    at: Here, *, problem: str = "", code: int = 200, form: dict[str, str] | None = None
) -> Response:
    at.visit.signed_in()
    hub = at.visit.hub
    hub.repositories.require(at.visit.actor, at.record, "repo.write")
    return at.visit.render(
        "branch_rules.html",
        code=code,
        repo=at.view,
        rules=hub.protection.rules(at.record),
        may_change=hub.protection.may_admin(at.visit.actor, at.record),
        roles=ROLES,
        problem=problem,
        form=form or {},
    )


def save(at: At, form: Form) -> Response:
    """Make or replace a rule."""
    at.visit.signed_in()
    try:
        rule = Rule(
            form.get("pattern", "").strip(),
            _subjects(form, "push"),
            _subjects(form, "merge"),
            _whole(form.get("reviews", "0")),
            tuple(_lines(form.get("contexts", ""))),
        )
        at.visit.hub.protection.put(at.visit.actor, at.record, rule)
    except PlaitError as error:
        return _page(at, **said(error), form=form)
    return at.visit.go(f"{at.view.url}/settings/branches", "saved")


def remove(at: At, form: Form) -> Response:
    """Remove a rule."""
    at.visit.signed_in()
    try:
        at.visit.hub.protection.remove(at.visit.actor, at.record, form.get("pattern", ""))
    except PlaitError as error:
        return _page(at, **said(error))
    return at.visit.go(f"{at.view.url}/settings/branches", "deleted")


def review(at: At, number: int, form: Form) -> Response:
    """Approve a pull request, or ask for changes."""
    at.visit.signed_in()
    discussion = _pull(at, number)
    at.visit.hub.reviews.submit(
        at.visit.actor,
        at.record,
        discussion,
        form.get("verdict", ""),
        form.get("comment", ""),
        form.get("head") or None,
    )
    return at.visit.go(f"{at.view.url}/discussions/{discussion.number}")


def preview(at: At, number: int, form: Form) -> Response:
    """Queue the job that builds a pull request's candidate."""
    at.visit.signed_in()
    discussion = _pull(at, number)
    request_preview(at.visit.hub, at.visit.actor, at.record, discussion)
    return at.visit.go(f"{at.view.url}/discussions/{discussion.number}")


def _pull(at: Here, number: int) -> Discussion:
    found = at.visit.hub.discussions.get(at.record, min(max(number, 0), 2**31 - 1))
    if not found.is_pull_request:
        raise NotFound(f"Discussion {found.number} is not a pull request.")
    return found


def _subjects(form: dict[str, str], name: str) -> tuple[str, ...] | None:
    who = form.get(f"{name}_who", "writers")
    if who == "writers":
        return None
    return () if who == "nobody" else tuple(_lines(form.get(name, "")))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]


def _whole(text: str) -> int:
    if not text.strip().isdigit() or len(text) > 4:
        raise BadInput("Write the number of reviews as a whole number.")
    return int(text)
