# SPDX-License-Identifier: Apache-2.0
"""Looking things up in a graph: entities by name, what stands around them, context for a model.

A graph is indexed once, into a file that is only read afterwards and may be thrown away. It holds
the graph as a view: entities that identity claims make one are one.
"""

from __future__ import annotations

from plait.graphs.lookup.build import build_index
from plait.graphs.lookup.context import Context, context_of
from plait.graphs.lookup.index import Entity, Filters, Index, Statement
from plait.graphs.lookup.neighbourhood import Neighbourhood, neighbourhood, subgraph

__all__ = [
    "Context",
    "Entity",
    "Filters",
    "Index",
    "Neighbourhood",
    "Statement",
    "build_index",
    "context_of",
    "neighbourhood",
    "subgraph",
]
