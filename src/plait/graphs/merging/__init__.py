# SPDX-License-Identifier: Apache-2.0
"""Several graphs over one base made one: rows united, identities resolved, conflicts ranked."""

from plait.graphs.merging.ranking import Conflict, Option, Ranked, rank
from plait.graphs.merging.union import Merged, merge

__all__ = ["Conflict", "Merged", "Option", "Ranked", "merge", "rank"]
