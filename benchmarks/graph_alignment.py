# SPDX-License-Identifier: Apache-2.0
"""Aligning real graphs whose key is hidden, against exact names and n-grams alone.

Countries by their own names and by GeoNames' English ones; subdivisions by two lists whose codes
disagree in places. Keys that name another region than the one region of the same country with
exactly that name are set aside in a row of their own. Ties are averaged, intervals are 95%
bootstrap intervals over the key's entities. Writes ``benchmarks/results/graph-alignment.json``.
"""

from __future__ import annotations

import json
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from plait.demo.graphs import PairOfGraphs, countries, subdivisions
from plait.graphs.align import Scores, align, score
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


def wrong_keys(pair: PairOfGraphs) -> set[str]:
    """Return the left entities whose key is not the one region of that name in that country."""

    def facts(graph: Graph) -> tuple[dict[str, str], dict[str, str]]:
        name = {
            row["id"]: forms(row["labels"][0]["text"])[-1] if row["labels"] else ""
            for row in graph.entities.to_pylist()
        }
        home = {
            row["subject"]: row["object"]
            for row in graph.statements.to_pylist()
            if row["predicate"] == "country"
        }
        return name, home

    (name_l, home_l), (name_r, home_r) = facts(pair.left), facts(pair.right)
    same: dict[str, str] = {}
    for (ours, theirs), _ in Counter(
        (home_l[a], home_r[b]) for a, b in pair.gold.items()
    ).most_common():
        same.setdefault(ours, theirs)
    by_name: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one, country in home_r.items():
        by_name[country, name_r[one]].append(one)
    twice = Counter((home_l[one], name_l[one]) for one in pair.gold)
    found = set()
    for one, key in pair.gold.items():
        held = by_name[same[home_l[one]], name_l[one]]
        alone = len(held) == 1 and twice[home_l[one], name_l[one]] == 1
        if alone and held[0] != key:
            found.add(one)
    return found


def main() -> None:
    """Measure, print and write."""
    rows: list[dict[str, Any]] = []
    sets = {"countries": countries(), "subdivisions": subdivisions()}
    for name, pair in sets.items():
        aside = wrong_keys(pair) if name == "subdivisions" else set()
        keys = {name: dict(pair.gold)}
        if aside:
            kept = {one: key for one, key in pair.gold.items() if one not in aside}
            keys[f"{name}, {len(aside)} keys set aside"] = kept
        for method in ("Plait", "n-grams of names", "exact names"):
            started = time.process_time()
            ranked, matches = (
                plait(pair) if method == "Plait" else names(pair, exact=method == "exact names")
            )
            spent = time.process_time() - started
            for title, gold in keys.items():
                found = score(ranked, matches, gold)
                rows.append({"set": title, "method": method, "cpu_seconds": round(spent, 1),
                             **asdict(found)})  # fmt: skip
                say(title, method, found, spent)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    RESULT.write_text(
        json.dumps({"benchmark": "graph-alignment", "peak_mb": memory, "rows": rows}, indent=1)
        + "\n"
    )


def say(title: str, method: str, found: Scores, spent: float) -> None:
    """Print a row."""
    hits = found.hits_at_1
    print(
        f"{title:<36} {method:<18} Hits@1 {hits.value:.3f} [{hits.low:.3f}, {hits.high:.3f}]  "
        f"P {found.precision.value:.3f} R {found.recall.value:.3f} F1 {found.f1.value:.3f}  "
        f"abstained {found.abstained:.3f}  {spent:.1f} CPU s"
    )


if __name__ == "__main__":
    main()
