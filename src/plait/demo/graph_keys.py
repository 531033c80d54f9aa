# SPDX-License-Identifier: Apache-2.0
"""Keys that score an alignment and are themselves wrong in places."""

from __future__ import annotations

from collections import Counter, defaultdict

from plait.demo.graphs import PairOfGraphs
from plait.graphs.graph import Graph


def wrong_keys(pair: PairOfGraphs) -> set[str]:
    """Return the left's subdivisions whose key names another than the one of their name.

    A key is wrong where the country has exactly one subdivision of exactly that name on each side,
    and the key names another.
    """
    (name_l, home_l), (name_r, home_r) = _facts(pair.left), _facts(pair.right)
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


def _facts(graph: Graph) -> tuple[dict[str, str], dict[str, str]]:
    """Return each entity's name in its plainest form, and the country it lies in."""
    from plait.graphs.align.texts import forms

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
