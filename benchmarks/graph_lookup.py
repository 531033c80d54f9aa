# SPDX-License-Identifier: Apache-2.0
"""What indexing and looking things up in a graph of a million statements costs.

The graph is drawn at random: heavy-tailed degrees, ten predicates, four sources, names of two
words and a number. Writes ``benchmarks/results/graph-lookup.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plait.graphs.graph import Graph, ordered
from plait.graphs.lookup import Index, context_of, neighbourhood
from plait.graphs.schema import schema, statement_id
from plait.graphs.storage import write_graph
from plait.recipes.graph import GraphFile

PREDICATES = [f"relation {number}" for number in range(10)]
SOURCES = ("a", "b", "c", "d")
REPEATS = 50
RESULT = Path(__file__).parent / "results" / "graph-lookup.json"


def drawn(statements: int, seed: int = 1) -> Graph:
    """Draw a graph with a tenth as many entities as statements."""
    import pyarrow as pa

    chance = random.Random(seed)
    count = max(10, statements // 10)
    names = [f"{_word(chance)} {_word(chance)} {number}" for number in range(count)]
    entities = pa.Table.from_pylist(
        [
            {
                "id": f"e{number}",
                "labels": [{"text": name, "language": "en", "source": "a", "main": True}],
                "types": [f"T{number % 7}"],
                "sources": ["a"],
            }
            for number, name in enumerate(names)
        ],
        schema=schema("entities"),
    )
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < statements:
        row = {
            "subject": f"e{chance.randrange(count)}",
            "predicate": chance.choice(PREDICATES),
            "object": f"e{int(count * chance.random() ** 3)}",
            "datatype": "entity",
            "source": chance.choice(SOURCES),
            "confidence": round(chance.random(), 3),
            "rank": "normal",
            "evidence": [],
        }
        identifier = statement_id(row)
        rows[identifier] = {"id": identifier, **row}
    table = pa.Table.from_pylist(list(rows.values()), schema=schema("statements"))
    empty = {name: schema(name).empty_table() for name in ("identities", "decisions")}
    return Graph(
        ordered("entities", entities), ordered("statements", table), **empty, file=GraphFile()
    )


def _word(chance: random.Random) -> str:
    return "".join(chance.choice("bdfgklmnprstv") + chance.choice("aeiou") for _ in range(3))


def timed(run: Callable[[int], Any]) -> dict[str, float]:
    """Return the median and the 95th percentile of a look-up, in milliseconds."""
    took = []
    for number in range(REPEATS):
        start = time.perf_counter()
        found = run(number)
        took.append(1000 * (time.perf_counter() - start))
        assert found, "nothing was found"
    took.sort()
    return {
        "median_ms": round(statistics.median(took), 2),
        "p95_ms": round(took[int(0.95 * len(took))], 2),
    }


def measure(folder: Path, statements: int) -> dict[str, Any]:
    """Index a graph and look things up in it."""
    graph = drawn(statements)
    write_graph(graph, folder / "graph")
    size = sum(path.stat().st_size for path in (folder / "graph" / "graph").iterdir())
    entities = graph.entities.num_rows
    names = [one[0]["text"] for one in graph.entities.column("labels").slice(0, 500).to_pylist()]
    del graph
    out = folder / "graph.sqlite"
    start = time.perf_counter()
    job = {"kind": "index", "folder": str(folder / "graph"), "out": str(out)}
    subprocess.run(
        [sys.executable, "-m", "plait.graphs.copying"],
        input=json.dumps(job).encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Index.open(out, seconds=600) as index:
        looks = {
            "entity by name": timed(lambda n: index.search(name=names[n])),
            "entities by the beginning of a name": timed(
                lambda n: index.search(prefix=names[n][:3], limit=20)
            ),
            "entities by one letter": timed(lambda n: index.search(prefix=names[n][:1], limit=20)),
            "neighbourhood, 1 step, 200 statements": timed(
                lambda n: neighbourhood(index, index.find([f"e{1000 + n}"]), limit=200)
            ),
            "neighbourhood, 2 steps, 1,000 statements": timed(
                lambda n: neighbourhood(index, index.find([f"e{1000 + n}"]), depth=2, limit=1_000)
            ),
            "context of 2,000 tokens for a question": timed(
                lambda n: context_of(index, f"How is {names[n]} related to {names[n + 1]}?")
            ),
        }
    return {
        "statements": statements,
        "entities": entities,
        "parquet_bytes": size,
        "index_bytes": out.stat().st_size,
        "index_seconds": round(seconds, 1),
        "index_cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "index_peak_bytes": used.ru_maxrss * 1024,
        "looks": looks,
    }


def main() -> None:
    """Measure and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.statements)
    found["python"] = platform.python_version()
    text = json.dumps(found, indent=1)
    RESULT.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
