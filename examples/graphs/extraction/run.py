# SPDX-License-Identifier: Apache-2.0
"""Read encyclopaedic sentences into the united graph of countries, and score what was read.

Prints every command of ``plait graph`` that it runs. Everything is written into `work/`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from plait.demo.data import encoder_folder
from plait.demo.graph_example import Example
from plait.demo.graph_reading import (
    MEANINGS,
    SENTENCES,
    Meanings,
    country_codes,
    score_linked,
    united_countries,
)
from plait.demo.graphs import countries
from plait.graphs.read.examples import read_marked
from plait.graphs.read.extract import Reader, Text
from plait.graphs.read.facts import symmetric
from plait.graphs.read.teaching import load_tagger
from plait.graphs.storage import write_graph

HERE = Path(__file__).parent
SETTINGS = {
    "minilm": ("--sentences", "1600", "--epochs", "3"),
    "tiny": ("--sentences", "4000", "--epochs", "6", "--learning-rate", "1e-3", "--all-weights",
             "--patience", "3"),
}  # fmt: skip


def main() -> None:
    """Unite the graphs, teach a tagger, read the sentences, score them by what they mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", choices=sorted(SETTINGS), default="minilm")
    name = parser.parse_args().encoder
    example = Example(HERE / "work")
    pair = countries()
    graph = united_countries(pair)
    write_graph(graph, example.folder / "countries")
    written = read_marked(SENTENCES, symmetric(graph.file))
    (example.folder / "sentences.txt").write_text("\n\n".join(one.text for one in written))
    example.plait("graph", "verbalise", "countries", "--count", "6")
    example.plait(
        "graph", "train-tagger", "countries", str(encoder_folder(name)), "-o", "tagger",
        *SETTINGS[name], "--written", str(SENTENCES), show=70,
    )  # fmt: skip
    example.plait(
        "graph", "extract", "countries", "sentences.txt", "--model", "tagger", "-o", "read",
        "--least", "0.2", show=40,
    )  # fmt: skip
    example.plait("graph", "merge", "countries", "read", "-o", "extended", show=6)
    found = Reader(graph, load_tagger(example.folder / "tagger")).read(
        [Text(str(place), one.text) for place, one in enumerate(written)]
    )
    meanings = Meanings.read(MEANINGS, country_codes(pair))
    scores = score_linked(graph, written, found.statements, meanings)
    print("\nWith countries and values in place of words:", json.dumps(scores.to_json()))


if __name__ == "__main__":
    main()
