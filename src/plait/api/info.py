# SPDX-License-Identifier: Apache-2.0
"""Describing one repository, at main or at a revision."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from plait.api.context import Caller, HubOf, Readable
from plait.api.properties import DETAILS, Teller, Told, check_expand
from plait.api.routing import FilePath, Revision
from plait.api.security import repository_status
from plait.errors import BadInput, EntryNotFound, TooLarge
from plait.hub import Actor, Hub
from plait.hub.database import Repository
from plait.hub.repositories import facts
from plait.hub.repositories.headers import MAX_TENSORS

router = APIRouter(tags=["repositories"])

Expand = Annotated[list[str] | None, Query(description="Only these properties.")]
Blobs = Annotated[bool, Query(description="With sizes and ids of the files.")]
Security = Annotated[bool, Query(description="With what the scanners said.")]


@router.get("/api/{kind:type}/{namespace}/{name}")
def describe(
    request: Request,
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    blobs: Blobs = False,
    securityStatus: Security = False,  # noqa: N803
    expand: Expand = None,
) -> JSONResponse:
    """Describe a repository at main."""
    return _describe(request, hub, actor, repo, "main", blobs, securityStatus, expand)


@router.get("/api/{kind:type}/{namespace}/{name}/revision/{revision}")
def describe_revision(
    request: Request,
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    blobs: Blobs = False,
    securityStatus: Security = False,  # noqa: N803
    expand: Expand = None,
) -> JSONResponse:
    """Describe a repository at a revision."""
    return _describe(request, hub, actor, repo, revision, blobs, securityStatus, expand)


@router.get("/api/{kind:type}/{namespace}/{name}/safetensors-metadata/{path:path}")
def weights(hub: HubOf, actor: Caller, repo: Readable, path: FilePath) -> dict[str, Any]:
    """Send the headers of all shards that an index at main names, or of one safetensors file."""
    hub.repositories.require(actor, repo, "repo.files")
    oid = hub.git.resolve(repo, "main")
    files = facts.Files(hub, repo, oid)
    if path not in files.names:
        raise EntryNotFound(f"There is no file '{path[:200]}' in '{repo.full_name}'.", commit=oid)
    index: dict[str, Any] = {}
    shards = [path]
    if path.endswith(".json"):
        index = files.json(path, facts.MAX_INDEX)
        folder = path.rpartition("/")[0]
        shards = [f"{folder}/{name}" if folder else name for name in facts.shards_of(index)]
    headers: dict[str, Any] = {}
    tensors = 0
    for shard in shards[: facts.MAX_SHARDS]:
        header = facts.read_header(files, shard)
        if header is None:
            raise BadInput(f"'{shard[:200]}' is not a whole safetensors file.")
        tensors += len(header)
        if tensors > MAX_TENSORS:
            raise TooLarge(f"The shards hold more than {MAX_TENSORS} tensors. Read each header.")
        headers[shard.rpartition("/")[2] if index else shard] = header
    if not headers:
        raise BadInput(f"'{path[:200]}' names no safetensors files.")
    metadata = index.get("metadata")
    return {
        "index": {"metadata": metadata if isinstance(metadata, dict) else {}},
        "headers": headers,
        "sharded": bool(index),
    }


def _describe(
    request: Request,
    hub: Hub,
    actor: Actor,
    repo: Repository,
    revision: str,
    blobs: bool,
    security: bool,
    expand: list[str] | None,
) -> JSONResponse:
    expanded = [*(expand or []), *request.query_params.getlist("expand[]")]
    names = check_expand(repo.type, expanded) if expanded else list(DETAILS[repo.type])
    oid = hub.git.resolve(repo, revision)
    if oid == repo.head:
        told = Told.at_main(repo, blobs=blobs)
    else:
        found = facts.read(hub, repo, oid, repo.facts)
        moment = hub.git.commit_info(repo, oid).date
        told = Told(repo, oid, found.card, found.facts, moment, blobs)
    row = Teller(hub, actor).rows([told], names)[0]
    if not expanded and "model-index" not in row and repo.type == "model":
        row["model-index"] = None
    if security:
        row["securityRepoStatus"] = repository_status(hub.scans.of_revision(actor, repo, oid))
    return JSONResponse(row)
