# SPDX-License-Identifier: Apache-2.0
"""Pages with a menu at the side: one's own settings, an organisation's, the hub's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from plait.errors import PlaitError
from plait.hub import Account
from plait.web.here import Here
from plait.web.visit import Visit

_OWN = ("profile", "password", "sessions", "tokens", "webhooks", "organizations")
_ORGANIZATION = ("profile", "members", "teams", "audit")
_SYSTEM = ("users", "organizations", "repositories", "storage", "jobs", "audit", "settings")
_PASSED_ON = frozenset({401, 404, 500, 501, 507})


def own_page(visit: Visit, current: str, *, code: int = 200, **values: Any) -> Response:
    """Render a page of one's own settings."""
    return visit.render(
        f"settings/{current}.html",
        code=code,
        side_title=visit.t("side.yours"),
        side=[(f"side.{key}", f"/settings/{key}", key in (current, f"{current}s")) for key in _OWN],
        **{"problem": "", **values},
    )


def organization_page(
    visit: Visit, organization: Account, current: str, *, code: int = 200, **values: Any
) -> Response:
    """Render a page of an organisation's settings."""
    base = f"/organizations/{organization.name}/settings"
    return visit.render(
        f"organization/{current}.html",
        code=code,
        side_title=organization.fullname or organization.name,
        side=[
            (f"side.{key}", f"{base}/{key}", key in (current, f"{current}s"))
            for key in _ORGANIZATION
        ],
        organization=organization,
        base=base,
        **{"problem": "", **values},
    )


def repository_page(at: Here, current: str, *, code: int = 200, **values: Any) -> Response:
    """Render a page of a repository's settings."""
    return at.visit.render(f"{current}.html", code=code, repo=at.view, **{"problem": "", **values})


def system_page(visit: Visit, current: str, *, code: int = 200, **values: Any) -> Response:
    """Render a page for the hub's administrators."""
    overview = [("side.overview", "/system", current == "overview")]
    return visit.render(
        f"system/{current}.html",
        code=code,
        side_title=visit.t("nav.system"),
        side=overview
        + [(f"side.{key}", f"/system/{key}", key in (current, f"{current}s")) for key in _SYSTEM],
        **{"problem": "", **values},
    )


def said(error: PlaitError) -> Mapping[str, Any]:
    """Return what a form shows of an error, or raise it on if it is a page of its own.

    Raises:
        PlaitError: the visitor may not know of the thing, or the hub itself is in trouble.
    """
    if error.status in _PASSED_ON and error.code in ("RepoNotFound", "InternalError", "Disabled"):
        raise error
    return {"problem": error.message, "code": error.status}
