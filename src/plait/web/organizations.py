# SPDX-License-Identifier: Apache-2.0
"""An organisation's settings: what it says of itself, members and roles, teams, audit log."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter, Response

from plait.errors import NotFound, PlaitError
from plait.hub import Account
from plait.hub.permissions import ROLES, Role
from plait.web.audit import audit_values
from plait.web.session import Form
from plait.web.sides import organization_page, said
from plait.web.visit import Visit, Visitor

MEMBERS = 200
_BASE = "/organizations/{org}/settings"


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route(_BASE + "/profile", profile)
    router.add_api_route(_BASE + "/profile", save_profile, methods=["POST"])
    router.add_api_route(_BASE + "/delete", delete, methods=["POST"])
    router.add_api_route(_BASE + "/members", members)
    router.add_api_route(_BASE + "/members", change_member, methods=["POST"])
    router.add_api_route(_BASE + "/teams", teams)
    router.add_api_route(_BASE + "/teams", create_team, methods=["POST"])
    router.add_api_route(_BASE + "/teams/{team}", team_page)
    router.add_api_route(_BASE + "/teams/{team}", change_team, methods=["POST"])
    router.add_api_route(_BASE + "/audit", audit)


def administered(visit: Visit, name: str) -> Account:
    """Return an organisation that the visitor administers.

    Raises:
        SignInFirst: nobody is signed in.
        NotFound: there is none of that name that they administer.
    """
    visit.signed_in()
    found = visit.hub.accounts.find(name)
    # Those who do not belong to it are not told that these pages are there.
    if found is None or found.kind != "organization" or not visit.may("namespace.admin", found):
        raise NotFound(f"You administer no organisation named {name[:96]!a}.")
    return found


def profile(visit: Visitor, org: str) -> Response:
    """Show what the organisation says of itself."""
    organization = administered(visit, org)
    form = {"fullname": organization.fullname, "about": organization.about}
    return organization_page(visit, organization, "profile", form=form)


def save_profile(visit: Visitor, org: str, form: Form) -> Response:
    """Change what the organisation says of itself."""
    organization = administered(visit, org)
    try:
        visit.hub.accounts.update_profile(
            visit.actor,
            organization,
            fullname=form.get("fullname", "").strip(),
            about=form.get("about", "").replace("\r\n", "\n").strip(),
        )
    except PlaitError as error:
        shown = {"fullname": "", "about": "", **form}
        return organization_page(visit, organization, "profile", form=shown, **said(error))
    return visit.go(f"/organizations/{organization.name}/settings/profile", "saved")


def delete(visit: Visitor, org: str, form: Form) -> Response:
    """Delete an organisation that owns nothing, if its name was typed."""
    organization = administered(visit, org)
    form_now = {"fullname": organization.fullname, "about": organization.about}
    if form.get("name", "").strip() != organization.name:
        problem = visit.t("repository_settings.wrong_name", name=organization.name)
        return organization_page(
            visit, organization, "profile", form=form_now, problem=problem, code=400
        )
    try:
        visit.hub.accounts.delete(organization, by=visit.actor)
    except PlaitError as error:
        return organization_page(visit, organization, "profile", form=form_now, **said(error))
    return visit.go("/settings/organizations", "deleted")


def members(visit: Visitor, org: str, after: str = "") -> Response:
    """List the members and their roles."""
    return _members(visit, administered(visit, org), after[:96])


def _members(visit: Visit, organization: Account, after: str = "", **values: Any) -> Response:
    found = visit.hub.accounts.members(organization, limit=MEMBERS + 1, after=after)
    shown = found[:MEMBERS]
    return organization_page(
        visit,
        organization,
        "members",
        members=shown,
        roles=ROLES,
        first=visit.link(after=None) if after else None,
        more=visit.link(after=shown[-1][0].name) if len(found) > MEMBERS else None,
        **values,
    )


def change_member(visit: Visitor, org: str, form: Form) -> Response:
    """Give somebody a role, or take them out."""
    organization = administered(visit, org)
    accounts = visit.hub.accounts
    try:
        user = accounts.get_user(form.get("user", "").strip())
        if form.get("role") == "remove":
            accounts.remove_member(organization, user, by=visit.actor)
        else:
            role = cast(Role, form.get("role", ""))
            accounts.add_member(organization, user, role, by=visit.actor)
    except PlaitError as error:
        return _members(visit, organization, **said(error))
    if user.id == visit.actor.user_id and form.get("role") != "admin":
        return visit.go(f"/{organization.name}", "saved")
    return visit.go(f"/organizations/{organization.name}/settings/members", "saved")


def teams(visit: Visitor, org: str) -> Response:
    """List the teams."""
    return _teams(visit, administered(visit, org))


def _teams(visit: Visit, organization: Account, **values: Any) -> Response:
    shown: dict[str, Any] = {"form": {}, **values}
    found = visit.hub.teams.list(visit.actor, organization)
    return organization_page(visit, organization, "teams", teams=found, **shown)


def create_team(visit: Visitor, org: str, form: Form) -> Response:
    """Make a team."""
    organization = administered(visit, org)
    try:
        team = visit.hub.teams.create(
            visit.actor,
            organization,
            form.get("name", "").strip(),
            form.get("description", "").strip(),
        )
    except PlaitError as error:
        return _teams(visit, organization, form=form, **said(error))
    return visit.go(f"/organizations/{organization.name}/settings/teams/{team.name}", "created")


def team_page(visit: Visitor, org: str, team: str) -> Response:
    """Show a team: who is in it, what is its."""
    return _team(visit, administered(visit, org), team)


def _team(visit: Visit, organization: Account, name: str, **values: Any) -> Response:
    hub, actor = visit.hub, visit.actor
    found = hub.teams.get(actor, organization, name)
    return organization_page(
        visit,
        organization,
        "team",
        team=found,
        members=hub.teams.members(actor, found),
        everybody=[account.name for account, _ in hub.accounts.members(organization, limit=500)],
        repositories=[(repo.type, repo.full_name) for repo in hub.teams.repositories(actor, found)],
        roles=ROLES,
        **values,
    )


def change_team(visit: Visitor, org: str, team: str, form: Form) -> Response:
    """Change a team: its words, its members, its repositories, its end."""
    organization = administered(visit, org)
    hub, actor = visit.hub, visit.actor
    found = hub.teams.get(actor, organization, team)
    back = f"/organizations/{organization.name}/settings/teams"
    name = found.name
    try:
        match form.get("do", ""):
            case "delete":
                hub.teams.delete(actor, found)
                return visit.go(back, "deleted")
            case "member":
                user = hub.accounts.get_user(form.get("user", "").strip())
                if form.get("role") == "remove":
                    hub.teams.remove_member(actor, found, user)
                else:
                    hub.teams.add_member(actor, found, user, cast(Role, form.get("role", "")))
            case "repository":
                repo = hub.repositories.get(
                    actor, form.get("type", "model"), form.get("repository", "").strip()
                )
                if form.get("remove"):
                    hub.teams.remove_repository(actor, found, repo)
                else:
                    hub.teams.add_repository(actor, found, repo)
            case _:
                name = hub.teams.update(
                    actor,
                    found,
                    name=form.get("name", "").strip(),
                    description=form.get("description", "").strip(),
                ).name
    except PlaitError as error:
        if error.status in (500, 501, 507):
            raise
        return _team(visit, organization, team, problem=error.message, code=error.status)
    return visit.go(f"{back}/{name}", "saved")


def audit(visit: Visitor, org: str) -> Response:
    """Show what concerned the organisation."""
    organization = administered(visit, org)
    return organization_page(visit, organization, "audit", **audit_values(visit, organization))
