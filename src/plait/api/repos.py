# SPDX-License-Identifier: Apache-2.0
"""Making, removing, renaming and setting up repositories."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Name, Namespace, Type
from plait.api.wire import object_id, repository_url
from plait.cards import dump_card
from plait.errors import BadInput, Conflict, NotFound, PlaitError, RepositoryNotFound, Unsupported
from plait.hub import Actor, AddBytes, Hub
from plait.hub.database import Repository, Team
from plait.hub.repositories.facts import README
from plait.hub.repositories.service import Gate

router = APIRouter(tags=["repositories"])

_RUNNING = ("hardware", "sleepTimeSeconds", "secrets", "variables", "volumes", "template")
_SDKS = ("gradio", "docker", "static", "streamlit")


class _Named(BaseModel):
    name: str
    organization: str | None = None
    type: str | None = None

    def full_name(self, user: Actor) -> str:
        if self.organization is None and "/" in self.name:
            return self.name
        return f"{self.organization or user.name}/{self.name}"


class _Space(BaseModel):
    """What the Hub takes for spaces that run."""

    hardware: Any = None
    sleepTimeSeconds: Any = None  # noqa: N815
    secrets: Any = None
    variables: Any = None
    volumes: Any = None
    template: Any = None

    def refuse(self) -> None:
        for name in _RUNNING:
            if getattr(self, name) not in (None, [], {}):
                raise Unsupported(f"Plait keeps spaces and does not run them: leave out {name!r}.")


class _NewFile(BaseModel):
    path: str
    content: str
    encoding: Literal["base64", "utf-8"] = "utf-8"

    def operation(self) -> AddBytes:
        if self.encoding == "utf-8":
            return AddBytes(self.path, self.content.encode("utf-8", "surrogatepass"))
        try:
            return AddBytes(self.path, base64.b64decode(self.content, validate=True))
        except (binascii.Error, ValueError):
            raise BadInput(f"The content of {self.path[:100]!a} is not base64.") from None


class _New(_Named, _Space):
    files: Annotated[list[_NewFile], Field(max_length=1000)] | None = None
    license: Annotated[str, Field(max_length=100)] | None = None
    private: bool | None = None
    visibility: str | None = None
    sdk: str | None = None
    resourceGroupId: str | None = None  # noqa: N815
    region: str | None = None


class _Move(BaseModel):
    fromRepo: str  # noqa: N815
    toRepo: str  # noqa: N815
    type: str | None = None


class _Settings(BaseModel):
    private: bool | None = None
    visibility: str | None = None
    gated: Literal["auto", "manual", False] | None = None
    resourceGroupId: str | None = None  # noqa: N815
    disabled: bool | None = None


class _Copy(_Space):
    repository: str
    private: bool | None = None
    visibility: str | None = None
    resourceGroupId: str | None = None  # noqa: N815


class _Group(BaseModel):
    resourceGroupId: str | None = None  # noqa: N815


@router.post("/api/repos/create")
def create(hub: HubOf, user: User, body: _New) -> JSONResponse:
    """Make a repository; 409 with its address if it is there already."""
    kind = body.type or "model"
    body.refuse()
    if body.region is not None:
        raise Unsupported("This hub has one region, its own: leave out 'region'.")
    if body.sdk is not None and (kind != "space" or body.sdk not in _SDKS):
        raise BadInput(f"'sdk' is for spaces and one of {', '.join(_SDKS)}.")
    name = body.full_name(user)
    operations = [file.operation() for file in body.files or ()]
    try:
        repo = hub.repositories.create(
            user,
            kind,
            name,
            bool(_private(body.private, body.visibility)),
            team_id=_team_id(body.resourceGroupId),
            sdk=body.sdk,
        )
    except Conflict as conflict:
        return _exists(hub, user, kind, name, conflict)
    if body.license and all(operation.path != README for operation in operations):
        head = dump_card({"license": body.license}, "")
        operations.append(AddBytes(README, head.encode()))
    if operations:
        try:
            hub.commits.apply(user, repo, "main", operations, "Add initial files")
        except PlaitError:
            # Made with its files or not at all.
            hub.repositories.delete(user, repo)
            raise
    return JSONResponse(_address(hub, repo))


@router.delete("/api/repos/delete")
def delete(hub: HubOf, user: User, body: _Named) -> dict[str, Any]:
    """Remove a repository for good."""
    repo = hub.repositories.get(user, body.type or "model", body.full_name(user))
    hub.repositories.delete(user, repo)
    return {}


@router.post("/api/repos/move")
def move(hub: HubOf, user: User, body: _Move) -> dict[str, Any]:
    """Give a repository another name or owner; the old name leads to it."""
    repo = hub.repositories.get(user, body.type or "model", body.fromRepo)
    moved = hub.repositories.move(user, repo, body.toRepo)
    return {"url": repository_url(hub.settings, moved)}


@router.post("/api/{kind:type}/{namespace}/{name}/duplicate")
def duplicate(hub: HubOf, user: User, repo: Readable, body: _Copy) -> JSONResponse:
    """Make a repository with the branches, tags and files of another."""
    body.refuse()
    try:
        copy = hub.repositories.duplicate(
            user,
            repo,
            body.repository,
            private=_private(body.private, body.visibility),
            team_id=_team_id(body.resourceGroupId),
        )
    except Conflict as conflict:
        return _exists(hub, user, repo.type, body.repository, conflict)
    return JSONResponse({**_address(hub, copy), "filesCopyPending": False})


@router.put("/api/{kind:type}/{namespace}/{name}/settings")
def update(hub: HubOf, user: User, repo: Readable, body: _Settings) -> dict[str, Any]:
    """Change who sees a repository, who gets its files, and which team it belongs to."""
    gate: dict[Any, Gate | None] = {"auto": "auto", "manual": "manual", False: "", None: None}
    given = body.model_fields_set
    fresh = hub.repositories.update(
        user,
        repo,
        private=_private(body.private, body.visibility),
        gated=gate[body.gated],
        team_id=_team_id(body.resourceGroupId) if "resourceGroupId" in given else 0,
        disabled=body.disabled,
    )
    return {"private": fresh.private, "gated": fresh.gated or False, "disabled": fresh.disabled}


@router.get("/api/{kind:type}/{namespace}/{name}/resource-group")
def show_team(hub: HubOf, user: User, repo: Readable) -> dict[str, Any] | None:
    """Show the team that a repository belongs to."""
    hub.repositories.require(user, repo, "repo.write")
    return team_of(hub, repo)


@router.post("/api/{kind:type}/{namespace}/{name}/resource-group")
def set_team(hub: HubOf, user: User, repo: Readable, body: _Group) -> dict[str, Any] | None:
    """Put a repository into a team of its organisation, or into none."""
    fresh = hub.repositories.update(user, repo, team_id=_team_id(body.resourceGroupId))
    return team_of(hub, fresh)


@router.get("/api/{kind:type}/{namespace}/{name}/auth-check")
def auth_check(
    hub: HubOf, actor: Caller, kind: Type, namespace: Namespace, name: Name
) -> dict[str, Any]:
    """Answer 200 if the caller may read the repository's files."""
    hub.repositories.get(actor, kind, f"{namespace}/{name}", "repo.files")
    return {}


