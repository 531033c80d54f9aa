# SPDX-License-Identifier: Apache-2.0
"""Knowledge graphs of a hub: copies that are asked, queries, decisions of people."""

from __future__ import annotations

from plait.collaboration.graphs.copies import GraphRevision, copy_of, open_index, revision_of
from plait.collaboration.graphs.queries import ask

__all__ = ["GraphRevision", "ask", "copy_of", "open_index", "revision_of"]
