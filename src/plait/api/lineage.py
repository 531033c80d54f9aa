# SPDX-License-Identifier: Apache-2.0
"""What a model or data set was made from, in the forms that others read."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from plait.api.context import Caller, HubOf
from plait.api.routing import Name, Namespace, Revision, Type
from plait.cards import read_head
from plait.collaboration.provenance import lineage_at
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.hub import Hub, Repository
from plait.licences.cards import stated_licence
from plait.lineage import FILE, dump_lineage, export
from plait.lineage.models import Subject

router = APIRouter(tags=["lineage"])


Form = Annotated[Literal["cyclonedx", "prov", "spdx", "json"], Query()]


@router.get("/api/plait/{kind:type}/{namespace}/{name}/lineage/{revision}")
def export_lineage(
    hub: HubOf,
    actor: Caller,
    kind: Type,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    format: Form = "cyclonedx",
) -> dict[str, Any]:
    """Show what a model's or data set's revision was made from.

    As a CycloneDX ML-BOM, as W3C PROV, as SPDX, or (``json``) in the form of ``lineage.json``.
    """
    repo = hub.repositories.get(actor, kind, f"{namespace}/{name}", "repo.files")
    oid = hub.git.resolve(repo, revision)
    lineage = lineage_at(hub, repo, oid)
    if lineage is None:
        raise NotFound(
            f"'{repo.full_name}' has no {FILE} at {revision}: it was not fused by merging."
            if repo.type == "model"
            else f"No pull request was merged into '{repo.full_name}' at {revision}."
        )
    if format == "json":
        return dict(json.loads(dump_lineage(lineage)))
    licence = _licence(hub, repo, oid)
    subject = Subject(repo.full_name, oid, hub.settings.url, licence, repo.type)
    return export(lineage, subject, format)


def _licence(hub: Hub, repo: Repository, oid: str) -> str | None:
    try:
        return stated_licence(
            read_head(hub.git.read(repo, oid, "README.md").decode("utf-8", "replace"))
        )
    except (EntryNotFound, BadInput):
        return None
