# SPDX-License-Identifier: Apache-2.0
"""What a model or data set was made from, in the forms that others read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from plait.api.context import Caller, HubOf
from plait.api.routing import Name, Namespace, Revision
from plait.cards import read_head
from plait.collaboration.provenance import data_lineage
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.hub import Hub, Repository
from plait.licences.cards import stated_licence
from plait.lineage import FILE, export, parse_lineage
from plait.lineage.models import Subject

router = APIRouter(tags=["lineage"])


Form = Annotated[Literal["cyclonedx", "prov", "spdx"], Query()]


@router.get("/api/plait/models/{namespace}/{name}/lineage/{revision}")
def export_lineage(
    hub: HubOf,
    actor: Caller,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    format: Form = "cyclonedx",
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
    subject = Subject(repo.full_name, oid, hub.settings.url, _licence(hub, repo, oid))
    return export(lineage, subject, format)


@router.get("/api/plait/datasets/{namespace}/{name}/lineage/{revision}")
def export_data_lineage(
    hub: HubOf,
    actor: Caller,
    namespace: Namespace,
    name: Name,
    revision: Revision,
    format: Form = "cyclonedx",
) -> dict[str, Any]:
    """Show what a data set's revision was merged from, in the same forms."""
    repo = hub.repositories.get(actor, "dataset", f"{namespace}/{name}", "repo.files")
    oid = hub.git.resolve(repo, revision)
    lineage = data_lineage(hub, repo, oid)
    if lineage is None:
        raise NotFound(f"No pull request was merged into '{repo.full_name}' at {revision}.")
    licence = _licence(hub, repo, oid)
    return export(
        lineage, Subject(repo.full_name, oid, hub.settings.url, licence, "dataset"), format
    )


def _licence(hub: Hub, repo: Repository, oid: str) -> str | None:
    try:
        return stated_licence(
            read_head(hub.git.read(repo, oid, "README.md").decode("utf-8", "replace"))
        )
    except (EntryNotFound, BadInput):
        return None
