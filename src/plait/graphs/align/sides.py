# SPDX-License-Identifier: Apache-2.0
"""One side of an alignment: a graph's entities by place, their names, values, neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sparse

from plait.graphs.align.texts import MAX_NAMES, forms, scripts
from plait.graphs.graph import Graph
from plait.graphs.identity import Identities
from plait.graphs.view import collapsed, truthy
from plait.recipes.graph import ENTITY

MAX_VALUES = 20
"""Values of one entity and predicate that are compared, the first ones in order."""
MAX_JOINED = 2_000_000
"""Pairs of items that are looked at in one go."""
NUMBERS = ("integer", "decimal", "double", "gYear")


@dataclass
class Values:
    """The literals of one predicate: places of entities, sorted, and what they say."""

    entities: np.ndarray
    texts: list[str]
    numbers: np.ndarray
    """NaN where the text is no number."""


@dataclass
class Side:
    """A graph as the alignment sees it: identities taken for true, nothing deprecated."""

    ids: list[str]
    name_entities: np.ndarray
    """Of each name its entity, sorted."""
    names: list[str]
    shown: list[list[str]]
    """Names as they are written, for explanations."""
    scripts: list[frozenset[str]]
    types: list[frozenset[str]]
    values: dict[str, Values] = field(default_factory=dict)
    edges: dict[str, np.ndarray] = field(default_factory=dict)
    """Of each relation its pairs of places."""

    def __len__(self) -> int:
        return len(self.ids)

    def adjacency(self, relation: str, *, back: bool = False, both: bool = False) -> Any:
        """Return a relation as a sparse matrix of zeros and ones, an entity's neighbours a row."""
        pairs = self.edges[relation]
        rows, columns = (pairs[:, 1], pairs[:, 0]) if back else (pairs[:, 0], pairs[:, 1])
        if both:
            rows, columns = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        cells = np.ones(len(rows), np.float32)
        made = sparse.csr_matrix((cells, (rows, columns)), shape=(len(self), len(self)))
        made.data[:] = 1.0
        return made


def side(graph: Graph, identities: Identities | None = None) -> Side:
    """Look at a graph as one side of an alignment."""
    graph = truthy(collapsed(graph, identities))
    ids: list[str] = []
    name_entities: list[int] = []
    names: list[str] = []
    shown: list[list[str]] = []
    types: list[frozenset[str]] = []
    for place, row in enumerate(graph.entities.to_pylist()):
        ids.append(row["id"])
        labels = sorted(row["labels"], key=lambda one: (not one["main"], one["text"]))[:MAX_NAMES]
        texts = [one["text"] for one in labels]
        shown.append(texts)
        types.append(frozenset(row["types"]))
        for form in sorted({form for text in texts for form in forms(text)}):
            name_entities.append(place)
            names.append(form)
    made = Side(
        ids,
        np.array(name_entities, np.int64),
        names,
        shown,
        [scripts(one) for one in shown],
        types,
    )
    places = {identifier: place for place, identifier in enumerate(ids)}
    _statements(made, graph, places)
    return made


def _statements(made: Side, graph: Graph, places: dict[str, int]) -> None:
    literals: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    edges: dict[str, list[tuple[int, int]]] = defaultdict(list)
    columns = ["subject", "predicate", "object", "value", "datatype"]
    for batch in graph.statements.select(columns).to_batches():
        for subject, predicate, target, value, datatype in zip(
            *(batch.column(name).to_pylist() for name in columns), strict=True
        ):
            if datatype == ENTITY:
                edges[predicate].append((places[subject], places[target]))
            else:
                literals[predicate].append((places[subject], value, datatype))
    for predicate, rows in literals.items():
        rows = _first(sorted(rows))
        made.values[predicate] = Values(
            np.array([row[0] for row in rows], np.int64),
            [row[1] for row in rows],
            np.array([_number(row[1], row[2]) for row in rows], np.float64),
        )
    for predicate, pairs in edges.items():
        made.edges[predicate] = np.unique(np.array(pairs, np.int64), axis=0)


def _first(rows: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """Return at most `MAX_VALUES` of each entity: a thousand on each side would be a million."""
    kept = []
    entity, count = -1, 0
    for row in rows:
        count = count + 1 if row[0] == entity else 1
        entity = row[0]
        if count <= MAX_VALUES:
            kept.append(row)
    return kept


def _number(text: str, datatype: str) -> float:
    if datatype not in NUMBERS:
        return float("nan")
    try:
        return float(text.replace("INF", "inf"))
    except ValueError:
        return float("nan")


def joined(
    left: np.ndarray, right: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield all pairs of items that belong to pairs of entities, in parts that fit into memory.

    Args:
        left: of each item of the left its entity, sorted; `right` alike.
        rows: the left entities of the pairs; `columns` their right ones.

    Yields:
        Places of left items, of right items, and of the pair that they belong to.
    """
    start_l, end_l = np.searchsorted(left, rows), np.searchsorted(left, rows, side="right")
    start_r, end_r = np.searchsorted(right, columns), np.searchsorted(right, columns, side="right")
    count_l, count_r = end_l - start_l, end_r - start_r
    counts = count_l * count_r
    parts = np.cumsum(counts) // MAX_JOINED
    begin = 0
    while begin < len(rows):
        end = int(np.searchsorted(parts, parts[begin], side="right"))
        pair = np.repeat(np.arange(begin, end), counts[begin:end])
        if len(pair):
            offset = np.cumsum(counts[begin:end]) - counts[begin:end]
            within = np.arange(len(pair)) - np.repeat(offset, counts[begin:end])
            yield (
                start_l[pair] + within // count_r[pair],
                start_r[pair] + within % count_r[pair],
                pair,
            )
        begin = end
