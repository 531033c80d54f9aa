# SPDX-License-Identifier: Apache-2.0
"""Making a repository or an organisation in the browser."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.errors import PlaitError
from plait.hub import AddBytes
from plait.web.session import Form
from plait.web.sides import said
from plait.web.tasks import LICENSES
from plait.web.visit import Visit, Visitor, repository_url

KINDS = ("model", "dataset", "space")
SDKS = ("static", "gradio", "docker", "streamlit")


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/new", show)
    router.add_api_route("/new", create, methods=["POST"])
    router.add_api_route("/organizations/new", show_organization)
    router.add_api_route("/organizations/new", create_organization, methods=["POST"])


def owners(visit: Visit) -> list[str]:
    """List the namespaces in which the visitor may make something, their own first."""
    own = visit.account
    found = [own.name] if visit.may("namespace.create", own) else []
    organizations = visit.hub.accounts.list_organizations(own)
    return found + [
        account.name for account, _ in organizations if visit.may("namespace.create", account)
    ]


def show(visit: Visitor, type: str = "model", owner: str = "") -> Response:
    """Show the form for a new repository."""
    return _form(visit, {"type": type, "owner": owner})


def _form(visit: Visit, form: dict[str, str], problem: str = "", code: int = 200) -> Response:
    kind = form.get("type") if form.get("type") in KINDS else "model"
    return visit.render(
        "new.html",
        code=code,
        kind=kind,
        owners=owners(visit),
        form={
            "owner": form.get("owner") or visit.account.name,
            "name": form.get("name", "")[:100],
            "license": form.get("license", ""),
            "visibility": form.get("visibility") or "public",
            "sdk": form.get("sdk", ""),
        },
        licenses=LICENSES,
        sdks=SDKS,
        problem=problem,
        endpoint=visit.hub.settings.url,
    )


def create(visit: Visitor, form: Form) -> Response:
    """Make a repository, with a card if a licence was chosen."""
    visit.signed_in()
    kind, hub = form.get("type", ""), visit.hub
    full_name = f"{form.get('owner', '').strip()}/{form.get('name', '').strip()}"
    sdk = form.get("sdk") if kind == "space" and form.get("sdk") in SDKS else None
    try:
        repo = hub.repositories.create(
            visit.actor, kind, full_name, form.get("visibility") == "private", sdk=sdk
        )
    except PlaitError as error:
        told = said(error)
        return _form(visit, form, told["problem"], told["code"])
    chosen = form.get("license")
    head = [f"license: {chosen}"] if chosen in LICENSES else []
    head += [f"title: {repo.name}", f"sdk: {sdk}"] if sdk else []
    if head:
        text = "---\n" + "\n".join(head) + "\n---\n"
        hub.commits.apply(
            visit.actor, repo, "main", [AddBytes("README.md", text.encode())], "Begin the card"
        )
    return visit.go(repository_url(repo.type, repo.full_name), "created")


def show_organization(visit: Visitor) -> Response:
    """Show the form for a new organisation."""
    visit.signed_in()
    return visit.render("new_organization.html", form={}, problem="")


def create_organization(visit: Visitor, form: Form) -> Response:
    """Make an organisation whose first administrator is the visitor."""
    account = visit.account
    try:
        made = visit.hub.accounts.create_organization(
            form.get("name", "").strip(),
            account,
            fullname=form.get("fullname", "").strip(),
            by=visit.actor,
        )
    except PlaitError as error:
        told = said(error)
        return visit.render("new_organization.html", form=form, **told)
    return visit.go(f"/{made.name}", "created")
