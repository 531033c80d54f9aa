# SPDX-License-Identifier: Apache-2.0
"""A file as git holds it: of a large file, the pointer."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from plait.api.context import Caller, HubOf
from plait.api.downloads import file_headers, send_bytes
from plait.api.routing import FilePath, Name, Namespace, Revision, Type
from plait.hub import Actor, Hub

router = APIRouter(tags=["files"])


@router.head(
    "/{kind:prefix}/{namespace}/{name}/raw/{revision}/{path:path}", include_in_schema=False
)
@router.get("/{kind:prefix}/{namespace}/{name}/raw/{revision}/{path:path}", response_class=Response)
def raw(
    request: Request,
    hub: HubOf,
    actor: Caller,
    kind: Type,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    path: FilePath,
) -> Response:
    """Send what git holds of a file of a data set or space."""
    return _raw(request, hub, actor, kind, f"{namespace}/{name}", revision, path)


@router.head("/{namespace}/{name}/raw/{revision}/{path:path}", include_in_schema=False)
@router.get("/{namespace}/{name}/raw/{revision}/{path:path}", response_class=Response)
def raw_of_model(
    request: Request,
    hub: HubOf,
    actor: Caller,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    path: FilePath,
) -> Response:
    """Send what git holds of a file of a model."""
    return _raw(request, hub, actor, "model", f"{namespace}/{name}", revision, path)


def _raw(
    request: Request, hub: Hub, actor: Actor, kind: str, full_name: str, revision: str, path: str
) -> Response:
    repo = hub.repositories.get(actor, kind, full_name, "repo.files")
    oid = hub.git.resolve(repo, revision)
    data = hub.git.read(repo, oid, path)
    entry = hub.git.entry(repo, oid, path)
    headers = {
        **file_headers(path),
        "ETag": f'"{entry.oid}"',
        "X-Repo-Commit": oid,
        "Cache-Control": "private, no-cache" if repo.private else "no-cache",
        "Vary": "Authorization, Cookie",
    }
    if entry.lfs is not None:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    return send_bytes(request, data, headers)
