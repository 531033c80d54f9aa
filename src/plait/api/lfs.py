# SPDX-License-Identifier: Apache-2.0
"""Git LFS: large files by their SHA-256, for clients without Xet and for git itself.

Clients that know the transfer ``multipart`` send a very large file in parts, each to an address of
its own, and say at the end which parts there were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from plait.api.bodies import Body, consume
from plait.api.context import Caller, HubOf, User, actor_of, claims_of
from plait.api.downloads import blob_url, file_headers, send_blob
from plait.api.routing import Name, Namespace, Type
from plait.api.signing import sign, verify
from plait.api.wire import repository_url
from plait.errors import BadInput, NotFound, RepositoryNotFound
from plait.hub import Actor, Hub
from plait.hub.database import Blob, BlobGrant, Repository
from plait.hub.git.pointers import is_sha256
from plait.hub.permissions import Action
from plait.hub.storage.multipart import MAX_PARTS, PartedUpload, part_size, parted_upload

router = APIRouter(tags=["uploads"])

MAX_OBJECTS = 1000
MEDIA_TYPE = "application/vnd.git-lfs+json"
_UPLOAD = "lfs-upload"
_DOWNLOAD = "lfs-download"
_PART = "lfs-part"
_FINISH = "lfs-finish"
_MULTIPART = "multipart"
_XET = "xet"


class _LfsResponse(JSONResponse):
    """JSON as git-lfs names it."""

    media_type = MEDIA_TYPE


class _Object(BaseModel):
    oid: str
    size: Annotated[int, Field(ge=0)]


class _Batch(BaseModel):
    operation: Literal["upload", "download"]
    objects: Annotated[list[_Object], Field(max_length=MAX_OBJECTS)]
    transfers: list[str] = ["basic"]
    hash_algo: str = "sha256"


@router.post(
    "/{kind:prefix}/{namespace}/{name}.git/info/lfs/objects/batch", response_class=_LfsResponse
)
def batch(
    hub: HubOf, actor: Caller, kind: Type, namespace: Namespace, name: Name, body: _Batch
) -> JSONResponse:
    """Say where the bytes of large files of a data set or space go or lie."""
    return _batch(hub, actor, kind, f"{namespace}/{name}", body)


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch", response_class=_LfsResponse)
def batch_of_model(
    hub: HubOf, actor: Caller, namespace: Namespace, name: Name, body: _Batch
) -> JSONResponse:
    """Say where the bytes of large files of a model go or lie."""
    return _batch(hub, actor, "model", f"{namespace}/{name}", body)


@dataclass(frozen=True)
class _Permit:
    """What a signed address allows: these bytes, to or from this repository."""

    actor: Actor
    repo: Repository
    sha256: str
    size: int
    part: int = 0
    part_size: int = 0

    def parted(self, hub: Hub) -> PartedUpload:
        """The upload that the permit is for, if it is one in parts."""
        user = self.actor.user_id
        return parted_upload(hub, self.repo.id, user, self.sha256, self.size, self.part_size)


def _check_permit(hub: Hub, request: Request, purpose: str, permit: str) -> _Permit:
    claims = verify(hub.secret, purpose, permit)
    actor = actor_of(hub, claims)
    request.state.actor = actor
    repo = hub.repositories.by_id(claims["repo"])
    if repo is None:
        raise RepositoryNotFound("The repository is gone.")
    action: Action = "repo.files" if purpose == _DOWNLOAD else "repo.propose"
    hub.repositories.require(actor, repo, action)
    part, length = claims.get("part", 0), claims.get("part_size", 0)
    return _Permit(actor, repo, claims["sha256"], claims["size"], part, length)


def _upload_permit(hub: HubOf, permit: str, request: Request) -> _Permit:
    return _check_permit(hub, request, _UPLOAD, permit)


def _download_permit(hub: HubOf, permit: str, request: Request) -> _Permit:
    return _check_permit(hub, request, _DOWNLOAD, permit)


def _part_permit(hub: HubOf, permit: str, request: Request) -> _Permit:
    return _check_permit(hub, request, _PART, permit)


def _finish_permit(hub: HubOf, permit: str, request: Request) -> _Permit:
    return _check_permit(hub, request, _FINISH, permit)


@router.put("/v1/lfs/{permit}")
async def upload(
    request: Request, hub: HubOf, permitted: Annotated[_Permit, Depends(_upload_permit)]
) -> Response:
    """Take the bytes of one large file."""

    def work(body: Body) -> None:
        hub.blobs.write(body, permitted.sha256, permitted.size)
        _grant(hub, permitted)

    await consume(request, permitted.size, f"sha256 {permitted.sha256}", work)
    return Response(status_code=200)


@router.put("/v1/lfs/parts/{permit}")
async def upload_part(
    request: Request, hub: HubOf, permitted: Annotated[_Permit, Depends(_part_permit)]
) -> Response:
    """Take one part of a large file."""
    parted = permitted.parted(hub)

    def work(body: Body) -> str:
        return parted.write(permitted.part, body)

    length = parted.part_length(permitted.part)
    etag = await consume(request, length, f"Part {permitted.part}", work)
    return Response(status_code=200, headers={"ETag": f'"{etag}"'})


class _Part(BaseModel):
    partNumber: Annotated[int, Field(ge=1, le=MAX_PARTS)]  # noqa: N815
    etag: Annotated[str, Field(max_length=100)]


class _Parts(BaseModel):
    oid: str
    parts: Annotated[list[_Part], Field(max_length=MAX_PARTS)]


@router.post("/v1/lfs/finish/{permit}")
def finish(
    hub: HubOf, permitted: Annotated[_Permit, Depends(_finish_permit)], body: _Parts
) -> Response:
    """Put the parts of a large file together."""
    if body.oid != permitted.sha256:
        raise BadInput("This address finishes the upload of another file.")
    parts = {part.partNumber: part.etag for part in body.parts}
    if len(parts) != len(body.parts):
        raise BadInput("A part is named twice.")
    permitted.parted(hub).finish(hub, parts)
    _grant(hub, permitted)
    return JSONResponse({}, media_type=MEDIA_TYPE)


def _grant(hub: Hub, permitted: _Permit) -> None:
    with hub.session(write=True) as session:
        user = permitted.actor.user_id
        hub.grant_blob(session, permitted.repo, permitted.sha256, permitted.size, user_id=user)


@router.get("/v1/lfs/{permit}")
def download(
    request: Request, hub: HubOf, permitted: Annotated[_Permit, Depends(_download_permit)]
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
    action: Action = "repo.propose" if upload else "repo.files"
    repo = hub.repositories.get(actor, kind, full_name, action)
    if body.hash_algo not in ("sha256", "sha_256"):  # the second is how the npm client writes it
        raise BadInput("Large files are named by their sha256 here.")
    for thing in body.objects:
        if not is_sha256(thing.oid):
            raise BadInput(f"{thing.oid[:80]!r} is not a SHA-256.")
    sizes = _held(hub, repo, [thing.oid for thing in body.objects], touch=upload)
    if upload and _XET in body.transfers and body.hash_algo == "sha256":
        # Older Python clients ask here whether they may use Xet, and ask for its token next; the
        # npm client asks, too, and uploads by LFS as well.
        objects = [{"oid": thing.oid, "size": thing.size} for thing in body.objects]
        return JSONResponse(
            {"transfer": _XET, "objects": objects, "hash_algo": "sha256"}, media_type=MEDIA_TYPE
        )
    parts = upload and _MULTIPART in body.transfers
    objects = [
        _upload(hub, actor, repo, thing, sizes, parts=parts)
        if upload
        else _download(hub, actor, repo, thing, sizes)
        for thing in body.objects
    ]
    transfer = _MULTIPART if parts and any(map(_in_parts, objects)) else "basic"
    return JSONResponse(
        {"transfer": transfer, "objects": objects, "hash_algo": "sha256"}, media_type=MEDIA_TYPE
    )


def _in_parts(answer: dict[str, Any]) -> bool:
    return "header" in answer.get("actions", {}).get("upload", {})


def _upload(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    thing: _Object,
    sizes: dict[str, int],
    *,
    parts: bool,
) -> dict[str, Any]:
    found: dict[str, Any] = {"oid": thing.oid, "size": thing.size}
    if thing.size > hub.settings.max_blob:
        error = f"The file has {thing.size} bytes; this hub takes {hub.settings.max_blob}."
        return {**found, "error": {"code": 413, "message": error}}
    # Bytes that are stored for another repository are sent again: that proves they are at hand.
    if sizes.get(thing.oid) != thing.size:
        address = repository_url(hub.settings, repo)
        found["actions"] = {
            "upload": _parted(hub, actor, repo, thing)
            if parts and thing.size > hub.settings.lfs_part_size
            else {"href": _address(hub, _UPLOAD, actor, repo, thing.oid, thing.size)},
            "verify": {"href": f"{address}.git/info/lfs/objects/verify"},
        }
    return found


def _parted(hub: Hub, actor: Actor, repo: Repository, thing: _Object) -> dict[str, Any]:
    """Addresses for all parts of a file, in the form that the Hub's clients read."""
    length = part_size(hub, thing.size)
    numbers = range(1, -(-thing.size // length) + 1)

    def address(purpose: str, folder: str, **more: int) -> str:
        return _address(
            hub,
            purpose,
            actor,
            repo,
            thing.oid,
            thing.size,
            folder=folder,
            part_size=length,
            **more,
        )

    header = {str(number): address(_PART, "parts/", part=number) for number in numbers}
    return {
        "href": address(_FINISH, "finish/"),
        "header": {"chunk_size": str(length), **header},
    }


def _download(
    hub: Hub, actor: Actor, repo: Repository, thing: _Object, sizes: dict[str, int]
) -> dict[str, Any]:
    size = sizes.get(thing.oid)
    if size is None:
        error = {"code": 404, "message": f"The hub does not have {thing.oid} here."}
        return {"oid": thing.oid, "size": thing.size, "error": error}
    href = blob_url(hub, thing.oid, size, file_headers(thing.oid))
    if href is None:
        href = _address(hub, _DOWNLOAD, actor, repo, thing.oid, size)
    return {"oid": thing.oid, "size": size, "actions": {"download": {"href": href}}}


def _address(
    hub: Hub,
    purpose: str,
    actor: Actor,
    repo: Repository,
    sha256: str,
    size: int,
    *,
    folder: str = "",
    **more: int,
) -> str:
    claims = {**claims_of(actor), "repo": repo.id, "sha256": sha256, "size": size, **more}
    permit, _ = sign(hub.secret, purpose, claims, hub.settings.upload_token_ttl)
    return f"{hub.settings.url}/v1/lfs/{folder}{permit}"


def _held(hub: Hub, repo: Repository, names: list[str], *, touch: bool) -> dict[str, int]:
    """Sizes of those blobs that the repository may refer to and that are stored."""
    sizes: dict[str, int] = {}
    with hub.session() as session:
        for start in range(0, len(names), 500):
            rows = session.execute(
                select(Blob.sha256, Blob.size)
                .join(BlobGrant, BlobGrant.sha256 == Blob.sha256)
                .where(
                    BlobGrant.repository_id == repo.id,
                    Blob.sha256.in_(names[start : start + 500]),
                )
            )
            sizes.update((sha256, size) for sha256, size in rows)
    if not touch:
        return sizes
    # What a client does not send must be there; what is lost is sent again, and healed by it.
    return {
        sha256: size
        for sha256, size in hub.blobs.touch_all(sizes).items()
        if hub.blobs.present(sha256)
    }


def _check(hub: Hub, user: Actor, kind: str, full_name: str, body: _Object) -> JSONResponse:
    repo = hub.repositories.get(user, kind, full_name, "repo.propose")
    if _held(hub, repo, [body.oid], touch=True).get(body.oid) != body.size:
        raise NotFound(f"The {body.size} bytes of sha256 {body.oid[:64]} have not arrived.")
    return JSONResponse({}, media_type=MEDIA_TYPE)