@router.get("/api/{kind:type}/{namespace}/{name}/auth-check/write")
def auth_check_write(
    hub: HubOf, actor: Caller, kind: Type, namespace: Namespace, name: Name
) -> dict[str, Any]:
    """Answer 200 if the caller may write to the repository."""
    hub.repositories.get(actor, kind, f"{namespace}/{name}", "repo.write")
    return {}


def team_of(hub: Hub, repo: Repository) -> dict[str, Any] | None:
    """The team of a repository, in the Hub's words its resource group."""
    if repo.team_id is None:
        return None
    with hub.session() as session:
        team = session.get(Team, repo.team_id)
    return {"id": f"{team.id:024x}", "name": team.name} if team is not None else None


def _address(hub: Hub, repo: Repository) -> dict[str, Any]:
    return {
        "url": repository_url(hub.settings, repo),
        "name": repo.full_name,
        "id": object_id(repo),
    }


def _exists(hub: Hub, user: Actor, kind: str, name: str, conflict: Conflict) -> JSONResponse:
    """Answer as the Hub does, so that ``exist_ok`` finds the address in the body."""
    found: dict[str, Any] = {"error": conflict.message}
    try:
        found |= _address(hub, hub.repositories.get(user, kind, name))
    except RepositoryNotFound:
        # It belongs to a team that the caller is not in.
        prefix = "" if kind == "model" else f"{kind}s/"
        found |= {"url": f"{hub.settings.url}/{prefix}{name}", "name": name}
    headers = {"X-Error-Code": conflict.code, "X-Error-Message": conflict.message}
    return JSONResponse(found, 409, headers)


def _team_id(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = int(text, 16) if len(text) == 24 and text.isascii() else 0
    except ValueError:
        number = 0
    if not 0 < number < 2**31:
        raise NotFound(f"There is no team {text[:40]!a}. Teams have ids of 24 hex digits.")
    return number


def _private(private: bool | None, visibility: str | None) -> bool | None:
    if visibility is None:
        return private
    if visibility not in ("public", "private"):
        raise BadInput(
            f"A repository cannot be {visibility[:40]!r} here. Use 'public' or 'private'."
        )
    return visibility == "private"
