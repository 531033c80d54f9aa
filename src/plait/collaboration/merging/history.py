# SPDX-License-Identifier: Apache-2.0
"""What a repository's main has been: which lineage made the weights of an earlier state."""

from __future__ import annotations

from plait.collaboration.merging.plan import IsAncestor, MadeBy
from plait.collaboration.merging.states import state_at
from plait.errors import PlaitError
from plait.hub import Hub, Repository
from plait.lineage import Lineage, Origin


def made_by(hub: Hub, repo: Repository) -> MadeBy:
    """Return a function that finds the lineage of weights at one of the repository's commits.

    Weights that were not fused here have none, nor have those of a commit that is gone.
    """
    known: dict[str, Lineage | None] = {}

    def find(origin: Origin) -> Lineage | None:
        if origin.revision not in known:
            try:
                found = state_at(hub, repo, origin.revision).fused
            except PlaitError:
                found = None
            known[origin.revision] = found
        return known[origin.revision]

    return find


def is_ancestor(hub: Hub, repo: Repository) -> IsAncestor:
    """Return a function that tells whether a commit is an ancestor of another, or the same."""
    return lambda old, later: hub.git.is_ancestor(repo, old, later)
