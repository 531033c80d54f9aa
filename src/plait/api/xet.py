# SPDX-License-Identifier: Apache-2.0
"""Xet, by which every current client uploads large files and reads them back.

A token to write is for one repository, ref and user; a token to read for one repository, commit
and user. Both end soon, and what their user may do is looked up anew at every request. Whoever may
read a file is told which parts of which xorbs it is made of; each part has a signed address that
opens these bytes of that xorb, for some time, and nothing beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from plait.api.bodies import Body, consume
from plait.api.context import Caller, HubOf, Readable, User, actor_of, bearer, claims_of
from plait.api.downloads import wanted_range
from plait.api.routing import Revision
from plait.api.signing import sign, verify
from plait.errors import Forbidden, NotFound, RepositoryNotFound
from plait.hub import Actor, Hub
from plait.hub.database import Blob, Repository
from plait.hub.xet.plain import cut, serialise
from plait.hub.xet.reconstruction import Reconstruction, reconstruct
from plait.hub.xet.shard import MAX_SHARD

Address = Callable[[str, int, int], str]
"""Makes the address of a xorb's bytes from one place to another."""

router = APIRouter(tags=["uploads"])

_PURPOSE = "xet-write"
_READ = "xet-read"
_FETCH = "xet-fetch"


@router.get("/api/{kind:type}/{namespace}/{name}/xet-write-token/{revision}")
def write_token(
    hub: HubOf, user: User, repo: Readable, revision: Revision, create_pr: bool = False
) -> JSONResponse:
    """Give a short-lived token for uploading to this repository."""
    # For a pull request to come, clients say "None": only the commit names the branch.
    revision = "main" if create_pr else revision
    hub.commits.may_commit(user, repo, revision, create_pr)
    claims = {**claims_of(user), "repo": repo.id, "ref": revision}
    return _token(hub, user, _PURPOSE, claims)


@router.get("/api/{kind:type}/{namespace}/{name}/xet-read-token/{revision}")
def read_token(hub: HubOf, actor: Caller, repo: Readable, revision: Revision) -> JSONResponse:
    """Give a short-lived token for reading this repository's large files at a revision."""
    hub.repositories.require(actor, repo, "repo.files")
    commit = hub.git.resolve(repo, revision)
    return _token(hub, actor, _READ, {**claims_of(actor), "repo": repo.id, "commit": commit})


def _token(hub: Hub, actor: Actor, purpose: str, claims: dict[str, Any]) -> JSONResponse:
    token, end = sign(hub.secret, purpose, claims, hub.settings.upload_token_ttl)
    address = f"{hub.settings.url}/v1/xet/{hub.xet.realm(actor)}"
    return JSONResponse(
        {"accessToken": token, "exp": end, "casUrl": address},
        headers={
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(end),
            "X-Xet-Cas-Url": address,
            "Cache-Control": "no-store",
        },
    )


@dataclass(frozen=True)
class _Upload:
    actor: Actor
    repo: Repository


def _upload(request: Request, hub: HubOf) -> _Upload:
    """Check the token, and that its user may still contribute to the repository."""
    claims = verify(hub.secret, _PURPOSE, bearer(request))
    actor = actor_of(hub, claims)
    request.state.actor = actor
    repo = hub.repositories.by_id(claims["repo"])
    if repo is None:
        raise RepositoryNotFound("The repository of this upload is gone.")
    hub.repositories.require(actor, repo, "repo.propose")
    return _Upload(actor, repo)


Upload = Annotated[_Upload, Depends(_upload)]


@router.post("/v1/xet/{realm}/v1/xorbs/{prefix}/{digest}")
async def add_xorb(
    request: Request, hub: HubOf, upload: Upload, realm: str, prefix: str, digest: str
) -> dict[str, bool]:
    """Take a xorb."""

    def work(body: Body) -> bool:
        return hub.xet.add_xorb(upload.actor, digest, body)

    inserted = await consume(request, hub.settings.max_xorb, "A xorb", work)
    return {"was_inserted": inserted}


@router.post("/v1/xet/{realm}/v1/shards")
async def add_shard(request: Request, hub: HubOf, upload: Upload, realm: str) -> dict[str, Any]:
    """Take a shard and put the files together that it describes."""

    def work(body: Body) -> int:
        return hub.xet.add_shard(upload.actor, upload.repo, body)

    await consume(request, MAX_SHARD, "A shard", work)
    return {"result": 1}


