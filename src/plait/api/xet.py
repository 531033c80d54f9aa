# SPDX-License-Identifier: Apache-2.0
"""Xet uploads, which every current client uses for large files and cannot be asked not to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from plait.api.bodies import Body, consume
from plait.api.context import HubOf, Readable, User, actor_of, bearer, claims_of
from plait.api.routing import Revision
from plait.api.signing import sign, verify
from plait.errors import RepositoryNotFound
from plait.hub import Actor
from plait.hub.database import Repository
from plait.hub.xet.shard import MAX_SHARD

router = APIRouter(tags=["uploads"])

_PURPOSE = "xet-write"


@router.get("/api/{kind:type}/{namespace}/{name}/xet-write-token/{revision}")
def write_token(
    hub: HubOf, user: User, repo: Readable, revision: Revision, create_pr: bool = False
) -> JSONResponse:
    """Give a short-lived token for uploading to this repository."""
    hub.commits.may_commit(user, repo, revision, create_pr)
    claims = {**claims_of(user), "repo": repo.id, "ref": revision}
    token, end = sign(hub.secret, _PURPOSE, claims, hub.settings.upload_token_ttl)
    address = f"{hub.settings.url}/v1/xet/{hub.xet.realm(user)}"
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
