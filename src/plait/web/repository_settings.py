# SPDX-License-Identifier: Apache-2.0
"""A repository's settings: who sees it, its gate, its team, its name, its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from fastapi import APIRouter, Response

from plait.errors import BadInput, PlaitError
from plait.hub import Repository
from plait.hub.repositories.service import Gate
from plait.web.here import At, Here
from plait.web.new import owners
from plait.web.session import Form
from plait.web.sides import said
from plait.web.visit import repository_url

GATES = ("", "auto", "manual")


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/settings", show)
    for name, handler in (
        ("visibility", visibility),
        ("gate", gate),
        ("team", team),
        ("move", move),
        ("close", close),
        ("squash", squash),
        ("delete", delete),
    ):
        router.add_api_route(f"{prefix}/settings/{name}", handler, methods=["POST"])


def _administers(at: Here) -> None:
    at.visit.signed_in()
    at.visit.hub.repositories.require(at.visit.actor, at.record, "repo.admin")


def show(at: At) -> Response:
    """Show the settings."""
    _administers(at)
    return _page(at)


def _page(at: Here, *, problem: str = "", code: int = 200) -> Response:
    hub, record = at.visit.hub, at.record
    waiting = hub.access.count(at.visit.actor, record)["pending"] if record.gated else 0
    return at.visit.render(
        "repository_settings.html",
        code=code,
        repo=at.view,
        gates=GATES,
        teams=_teams(at),
        team_id=record.team_id or 0,
        owners=sorted({at.view.namespace, *owners(at.visit)}),
        waiting=waiting,
        closes=at.visit.may("hub.admin"),
        problem=problem,
    )


def _teams(at: Here) -> list[tuple[int, str]]:
    if at.record.namespace.kind != "organization":
        return []
    return [
        (team.id, team.name)
        for team in at.visit.hub.teams.list(at.visit.actor, at.record.namespace)
    ]


def _change(at: Here, act: Callable[[], Repository]) -> Response:
    _administers(at)
    try:
        fresh = act()
    except PlaitError as error:
        return _page(at, **said(error))
    return at.visit.go(f"{repository_url(fresh.type, fresh.full_name)}/settings", "saved")


def visibility(at: At, form: Form) -> Response:
    """Make it public or private."""
    private = form.get("visibility") == "private"
    repositories = at.visit.hub.repositories
    return _change(at, lambda: repositories.update(at.visit.actor, at.record, private=private))


def gate(at: At, form: Form) -> Response:
    """Say who may read the files."""
    wanted = form.get("gate", "")
    repositories = at.visit.hub.repositories

    def act() -> Repository:
        if wanted not in GATES:
            raise BadInput("Choose one of the three kinds of access.")
        return repositories.update(at.visit.actor, at.record, gated=cast(Gate, wanted))

    return _change(at, act)


def team(at: At, form: Form) -> Response:
    """Give it to a team of its organisation, or to none."""
    number = form.get("team", "")
    repositories = at.visit.hub.repositories

    def act() -> Repository:
        if not number.isdigit() or len(number) > 9:
            raise BadInput("Choose a team.")
        return repositories.update(at.visit.actor, at.record, team_id=int(number) or None)

    return _change(at, act)


def move(at: At, form: Form) -> Response:
    """Rename it, or hand it to another owner."""
    name = f"{form.get('owner', '').strip()}/{form.get('name', '').strip()}"
    repositories = at.visit.hub.repositories
    return _change(at, lambda: repositories.move(at.visit.actor, at.record, name))


def close(at: At, form: Form) -> Response:
    """Close it for everybody, or open it again: for the hub's administrators."""
    closed = form.get("disabled") == "yes"
    repositories = at.visit.hub.repositories
    return _change(at, lambda: repositories.update(at.visit.actor, at.record, disabled=closed))


def squash(at: At, form: Form) -> Response:
    """Make one commit of main's history."""

    def act() -> Repository:
        at.visit.hub.references.super_squash(
            at.visit.actor, at.record, "main", form.get("message", "").strip()[:400]
        )
        return at.record

    return _change(at, act)


def delete(at: At, form: Form) -> Response:
    """Delete it for good, if its name was typed."""
    _administers(at)
    if form.get("name", "").strip() != at.view.full_name:
        problem = at.visit.t("repository_settings.wrong_name", name=at.view.full_name)
        return _page(at, problem=problem, code=400)
    at.visit.hub.repositories.delete(at.visit.actor, at.record)
    return at.visit.go(f"/{at.view.namespace}", "deleted")
