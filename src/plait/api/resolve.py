# SPDX-License-Identifier: Apache-2.0
"""The bytes of a file at a revision."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from plait.api.context import Caller, HubOf
from plait.api.downloads import file_headers, matches, send_blob, send_bytes
from plait.api.routing import FilePath, Name, Namespace, Revision, Type
from plait.hub import Actor, Hub, Repository
from plait.hub.xet.service import WORTH_XET

router = APIRouter(tags=["files"])


@router.head(
    "/{kind:prefix}/{namespace}/{name}/resolve/{revision}/{path:path}", include_in_schema=False
)
@router.get(
    "/{kind:prefix}/{namespace}/{name}/resolve/{revision}/{path:path}", response_class=Response
)
def resolve(
    request: Request,
    hub: HubOf,
    actor: Caller,
    kind: Type,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    path: FilePath,
) -> Response:
    """Send a file of a data set or space."""
    return _resolve(request, hub, actor, kind, f"{namespace}/{name}", revision, path)


@router.head("/{namespace}/{name}/resolve/{revision}/{path:path}", include_in_schema=False)
@router.get("/{namespace}/{name}/resolve/{revision}/{path:path}", response_class=Response)
def resolve_of_model(
    request: Request,
    hub: HubOf,
    actor: Caller,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    path: FilePath,
) -> Response:
    """Send a file of a model."""
    return _resolve(request, hub, actor, "model", f"{namespace}/{name}", revision, path)


def _resolve(
    request: Request,
    hub: Hub,
    actor: Actor,
    kind: str,
    full_name: str,
    revision: str,
    path: str,
) -> Response:
    repo = hub.repositories.get(actor, kind, full_name, "repo.files")
    oid = hub.git.resolve(repo, revision)
    found = hub.commits.open_file(repo, oid, path)
    stranger = actor.address or (request.client.host if request.client else "")
    hub.popularity.note(repo, path, str(actor.user_id or stranger))
    headers = {
        **file_headers(path),
        "ETag": f'"{found.etag}"',
        "X-Repo-Commit": oid,
        "X-Linked-Size": str(found.size),
        "X-Linked-Etag": f'"{found.etag}"',
        "Cache-Control": "private, no-cache" if repo.private else "no-cache",
        "Vary": "Authorization, Cookie",
    }
    if found.lfs and found.size >= WORTH_XET:
        headers.update(_xet_headers(hub, repo, oid, found.etag))
    if matches(request.headers.get("if-none-match"), found.etag):
        del headers["Content-Type"]
        return Response(status_code=304, headers=headers)
    if found.data is not None:
        return send_bytes(request, found.data, headers)
    return send_blob(request, hub, found.etag, found.size, headers)


def _xet_headers(hub: Hub, repo: Repository, oid: str, sha256: str) -> dict[str, str]:
    """Tell clients that know Xet how to read a file that is made of xorbs."""
    xet_hash = hub.xet.hashes(repo, [sha256]).get(sha256)
    if xet_hash is None:
        return {}
    route = f"{hub.settings.url}/api/{repo.type}s/{repo.full_name}/xet-read-token/{oid}"
    return {
        "X-Xet-Hash": xet_hash,
        "X-Xet-Refresh-Route": route,
        "Link": f'<{route}>; rel="xet-auth"',
    }
