# SPDX-License-Identifier: Apache-2.0
"""Loading, merging and asking a million statements: Plait beside three engines used directly.

Two halves that share a fifth of the statements are loaded from tables, united, stored, and asked
four questions. Each engine runs in a process of its own, several times, the engines in turns;
answers are compared, and medians told with the least and the most. Writes
``benchmarks/results/graph-store.json``.

What an engine keeps differs: Plait keeps source, confidence, rank and evidence of each statement
and checks every row; Ladybug and NetworkX are given predicate, source and confidence as properties;
Oxigraph has a named graph for each source and no confidence.
"""

from __future__ import annotations

import argparse
import csv
import json
import pickle
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from graph_lookup import PREDICATES, drawn

RESULT = Path(__file__).parent / "results" / "graph-store.json"
ENGINES = ("Plait", "Ladybug", "Oxigraph", "NetworkX")
COLUMNS = ("id", "subject", "predicate", "object", "source", "confidence")
ASKED = 1_000
FAR = 100
Steps = dict[str, dict[str, float]]


def prepare(folder: Path, statements: int) -> dict[str, int]:
    """Write two halves that share a fifth of a drawn graph, in what each engine reads."""
    graph = drawn(statements)
    rows = list(zip(*(graph.statements.column(one).to_pylist() for one in COLUMNS), strict=True))
    rows.sort()
    shared = len(rows) // 5
    own = (len(rows) - shared) // 2
    halves = {"a": rows[: own + shared], "b": rows[own:]}
    for name, half in halves.items():
        with (folder / f"{name}.csv").open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(COLUMNS)
            writer.writerows(half)
        with (folder / f"{name}.plait.csv").open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(COLUMNS[1:])
            writer.writerows(row[1:] for row in half)
        with (folder / f"{name}.nq").open("w") as quads:
            for _, subject, predicate, target, source, _ in half:
                predicate = predicate.replace(" ", "%20")
                quads.write(f"<urn:{subject}> <urn:{predicate}> <urn:{target}> <urn:{source}> .\n")
    return {"statements": len(rows), "entities": graph.entities.num_rows,
            **{name: len(half) for name, half in halves.items()}}  # fmt: skip


class Clock:
    """Takes the time of steps."""

    def __init__(self) -> None:
        self.steps: Steps = {}

    def step(self, name: str, run: Callable[[], Any]) -> Any:
        """Run a step and keep how long it took, with what its processes took."""
        wall, cpu = time.perf_counter(), _cpu()
        found = run()
        self.steps[name] = {
            "seconds": round(time.perf_counter() - wall, 2),
            "cpu_seconds": round(_cpu() - cpu, 2),
        }
        return found