@router.get("/v1/xet/{realm}/v1/reconstructions/{digest}")
def reconstruction(request: Request, hub: HubOf, realm: str, digest: str) -> JSONResponse:
    """Say which parts of which xorbs make a file, or a range of its bytes."""
    claims = verify(hub.secret, _READ, bearer(request))
    actor = actor_of(hub, claims)
    request.state.actor = actor
    repo = hub.repositories.by_id(claims["repo"])
    if repo is None:
        raise RepositoryNotFound("The repository of this token is gone.")
    hub.repositories.require(actor, repo, "repo.files")
    header = request.headers.get("range")
    try:
        blob, terms = hub.xet.find(repo, claims["commit"], digest)
        start, stop = _bytes_of(header, blob.size)
        found = reconstruct(terms, hub.xet.store.index, start, stop)
        address: Address = partial(_fetch_url, hub, repo)
    except NotFound:
        blob = hub.xet.find_plain(repo, claims["commit"], digest)
        start, stop = _bytes_of(header, blob.size)
        found, numbers = cut(blob.sha256, blob.size, start, stop)
        address = partial(_plain_url, hub, repo, blob, numbers)
    return JSONResponse(_described(found, address), headers={"Cache-Control": "no-store"})


def _bytes_of(header: str | None, size: int) -> tuple[int, int]:
    part = wanted_range(header, size)
    return (part.start, part.stop) if part else (0, size)


def _described(found: Reconstruction, address: Address) -> dict[str, Any]:
    return {
        "offset_into_first_range": found.offset,
        "terms": [
            {
                "hash": piece.xorb,
                "range": {"start": piece.start, "end": piece.stop},
                "unpacked_length": piece.size,
            }
            for piece in found.pieces
        ],
        "fetch_info": {
            xorb: [
                {
                    "range": {"start": run.start, "end": run.stop},
                    "url": address(xorb, run.first, run.end),
                    "url_range": {"start": run.first, "end": run.end - 1},
                }
                for run in runs
            ]
            for xorb, runs in found.runs.items()
        },
    }


def _fetch_url(hub: Hub, repo: Repository, xorb: str, first: int, end: int) -> str:
    seconds = hub.settings.download_ttl
    if hub.settings.redirect_downloads >= 0:
        url = hub.xet.store.signed_url(xorb, seconds, (first, end))
        if url is not None:
            return url
    claims = {"repo": repo.id, "xorb": xorb, "first": first, "end": end}
    permit, _ = sign(hub.secret, _FETCH, claims, seconds)
    return f"{hub.settings.url}/v1/xet/fetch/{permit}"


def _plain_url(
    hub: Hub, repo: Repository, blob: Blob, numbers: dict[str, int], xorb: str, first: int, end: int
) -> str:
    claims = {
        "repo": repo.id,
        "sha256": blob.sha256,
        "size": blob.size,
        "number": numbers[xorb],
        "first": first,
        "end": end,
    }
    permit, _ = sign(hub.secret, _FETCH, claims, hub.settings.download_ttl)
    return f"{hub.settings.url}/v1/xet/fetch/{permit}"


@router.get("/v1/xet/fetch/{permit}")
def fetch(request: Request, hub: HubOf, permit: str) -> Response:
    """Send those bytes of a xorb that the address is signed for."""
    claims = verify(hub.secret, _FETCH, permit)
    first, end = claims["first"], claims["end"]
    header = request.headers.get("range")
    part = wanted_range(header, end) if header else None
    start, stop = (part.start, part.stop) if part else (first, end)
    if start < first:
        raise Forbidden(f"This address is for the bytes {first}-{end - 1} alone.")
    if hub.repositories.by_id(claims["repo"]) is None:
        raise RepositoryNotFound("The repository of this file is gone.")
    if "sha256" in claims:
        read = partial(hub.blobs.read_range, claims["sha256"])
        pieces = serialise(read, claims["size"], claims["number"], start, stop)
    else:
        try:
            pieces = hub.xet.store.read_bytes(claims["xorb"], start, stop)
        except FileNotFoundError:
            raise NotFound("The bytes are gone. Look the file up again.") from None
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(stop - start),
        "Content-Range": f"bytes {start}-{stop - 1}/*",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(pieces, 206, headers)
