# SPDX-License-Identifier: Apache-2.0
"""Unite countries by their own names with countries by English ones, and score it by hidden codes.

Prints every command of ``plait graph`` that it runs. Everything is written into `work/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from plait.demo.graph_example import Example, write_pair
from plait.demo.graphs import countries

HERE = Path(__file__).parent


def main() -> None:
    """Fetch both graphs, then align, merge, check, ask and export."""
    example = Example(HERE / "work")
    pair = countries()
    native, english = write_pair(pair, HERE / "graph.yaml", example.folder, "native", "english")
    example.plait("graph", "align", native, english, "-o", "united", "--ask", "3")
    example.score(pair, "united")
    example.plait("graph", "check", "united", "--shapes", str(HERE / "shapes.ttl"))
    example.plait("graph", "merge", "united", "-o", "merged", show=8)
    question = (
        'MATCH (a:Entity {name: "Germany"})-[:borders]->(b:Entity) '
        "RETURN DISTINCT b.name AS neighbour ORDER BY neighbour"
    )
    example.plait("graph", "query", "united", question)
    example.plait("graph", "export", "united", "countries.gexf", "--view")


if __name__ == "__main__":
    sys.exit(main())
