# SPDX-License-Identifier: Apache-2.0
"""What a commit holds: its weights, by hash, and its lineage; read without a tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from plait.collaboration.merging.changes import ADAPTER, files, weight_files
from plait.collaboration.merging.plan import State
from plait.errors import BadInput
from plait.hub import Hub, Repository
from plait.hub.git.store import TreeEntry
from plait.lineage import FILE as LINEAGE
from plait.lineage import Origin, parse_lineage


def state_at(
    hub: Hub, repo: Repository, oid: str, before: Mapping[str, TreeEntry] | None = None
) -> State:
    """Read the weights and lineage at a commit; a lineage that cannot be read is none.

    Where no whole model lies, a LoRA adapter's two files are the weights.

    ``before``: the files that a pull request's commit on a whole model started from.
    """
    entries = files(hub, repo, oid)
    weights = weight_files(entries, lambda path: hub.git.read(repo, oid, path), before)
    if not weights and before is None:
        weights = adapter_at(hub, repo, oid, entries)
    lineage = None
    if LINEAGE in entries:
        try:
            lineage = parse_lineage(hub.git.read(repo, oid, LINEAGE))
        except BadInput:
            lineage = None
    return State(Origin(repo.full_name, oid, weights), lineage)


def adapter_at(
    hub: Hub, repo: Repository, oid: str, entries: Mapping[str, TreeEntry] | None = None
) -> dict[str, str]:
    """Return the SHA-256 of the two files of a commit's LoRA adapter; empty without one."""
    found = files(hub, repo, oid) if entries is None else entries
    if not all(path in found for path in ADAPTER):
        return {}
    pointers = {path: found[path].lfs for path in ADAPTER}
    return {
        path: pointer.sha256
        if pointer is not None
        else hashlib.sha256(hub.git.read(repo, oid, path)).hexdigest()
        for path, pointer in pointers.items()
    }
