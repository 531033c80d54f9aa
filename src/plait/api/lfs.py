# SPDX-License-Identifier: Apache-2.0
"""Git LFS: large files by their SHA-256, for clients without Xet and for git itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from plait.api.bodies import Body, consume
from plait.api.context import Caller, HubOf, User, actor_of, claims_of
from plait.api.downloads import send_blob
from plait.api.routing import Name, Namespace, Type
from plait.api.signing import sign, verify
from plait.api.wire import repository_url
from plait.errors import BadInput, NotFound, RepositoryNotFound
from plait.hub import Actor, Hub
from plait.hub.database import Blob, BlobGrant, Repository
from plait.hub.pointers import is_sha256

router = APIRouter(tags=["uploads"])

MAX_OBJECTS = 1000
MEDIA_TYPE = "application/vnd.git-lfs+json"
_UPLOAD = "lfs-upload"
_DOWNLOAD = "lfs-download"


class _Object(BaseModel):
    oid: str
    size: Annotated[int, Field(ge=0)]


class _Batch(BaseModel):
    operation: Literal["upload", "download"]
    objects: Annotated[list[_Object], Field(max_length=MAX_OBJECTS)]
    transfers: list[str] = ["basic"]
    hash_algo: str = "sha256"


@router.post("/{kind:prefix}/{namespace}/{name}.git/info/lfs/objects/batch")
def batch(
    hub: HubOf, actor: Caller, kind: Type, namespace: Namespace, name: Name, body: _Batch
) -> JSONResponse:
    """Say where the bytes of large files of a data set or space go or lie."""
    return _batch(hub, actor, kind, f"{namespace}/{name}", body)


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch")
def batch_of_model(
    hub: HubOf, actor: Caller, namespace: Namespace, name: Name, body: _Batch
) -> JSONResponse:
    """Say where the bytes of large files of a model go or lie."""
    return _batch(hub, actor, "model", f"{namespace}/{name}", body)


@dataclass(frozen=True)
class _Permit:
    """What a signed address allows: these bytes, to or from this repository."""

    repo: Repository
    sha256: str
    size: int


def _permitted(hub: HubOf, permit: str, request: Request) -> _Permit:
    purpose = _UPLOAD if request.method == "PUT" else _DOWNLOAD
    claims = verify(hub.secret, purpose, permit)
    actor = actor_of(hub, claims)
    repo = hub.repositories.by_id(claims["repo"])
    if repo is None:
        raise RepositoryNotFound("The repository is gone.")
    hub.repositories.require(
        actor, repo, "repo.propose" if request.method == "PUT" else "repo.files"
    )
    return _Permit(repo, claims["sha256"], claims["size"])


@router.put("/v1/lfs/{permit}")
async def upload(
    request: Request, hub: HubOf, permitted: Annotated[_Permit, Depends(_permitted)]
) -> Response:
    """Take the bytes of one large file."""

    def work(body: Body) -> None:
        hub.blobs.write(body, permitted.sha256, permitted.size)
        with hub.session(write=True) as session:
            hub.grant_blob(session, permitted.repo, permitted.sha256, permitted.size)

    await consume(request, permitted.size, f"sha256 {permitted.sha256}", work)
    return Response(status_code=200)


@router.get("/v1/lfs/{permit}")
def download(
    request: Request, hub: HubOf, permitted: Annotated[_Permit, Depends(_permitted)]
) -> Response:
    """Give the bytes of one large file."""
    return send_blob(request, hub, permitted.sha256, permitted.size)


@router.post("/{kind:prefix}/{namespace}/{name}.git/info/lfs/objects/verify")
def check(
    hub: HubOf, user: User, kind: Type, namespace: Namespace, name: Name, body: _Object
) -> JSONResponse:
    """Answer 200 if the bytes of a large file of a data set or space have arrived."""
    return _check(hub, user, kind, f"{namespace}/{name}", body)


@router.post("/{namespace}/{name}.git/info/lfs/objects/verify")
def check_of_model(
    hub: HubOf, user: User, namespace: Namespace, name: Name, body: _Object
) -> JSONResponse:
    """Answer 200 if the bytes of a large file of a model have arrived."""
    return _check(hub, user, "model", f"{namespace}/{name}", body)


def _batch(hub: Hub, actor: Actor, kind: str, full_name: str, body: _Batch) -> JSONResponse:
    upload = body.operation == "upload"
    repo = hub.repositories.get(actor, kind, full_name, "repo.propose" if upload else "repo.files")
    if body.hash_algo != "sha256":
        raise BadInput("Large files are named by their sha256 here.")
    for thing in body.objects:
        if not is_sha256(thing.oid):
            raise BadInput(f"{thing.oid[:80]!r} is not a SHA-256.")
    sizes = _held(hub, repo, [thing.oid for thing in body.objects])
    objects = [
        _upload(hub, actor, repo, thing, sizes)
        if upload
        else _download(hub, actor, repo, thing, sizes)
        for thing in body.objects
    ]
    return JSONResponse(
        {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}, media_type=MEDIA_TYPE
    )


def _upload(
    hub: Hub, actor: Actor, repo: Repository, thing: _Object, sizes: dict[str, int]
) -> dict[str, Any]:
    found: dict[str, Any] = {"oid": thing.oid, "size": thing.size}
    if thing.size > hub.settings.max_blob:
        error = f"The file has {thing.size} bytes; this hub takes {hub.settings.max_blob}."
        return {**found, "error": {"code": 413, "message": error}}
    # Bytes that are stored for another repository are sent again: that proves they are at hand.
    if sizes.get(thing.oid) != thing.size:
        address = repository_url(hub.settings, repo)
        found["actions"] = {
            "upload": {"href": _address(hub, _UPLOAD, actor, repo, thing.oid, thing.size)},
            "verify": {"href": f"{address}.git/info/lfs/objects/verify"},
        }
    return found


def _download(
    hub: Hub, actor: Actor, repo: Repository, thing: _Object, sizes: dict[str, int]
) -> dict[str, Any]:
    size = sizes.get(thing.oid)
    if size is None:
        error = {"code": 404, "message": f"The hub does not have {thing.oid} here."}
        return {"oid": thing.oid, "size": thing.size, "error": error}
    href = _address(hub, _DOWNLOAD, actor, repo, thing.oid, size)
    return {"oid": thing.oid, "size": size, "actions": {"download": {"href": href}}}


def _address(hub: Hub, purpose: str, actor: Actor, repo: Repository, sha256: str, size: int) -> str:
    claims = {**claims_of(actor), "repo": repo.id, "sha256": sha256, "size": size}
    permit, _ = sign(hub.secret, purpose, claims, hub.settings.upload_token_ttl)
    return f"{hub.settings.url}/v1/lfs/{permit}"


def _held(hub: Hub, repo: Repository, names: list[str]) -> dict[str, int]:
    """Sizes of those blobs that the repository may refer to and that are stored."""
    with hub.session() as session:
        rows = session.execute(
            select(Blob.sha256, Blob.size)
            .join(BlobGrant, BlobGrant.sha256 == Blob.sha256)
            .where(BlobGrant.repository_id == repo.id, Blob.sha256.in_(names))
        ).all()
    return {sha256: size for sha256, size in rows if hub.blobs.touch(sha256)}


def _check(hub: Hub, user: Actor, kind: str, full_name: str, body: _Object) -> JSONResponse:
    repo = hub.repositories.get(user, kind, full_name, "repo.propose")
    if _held(hub, repo, [body.oid]).get(body.oid) != body.size:
        raise NotFound(f"The {body.size} bytes of sha256 {body.oid[:64]} have not arrived.")
    return JSONResponse({}, media_type=MEDIA_TYPE)
