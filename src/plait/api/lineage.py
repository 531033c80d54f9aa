# SPDX-License-Identifier: Apache-2.0
"""What a model was made from, in the forms that others read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from plait.api.context import Caller, HubOf
from plait.api.routing import Name, Namespace, Revision
from plait.cards import read_head
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.licences.cards import stated_licence
from plait.lineage import FILE, export, parse_lineage
from plait.lineage.models import Subject

router = APIRouter(tags=["lineage"])


@router.get("/api/plait/models/{namespace}/{name}/lineage/{revision}")
def export_lineage(
    hub: HubOf,
    actor: Caller,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    format: Annotated[Literal["cyclonedx", "prov", "spdx"], Query()] = "cyclonedx",
) -> dict[str, Any]:
    """Show a revision's lineage as a CycloneDX ML-BOM, as W3C PROV or as SPDX."""
    repo = hub.repositories.get(actor, "model", f"{namespace}/{name}", "repo.files")
    oid = hub.git.resolve(repo, revision)
    try:
        lineage = parse_lineage(hub.git.read(repo, oid, FILE))
    except EntryNotFound:
        raise NotFound(
            f"'{repo.full_name}' has no {FILE} at {revision}: it was not fused by merging."
        ) from None
    try:
        stated = read_head(hub.git.read(repo, oid, "README.md").decode("utf-8", "replace"))
        licence = stated_licence(stated)
    except (EntryNotFound, BadInput):
        licence = None
    subject = Subject(repo.full_name, oid, hub.settings.url, licence)
    return export(lineage, subject, format)
