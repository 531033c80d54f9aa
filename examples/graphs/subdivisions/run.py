# SPDX-License-Identifier: Apache-2.0
"""Find which subdivisions of two lists are the same, and which codes of theirs are wrong.

Prints every command of ``plait graph`` that it runs. Everything is written into `work/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from plait.demo.graph_example import Example, write_pair
from plait.demo.graph_keys import wrong_keys
from plait.demo.graphs import subdivisions

HERE = Path(__file__).parent


def main() -> None:
    """Fetch both graphs, then align and score, with wrong codes and without."""
    example = Example(HERE / "work")
    pair = subdivisions()
    web, iso = write_pair(pair, HERE / "graph.yaml", example.folder, "web", "iso")
    example.plait("graph", "align", web, iso, "-o", "united", "--ask", "5", show=12)
    example.score(pair, "united")
    aside = wrong_keys(pair)
    example.score(pair, "united", without=aside)
    example.plait("graph", "check", "united", "--shapes", str(HERE / "shapes.ttl"))
    example.plait("graph", "export", "united", "subdivisions.gexf", "--view")


if __name__ == "__main__":
    sys.exit(main())
