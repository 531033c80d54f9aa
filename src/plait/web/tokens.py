# SPDX-License-Identifier: Apache-2.0
"""One's access tokens: make, look at their use, revoke."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from fastapi import APIRouter, Response

from plait.errors import BadInput, PlaitError
from plait.hub.people.tokens import Grant
from plait.hub.permissions import PERMISSIONS, Scope
from plait.web.session import Form
from plait.web.sides import own_page, said
from plait.web.visit import Visit, Visitor

SCOPES = ("read", "contributor", "write", "fine-grained")
DAYS = ("7", "30", "90", "365", "")
GRANT_ROWS = 6
_PAGES = {"datasets": "dataset", "spaces": "space", "models": "model"}


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/settings/tokens", listing)
    router.add_api_route("/settings/tokens/new", new)
    router.add_api_route("/settings/tokens/new", create, methods=["POST"])
    router.add_api_route("/settings/tokens/revoke", revoke, methods=["POST"])


def listing(visit: Visitor) -> Response:
    """List the visitor's tokens."""
    visit.signed_in()
    return _listing(visit)


def _listing(visit: Visit, secret: str = "", **values: Any) -> Response:
    tokens = visit.hub.tokens
    found = tokens.list_own(visit.actor)
    grants = tokens.grants_of(found)
    moment = datetime.now(UTC)
    response = own_page(
        visit,
        "tokens",
        secret=secret,
        endpoint=visit.hub.settings.url,
        tokens=[
            {
                "record": token,
                "grants": grants.get(token.id, ()),
                "over": token.expires_at is not None and token.expires_at <= moment,
            }
            for token in found
        ],
        **values,
    )
    if secret:
        # The token is on this page alone: not even the browser is to keep it.
        response.headers["Cache-Control"] = "no-store"
    return response


def new(visit: Visitor) -> Response:
    """Show the form for a new token."""
    visit.signed_in()
    return _form(visit, {"scope": "write", "days": "90"})


def _form(visit: Visit, form: Mapping[str, str], **values: Any) -> Response:
    return own_page(
        visit,
        "token",
        form=form,
        days=DAYS,
        rows=[
            (number, form.get(f"place-{number}", ""), form.get(f"permission-{number}", "read"))
            for number in range(1, GRANT_ROWS + 1)
        ],
        permissions=PERMISSIONS,
        **values,
    )


def create(visit: Visitor, form: Form) -> Response:
    """Make a token, and show it this once."""
    visit.signed_in()
    scope = form.get("scope", "")
    try:
        if scope not in SCOPES:
            raise BadInput(visit.t("tokens.choose_scope"))
        secret = visit.hub.tokens.issue(
            visit.actor,
            scope=cast(Scope, scope),
            name=form.get("name", "").strip(),
            expires_at=_expiry(form.get("days", "")),
            grants=_grants(visit, form) if scope == "fine-grained" else (),
        )
    except PlaitError as error:
        if error.status in (500, 501, 507):
            raise
        return _form(visit, form, problem=error.message, code=error.status)
    return _listing(visit, secret)


def _expiry(days: str) -> datetime | None:
    if days not in DAYS:
        raise BadInput("Choose when the token ends.")
    return datetime.now(UTC) + timedelta(days=int(days)) if days else None


def _grants(visit: Visit, form: Mapping[str, str]) -> list[Grant]:
    """Read the rows of places and permissions.

    Raises:
        NotFound: there is no such place for this visitor.
        BadInput: a row cannot be read.
    """
    found = []
    for number in range(1, GRANT_ROWS + 1):
        place = form.get(f"place-{number}", "").strip().strip("/")
        permission = form.get(f"permission-{number}", "")
        if not place:
            continue
        if permission not in PERMISSIONS:
            raise BadInput("Choose what the token may do there.")
        parts = place.split("/")
        if len(parts) == 1:
            found.append(Grant(permission, namespace=visit.hub.accounts.get(place)))
            continue
        kind = _PAGES.get(parts[0], "model") if len(parts) == 3 else "model"
        repo = visit.hub.repositories.get(visit.actor, kind, "/".join(parts[-2:]))
        found.append(Grant(permission, repository=repo))
    return found


def revoke(visit: Visitor, form: Form) -> Response:
    """End a token."""
    visit.signed_in()
    number = form.get("token", "")
    try:
        if not number.isdigit() or len(number) > 18:
            raise BadInput("Name the token.")
        visit.hub.tokens.revoke(int(number), by=visit.actor)
    except PlaitError as error:
        return _listing(visit, **said(error))
    return visit.go("/settings/tokens", "revoked")
