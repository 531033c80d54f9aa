# SPDX-License-Identifier: Apache-2.0
"""Extend MovieLens' films by what WordNet knows of their genres, with a person's answers.

Prints every command of ``plait graph`` that it runs. Everything is written into `work/`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from plait.demo.graph_example import Example
from plait.demo.graph_movies import genres, kinds_of_works, movies
from plait.graphs.graph import make
from plait.graphs.identity import claim
from plait.graphs.storage import write_graph

HERE = Path(__file__).parent


def main() -> None:
    """Fetch both graphs, align the genres, add the answers, merge and ask."""
    example = Example(HERE / "work")
    films = movies()
    write_graph(films, example.folder / "films")
    write_graph(genres(films), example.folder / "genres")
    write_graph(kinds_of_works(example.folder / "wordnet"), example.folder / "works")
    example.plait("graph", "align", "genres", "works", "-o", "matched", "--ask", "8")
    with (HERE / "answers.csv").open(encoding="utf-8") as lines:
        answers = [
            claim(
                row["genre"],
                row["synset"],
                "same" if row["same"] == "yes" else "different",
                source="person:editor",
                explanation=row["reason"],
            )
            for row in csv.DictReader(lines)
        ]
    write_graph(make(films.file, identities=answers), example.folder / "answers")
    example.plait("graph", "merge", "films", "matched", "answers", "-o", "extended")
    question = (
        "MATCH (f:Entity)-[:genre]->(g:Entity)-[:hypernym]->(k:Entity) "
        "RETURN g.name AS genre, k.name AS kind, count(DISTINCT f) AS films ORDER BY films DESC"
    )
    example.plait("graph", "query", "extended", question)
    example.plait("graph", "export", "extended", "films.gexf", "--view")


if __name__ == "__main__":
    sys.exit(main())
