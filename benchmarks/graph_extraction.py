# SPDX-License-Identifier: Apache-2.0
"""How many facts a tagger reads exactly: held-out templates, held-out entities, written sentences.

Taggers learn from sentences made of the united graph of countries and are measured on the three
kinds of test apart; written ones (plait/demo/reading) also with entities and values in
place of words. A dictionary with phrases, which learns nothing, is measured on the same. Settings
were chosen by validation sentences alone. Runs in pieces: ``--encoder tiny --seed 0`` adds one row
to ``benchmarks/results/graph-extraction.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_extraction_tables import confidence_table, scores_table
from plait.demo.data import ENCODERS, encoder_folder
from plait.demo.graph_reading import (
    MEANINGS,
    SENTENCES,
    Meanings,
    country_codes,
    score_linked,
    united_countries,
)
from plait.demo.graphs import countries
from plait.graphs.graph import Graph
from plait.graphs.read.examples import read_marked
from plait.graphs.read.extract import Reader, Statement, Text
from plait.graphs.read.facts import symmetric
from plait.graphs.read.splits import Sizes
from plait.graphs.read.teaching import Lesson, baseline, load_tagger, measure, prepare, teach
from plait.graphs.read.triples import found_in, score_triples, typed_reading
from plait.recipes.extension import LEAST
from plait.training.tagger import TaggerOptions

RESULT = Path(__file__).parent / "results" / "graph-extraction.json"
SENTENCES_OF = {"tiny": 4_000, "minilm": 1_600}
TEST, VALIDATION = 500, 300
OPTIONS: dict[str, dict[str, Any]] = {
    "tiny": {"epochs": 6, "learning_rate": 1e-3, "freeze_embeddings": False, "patience": 3},
    "minilm": {"epochs": 3, "learning_rate": 2e-4, "freeze_embeddings": True},
}
SEEDS = (0, 1, 2)


def main() -> None:
    """Measure what is asked for and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", choices=sorted(ENCODERS), action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="Only print what is measured.")
    asked = parser.parse_args()
    if asked.table:
        rows = json.loads(asked.result.read_text())["rows"]
        print(f"{scores_table(rows)}\n\n{confidence_table(rows)}")
        return
    pair = countries()
    graph = united_countries(pair)
    same = symmetric(graph.file)
    written = read_marked(SENTENCES, same)
    meanings = Meanings.read(MEANINGS, country_codes(pair))
    for seed in asked.seed or SEEDS:
        rows: list[tuple[str, Any, dict[str, Any]]] = []
        for name in asked.encoder or sorted(ENCODERS):
            sizes = Sizes(SENTENCES_OF[name], VALIDATION, TEST)
            lesson = prepare(graph, sizes=sizes, written=written, seed=seed)
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "tagger"
                options = TaggerOptions(**OPTIONS[name], seed=seed, threads=asked.threads)
                taught = teach(lesson, encoder_folder(name), out, options)
                about = {
                    "epochs": list(taught.result.scores),
                    "kept": taught.result.best,
                    "seconds": taught.result.seconds,
                    "cpu_seconds": taught.result.cpu_seconds,
                    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    "sentences": SENTENCES_OF[name],
                }
                rows.append((name, load_tagger(out, asked.threads), about))
        rows += [("patterns", baseline(lesson, graph), {}), ("marks", None, {})]
        made = []
        for name, tagger, about in rows:
            row: dict[str, Any] = {"reader": name, "seed": seed, **about}
            if tagger is None:  # the true tags: what putting triples together loses by itself
                row["splits"] = assembled(lesson)
            else:
                row["splits"] = {
                    part: one.to_json() for part, one in measure(lesson, tagger).items()
                }
                row["linked"], row["read"] = linked(graph, lesson, tagger, meanings)
            made.append(row)
            print(name, seed, {
                part: round(one["triples"]["f1"], 3) for part, one in row["splits"].items()
            }, flush=True)  # fmt: skip
        # read again: another reader may have been measured meanwhile
        held = json.loads(asked.result.read_text()) if asked.result.is_file() else {"rows": []}
        new = {(row["reader"], row["seed"]) for row in made}
        before = [one for one in held["rows"] if (one["reader"], one["seed"]) not in new]
        held["rows"] = before + made
        held |= {
            "sentences": SENTENCES_OF,
            "validation": VALIDATION,
            "test": TEST,
            "options": OPTIONS,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[1],
            "measured": time.strftime("%Y-%m-%d"),
        }
        held["rows"].sort(key=lambda one: (one["reader"], one["seed"]))
        asked.result.write_text(json.dumps(held, indent=1) + "\n")


def assembled(lesson: Lesson) -> dict[str, Any]:
    """Return the scores of triples put together from the true tags."""
    found = {}
    for part, examples in lesson.tests().items():
        readings = [typed_reading(one.tags, one.typed) for one in examples]
        triples = found_in(examples, readings, lesson.phrases, lesson.symmetric, lesson.is_entity)
        scores = score_triples(
            [one.triples for one in examples], triples, [one.group for one in examples]
        )
        found[part] = {"triples": scores.to_json()}
    return found


def linked(
    graph: Graph, lesson: Lesson, tagger: Any, meanings: Meanings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of written sentences with entities and values in place of words, and how
    many statements of each status were read, how many would be proposed, and how many are right.
    """
    extraction = Reader(graph, tagger).read(
        [Text(str(place), one.text) for place, one in enumerate(lesson.written)]
    )

    def scored(statements: Sequence[Statement]) -> Any:
        return score_linked(graph, lesson.written, statements, meanings)

    held = {
        **{name: extraction.of(name) for name in ("known", "new", "contradicts")},
        "proposed": [one for one in extraction.of("new", "contradicts") if one.confidence >= LEAST],
    }
    read = {
        name: {"count": scored(some).found, "right": scored(some).right}
        for name, some in held.items()
    }
    return scored(extraction.statements).to_json(), read


if __name__ == "__main__":
    main()