def _cpu() -> float:
    used = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def size_of(path: Path) -> int:
    """Return the bytes of a file or of a folder's files."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(one.stat().st_size for one in files if one.is_file())


def near() -> list[str]:
    """Return the entities whose neighbours are asked for."""
    return [f"e{7 * number}" for number in range(ASKED)]


def plait(folder: Path, out: Path, clock: Clock) -> tuple[dict[str, Any], int]:
    """Use Plait as its command line does."""
    from plait.graphs.exchange import import_graph
    from plait.graphs.merging import merge
    from plait.graphs.query import Limits, ask_embedded
    from plait.graphs.query.projection import ensure
    from plait.graphs.storage import write_graph

    halves = clock.step(
        "load",
        lambda: [
            import_graph(folder / f"{name}.plait.csv", source=name).graph for name in ("a", "b")
        ],
    )
    graph = clock.step("merge", lambda: merge(None, halves).graph)
    clock.step("store", lambda: write_graph(graph, out / "graph"))
    database = clock.step("copy for Cypher", lambda: ensure(lambda: graph, out / "copy", "graph"))
    limits = Limits(seconds=600, rows=1_000_000, memory=4 * 2**30)

    def ask(query: str, **parameters: Any) -> list[Any]:
        return list(ask_embedded(database, query, parameters, limits).rows)

    answers = {
        "predicates": clock.step(
            "count by predicate",
            lambda: {
                str(row[0]): row[1] for row in ask("MATCH ()-[r]->() RETURN label(r), count(*)")
            },
        ),
        "sources": clock.step(
            "count by source",
            lambda: {
                str(row[0]): row[1] for row in ask("MATCH ()-[r]->() RETURN r.source, count(*)")
            },
        ),
        "near": clock.step(
            f"neighbours of {ASKED:,}",
            lambda: sum(
                row[0]
                for row in ask(
                    "MATCH (a:Entity)-[]->(b:Entity) WHERE a.id IN $ids "
                    "RETURN count(DISTINCT b.id), a.id",
                    ids=near(),
                )
            ),
        ),
        "far": clock.step(
            f"two steps from {FAR}",
            lambda: sum(
                row[0]
                for row in ask(
                    "MATCH (a:Entity)-[:`relation 3`]->(:Entity)-[:`relation 3`]->(c:Entity) "
                    "WHERE a.id IN $ids RETURN count(DISTINCT c.id), a.id",
                    ids=near()[:FAR],
                )
            ),
        ),
    }
    clock.steps["copy for Cypher"]["bytes"] = size_of(out / "copy")
    return answers, size_of(out / "graph" / "graph")


def ladybug(folder: Path, out: Path, clock: Clock) -> tuple[dict[str, Any], int]:
    """Use Ladybug with a table of nodes and one of relationships for each predicate.

    One table whose predicate is a property gives wrong answers to two steps (Ladybug 0.22.0).
    """
    import ladybug as lb

    database = lb.Database(str(out / "graph.lbug"))
    connection = lb.Connection(database, num_threads=1)

    def rows(name: str) -> list[list[str]]:
        with (folder / f"{name}.csv").open(newline="") as table:
            return list(csv.reader(table))[1:]

    def copy(held: list[list[str]]) -> None:
        import pyarrow as pa

        parts: dict[str, list[list[str]]] = {}
        for row in held:
            parts.setdefault(row[2], []).append(row)
        for predicate, part in parts.items():
            keys, froms, _, to, sources, confidences = zip(*part, strict=True)
            table = pa.table(
                {"from": froms, "to": to, "id": keys, "source": sources,
                 "confidence": pa.array(map(float, confidences))}
            )  # fmt: skip
            connection.execute(f"COPY `{predicate}` FROM $rows", {"rows": table})

    def load() -> list[list[str]]:
        import pyarrow as pa

        connection.execute("CREATE NODE TABLE E(id STRING PRIMARY KEY)")
        for predicate in PREDICATES:
            connection.execute(
                f"CREATE REL TABLE `{predicate}`(FROM E TO E, id STRING, source STRING, "
                "confidence DOUBLE)"
            )
        first, second = rows("a"), rows("b")
        named = sorted({row[place] for half in (first, second) for row in half for place in (1, 3)})
        connection.execute("COPY E FROM $rows", {"rows": pa.table({"id": named})})
        copy(first)
        return second

    def merge(second: list[list[str]]) -> None:
        found = connection.execute("MATCH ()-[r]->() RETURN r.id")
        known = set()
        while found.has_next():
            known.add(found.get_next()[0])
        copy([row for row in second if row[0] not in known])

    second = clock.step("load", load)
    clock.step("merge", lambda: merge(second))
    clock.step("store", lambda: connection.execute("CHECKPOINT"))

    def ask(query: str, **parameters: Any) -> list[Any]:
        result = connection.execute(query, parameters or None)
        held = []
        while result.has_next():
            held.append(result.get_next())
        return held

    answers = {
        "predicates": clock.step(
            "count by predicate",
            lambda: dict(ask("MATCH ()-[r]->() RETURN label(r), count(*)")),
        ),
        "sources": clock.step(
            "count by source", lambda: dict(ask("MATCH ()-[r]->() RETURN r.source, count(*)"))
        ),
        "near": clock.step(
            f"neighbours of {ASKED:,}",
            lambda: sum(
                row[0]
                for row in ask(
                    "MATCH (a:E)-[]->(b:E) WHERE a.id IN $ids RETURN count(DISTINCT b.id), a.id",
                    ids=near(),
                )
            ),
        ),
        "far": clock.step(
            f"two steps from {FAR}",
            lambda: sum(
                row[0]
                for row in ask(
                    "MATCH (a:E)-[:`relation 3`]->(:E)-[:`relation 3`]->(c:E) WHERE a.id IN $ids "
                    "RETURN count(DISTINCT c.id), a.id",
                    ids=near()[:FAR],
                )
            ),
        ),
    }
    connection.close()
    database.close()
    return answers, size_of(out)


def oxigraph(folder: Path, out: Path, clock: Clock) -> tuple[dict[str, Any], int]:
    """Use Oxigraph's store on disk; loading a statement twice keeps one."""
    import pyoxigraph as ox

    store = ox.Store(str(out / "store"))

    def load(name: str) -> None:
        store.bulk_load(path=str(folder / f"{name}.nq"), format=ox.RdfFormat.N_QUADS)

    clock.step("load", lambda: load("a"))
    clock.step("merge", lambda: load("b"))

    def write() -> None:
        store.flush()
        store.optimize()

    clock.step("store", write)

    def ask(query: str) -> list[Any]:
        return list(store.query(query))

    def name(term: Any) -> str:
        return str(term.value).removeprefix("urn:").replace("%20", " ")

    def values(count: int) -> str:
        return " ".join(f"<urn:{one}>" for one in near()[:count])

    answers = {
        "predicates": clock.step(
            "count by predicate",
            lambda: {
                name(one[0]): int(one[1].value)
                for one in ask("SELECT ?p (COUNT(*) AS ?n) { GRAPH ?g { ?s ?p ?o } } GROUP BY ?p")
            },
        ),
        "sources": clock.step(
            "count by source",
            lambda: {
                name(one[0]): int(one[1].value)
                for one in ask("SELECT ?g (COUNT(*) AS ?n) { GRAPH ?g { ?s ?p ?o } } GROUP BY ?g")
            },
        ),
        "near": clock.step(
            f"neighbours of {ASKED:,}",
            lambda: sum(
                int(one[1].value)
                for one in ask(
                    f"SELECT ?s (COUNT(DISTINCT ?o) AS ?n) {{ VALUES ?s {{ {values(ASKED)} }} "
                    "GRAPH ?g { ?s ?p ?o } } GROUP BY ?s"
                )
            ),
        ),
        "far": clock.step(
            f"two steps from {FAR}",
            lambda: sum(
                int(one[1].value)
                for one in ask(
                    f"SELECT ?s (COUNT(DISTINCT ?o) AS ?n) {{ VALUES ?s {{ {values(FAR)} }} "
                    "GRAPH ?g { ?s <urn:relation%203> ?m } "
                    "GRAPH ?h { ?m <urn:relation%203> ?o } } GROUP BY ?s"
                )
            ),
        ),
    }
    store.flush()
    return answers, size_of(out)


