# SPDX-License-Identifier: Apache-2.0
"""Propose what Freebase leaves out about MovieLens' films: genres, languages, countries, ratings.

Prints every command of ``plait graph`` that it runs. Everything is written into `work/predict/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from plait.demo.graph_example import Example
from plait.demo.graph_movies import movies
from plait.graphs.storage import write_graph

HERE = Path(__file__).parent
RELATIONS = (
    "film.film.genre",
    "film.film.production_companies",
    "film.film.language",
    "film.film.country",
    "film.film.rating",
    "genre",
)
"""Facts of films in one direction: with each predicate's inverse beside it, the answer would be
known, and the casts (40,152 statements) would take longer than all the others."""


def main(model: str = "complex") -> None:
    """Train embeddings, and propose statements."""
    example = Example(HERE / "work" / "predict")
    write_graph(movies(), example.folder / "films")
    chosen = [part for name in RELATIONS for part in ("--relations", name)]
    example.plait(
        "graph", "embed", "films", "-o", "vectors", "--model", model, "--dimension", "64",
        "--epochs", "40", "--every", "4", "--patience", "3", *chosen,
    )  # fmt: skip
    example.plait("graph", "predict", "films", "vectors", "-o", "proposals", *chosen, show=100)
    example.plait("graph", "merge", "films", "proposals", "-o", "extended")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
