# SPDX-License-Identifier: Apache-2.0
"""Aligning real graphs whose key is hidden, against exact names, n-grams alone, and Splink.

Countries by their own names and by GeoNames' English ones; subdivisions by two lists whose codes
disagree in places. Keys that name another region than the one region of the same country with
exactly that name are set aside in a row of their own. Splink links the same tables in another
interpreter, named by PLAIT_SPLINK_PYTHON; without it, its row is left out. A hundred thousand
cities a side (`graph_cities`), half real and half made, show what size costs; there only Plait and
exact names are run, the others' looking at all pairs being out of the question. Ties are averaged,
intervals are 95% bootstrap intervals over the key's entities. Writes
``benchmarks/results/graph-alignment.json``; ``--pair`` puts one pair's rows among those there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from graph_cities import cities
from plait.demo.graph_keys import wrong_keys
from plait.demo.graphs import PairOfGraphs, countries, subdivisions
from plait.graphs.align import align, score
from plait.graphs.align.sides import joined, side
from plait.graphs.align.texts import Grams, forms
from plait.graphs.graph import Graph

RESULT = Path(__file__).parent / "results" / "graph-alignment.json"
Ranked = Mapping[str, Sequence[tuple[str, float]]]


def plait(pair: PairOfGraphs) -> tuple[Ranked, Mapping[str, str]]:
    """Align as `plait graph align` does."""
    found = align(pair.left, pair.right)
    return found.ranked(), {one.left: one.right for one in found.matches()}


def names(pair: PairOfGraphs, *, exact: bool) -> tuple[Ranked, Mapping[str, str]]:
    """Rank all pairs by their names: equal or not, or by the cosine of n-grams (2 to 4, tf-idf)."""
    left, right = side(pair.left), side(pair.right)
    grams = Grams(left.names, right.names)
    ranked: dict[str, list[tuple[str, float]]] = {}
    best: dict[str, list[tuple[float, str]]] = defaultdict(list)
    columns = np.arange(len(right))
    for place, name in enumerate(left.ids):
        rows = np.full(len(columns), place)
        values = np.zeros(len(columns))
        for a, b, which in joined(left.name_entities, right.name_entities, rows, columns):
            np.maximum.at(values, which, grams.cosine(a, b))
        if exact:
            values = (values > 0.9999).astype(float)
        ranked[name] = list(zip(right.ids, values.tolist(), strict=True))
        top = float(values.max())
        held = [right.ids[int(one)] for one in np.flatnonzero(values == top)]
        if top > 0.5 and len(held) == 1:
            best[held[0]].append((top, name))
    # A match is the best of both sides.
    return ranked, {max(found)[1]: one for one, found in best.items()}


def exactly(pair: PairOfGraphs) -> tuple[Ranked, Mapping[str, str]]:
    """Match names that are equal in their plainest form and that one entity of each side has."""
    sides = []
    for graph in (pair.left, pair.right):
        held: dict[str, list[str]] = defaultdict(list)
        for row in graph.entities.to_pylist():
            held[forms(_main(row))[-1]].append(row["id"])
        sides.append(held)
    ours, theirs = sides
    ranked = {one: [(other, 1.0) for other in theirs.get(name, ())]
              for name, held in ours.items() for one in held}  # fmt: skip
    matches = {
        held[0]: theirs[name][0]
        for name, held in ours.items()
        if len(held) == len(theirs.get(name, ())) == 1
    }
    return ranked, matches


def table(graph: Graph) -> list[dict[str, Any]]:
    """Return a graph's entities as rows: the main name in its plainest form, and the literals.

    A subdivision's country is that country's name.
    """
    rows = {
        row["id"]: {"id": row["id"], "name": forms(_main(row))[-1]}
        for row in graph.entities.to_pylist()
    }
    for row in graph.statements.to_pylist():
        if row["predicate"] == "country":
            rows[row["subject"]]["country"] = rows[row["object"]]["name"]
        elif row["value"] is not None:
            rows[row["subject"]][row["predicate"]] = forms(row["value"])[-1]
    return list(rows.values())


def _main(entity: Mapping[str, Any]) -> str:
    labels = sorted(entity["labels"], key=lambda one: not one["main"])
    return labels[0]["text"] if labels else ""


def splink(pair: PairOfGraphs) -> tuple[Ranked, Mapping[str, str]]:
    """Link the same tables with Splink; a match is the best of both sides from one half on."""
    given = {"left": table(pair.left), "right": table(pair.right)}
    done = subprocess.run(
        [os.environ["PLAIT_SPLINK_PYTHON"], str(Path(__file__).with_name("graph_splink.py"))],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"Splink failed: {done.stderr[-2000:]}")
    ranked: dict[str, list[tuple[str, float]]] = defaultdict(list)
    best: dict[str, tuple[float, str]] = {}
    for a, b, probability in json.loads(done.stdout):
        ranked[a].append((b, probability))
        best[b] = max(best.get(b, (0.0, "")), (probability, a))
    matches = {}
    for a, found in ranked.items():
        b, probability = max(found, key=lambda one: one[1])
        if probability >= 0.5 and best[b][1] == a:
            matches[a] = b
    return ranked, matches


METHODS: dict[str, Callable[[PairOfGraphs], tuple[Ranked, Mapping[str, str]]]] = {
    "Plait": plait,
    "Splink 5": splink,
    "n-grams of names": partial(names, exact=False),
    "exact names": partial(names, exact=True),
}

PAIRS: dict[str, Callable[[], PairOfGraphs]] = {
    "countries": countries,
    "subdivisions": subdivisions,
    "cities": cities,
}
LARGE = {"Plait": plait, "exact names": exactly}
"""What is run on the cities."""


def run(method: str, name: str, size: int) -> dict[str, Any]:
    """Align one pair with one method in this process, and score it."""
    pair = cities(size) if name == "cities" else PAIRS[name]()
    aside = wrong_keys(pair) if name == "subdivisions" else set()
    keys = {name: dict(pair.gold)}
    if aside:
        kept = {one: key for one, key in pair.gold.items() if one not in aside}
        keys[f"{name}, {len(aside)} keys set aside"] = kept
    # What is fetched and read before is no part of aligning, nor of its memory.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = _cpu()
    ranked, matches = (LARGE if name == "cities" else METHODS)[method](pair)
    spent = _cpu() - started
    peak = max(
        resource.getrusage(one).ru_maxrss
        for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    sides = [pair.left.entities.num_rows, pair.right.entities.num_rows]
    return {
        "rows": [
            {"pair": name, "set": title, "method": method, "sides": sides,
             "cpu_seconds": round(spent, 1),
             "peak_mb": peak // 1024, "peak_mb_before": before // 1024,
             **asdict(score(ranked, matches, gold))}
            for title, gold in keys.items()
        ]
    }  # fmt: skip


def _cpu() -> float:
    used = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Measure each method on each pair in a process of its own, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS)
    parser.add_argument("--pair", choices=PAIRS)
    parser.add_argument("--cities", type=int, default=100_000, help="How many a side.")
    given = parser.parse_args()
    if given.method:
        print(json.dumps(run(given.method, given.pair, given.cities)))
        return
    rows: list[dict[str, Any]] = []
    for pair in [given.pair] if given.pair else PAIRS:
        for method in LARGE if pair == "cities" else METHODS:
            if method.startswith("Splink") and not os.environ.get("PLAIT_SPLINK_PYTHON"):
                print("Splink is left out: PLAIT_SPLINK_PYTHON names no interpreter that has it.")
                continue
            done = subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--method",
                    method,
                    "--pair",
                    pair,
                    "--cities",
                    str(given.cities),
                ],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            found = json.loads(done.stdout.splitlines()[-1])["rows"]
            rows += found
            for row in found:
                say(row)
    if given.pair:
        # A row that names no pair was measured before cities were, and is none of them.
        former = json.loads(RESULT.read_text())["rows"]
        rows = [row for row in former if row.get("pair") != given.pair] + rows
    RESULT.write_text(json.dumps({"benchmark": "graph-alignment", "rows": rows}, indent=1) + "\n")


def say(row: Mapping[str, Any]) -> None:
    """Print a row."""
    hits = row["hits_at_1"]
    print(
        f"{row['set']:<36} {row['method']:<18} Hits@1 {hits['value']:.3f} [{hits['low']:.3f}, "
        f"{hits['high']:.3f}]  P {row['precision']['value']:.3f} R {row['recall']['value']:.3f} "
        f"F1 {row['f1']['value']:.3f}  abstained {row['abstained']:.3f}  "
        f"{row['cpu_seconds']:.1f} CPU s, {row['peak_mb']:,} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