def networkx(folder: Path, out: Path, clock: Clock) -> tuple[dict[str, Any], int]:
    """Use NetworkX's multigraph in memory, a statement's identifier as its key."""
    import networkx as nx

    def load(name: str) -> Any:
        graph = nx.MultiDiGraph()
        with (folder / f"{name}.csv").open(newline="") as table:
            rows = csv.reader(table)
            next(rows)
            graph.add_edges_from(
                (subject, target, key,
                 {"predicate": predicate, "source": source, "confidence": float(confidence)})
                for key, subject, predicate, target, source, confidence in rows
            )  # fmt: skip
        return graph

    halves = clock.step("load", lambda: [load("a"), load("b")])
    graph = clock.step("merge", lambda: nx.compose(*halves))

    def write() -> None:
        with (out / "graph.pickle").open("wb") as file:
            pickle.dump(graph, file, pickle.HIGHEST_PROTOCOL)

    clock.step("store", write)

    def step(nodes: set[str]) -> set[str]:
        return {
            to
            for one in nodes
            if one in graph
            for _, to, data in graph.out_edges(one, data=True)
            if data["predicate"] == "relation 3"
        }

    answers = {
        "predicates": clock.step(
            "count by predicate",
            lambda: dict(Counter(data["predicate"] for *_, data in graph.edges(data=True))),
        ),
        "sources": clock.step(
            "count by source",
            lambda: dict(Counter(data["source"] for *_, data in graph.edges(data=True))),
        ),
        "near": clock.step(
            f"neighbours of {ASKED:,}",
            lambda: sum(len(graph.adj[one]) for one in near() if one in graph),
        ),
        "far": clock.step(
            f"two steps from {FAR}",
            lambda: sum(len(step(step({one}))) for one in near()[:FAR]),
        ),
    }
    return answers, size_of(out)


def run(engine: str, folder: Path) -> dict[str, Any]:
    """Measure one engine in this process."""
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        answers, size = globals()[engine.lower()](folder, Path(out), clock)
    status = Path("/proc/self/status").read_text().split()
    # `ru_maxrss` of this process would begin at what the process that started it had.
    peak = int(status[status.index("VmHWM:") + 1])
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "engine": engine,
        "answers": answers,
        "steps": clock.steps,
        "bytes": size,
        "peak_mb": max(peak, children) // 1024,
    }


def together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one row of several runs: of each step's CPU-seconds the median, least and most."""
    steps = {}
    for name in runs[0]["steps"]:
        spent = [run["steps"][name]["cpu_seconds"] for run in runs]
        steps[name] = {
            **runs[0]["steps"][name],
            "seconds": round(statistics.median(run["steps"][name]["seconds"] for run in runs), 2),
            "cpu_seconds": round(statistics.median(spent), 2),
            "cpu_seconds_least": min(spent),
            "cpu_seconds_most": max(spent),
        }
    return {
        "engine": runs[0]["engine"],
        "steps": steps,
        "bytes": runs[0]["bytes"],
        "peak_mb": max(run["peak_mb"] for run in runs),
    }


def _child(command: list[str]) -> Any:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure all engines and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(run(given.engine, given.folder)))
        return
    if given.folder:
        print(json.dumps(prepare(given.folder, given.statements)))
        return
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory() as place:
        # In a process of its own: a child's peak begins at what its parent has.
        command = [sys.executable, __file__, "--folder", place]
        facts = _child([*command, "--statements", str(given.statements)])
        for _ in range(given.repeats):
            for engine in ENGINES:
                row = _child([*command, "--engine", engine])
                runs[engine].append(row)
                print(engine, json.dumps({k: v for k, v in row.items() if k != "answers"}))
    first = runs["Plait"][0]["answers"]
    for engine, held in runs.items():
        for row in held:
            assert row["answers"] == first, f"{engine} says {row['answers']}, Plait {first}"
    assert sum(first["predicates"].values()) == facts["statements"]
    found = {
        "benchmark": "graph-store",
        **facts,
        "repeats": given.repeats,
        "python": platform.python_version(),
        "rows": [together(held) for held in runs.values()],
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
