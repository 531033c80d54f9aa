# SPDX-License-Identifier: Apache-2.0
"""``plait graph``: knowledge graphs in folders: read, merge, align, ask, write.

Each module holds the commands of one concern; importing it puts them into the group.
"""

from plait.cli.graph import aligning, exchange, learning, merging, querying, reading, teaching
from plait.cli.graph.options import graph

__all__ = [
    "aligning",
    "exchange",
    "graph",
    "learning",
    "merging",
    "querying",
    "reading",
    "teaching",
]
