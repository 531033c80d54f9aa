# SPDX-License-Identifier: Apache-2.0
"""Candidates: which pairs are worth a look, out of all that there could be.

Three keys: rare n-grams of names, rare values, and neighbours that are the same already. No key may
make more than a bounded number of pairs: what half of the entities share says nothing, and would
make a million pairs to say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sparse

KEY_PAIRS = 400
"""Pairs that one value may make."""
GRAM_PAIRS = 2e8
"""Products of postings that the n-grams may cost together; the rarest are taken first."""
HUB_PAIRS = 60_000
"""Pairs that two equal neighbours may propose."""
CHUNK = 2_000

Pairs = np.ndarray
"""Pairs of places as one number each, sorted, without repetition: left · right's size + right."""


def by_grams(
    left: sparse.csr_matrix, right: sparse.csr_matrix, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each text of either side the `most` nearest of the other by rare n-grams."""
    cost = np.asarray((left > 0).sum(0)).ravel().astype(float)
    cost *= np.asarray((right > 0).sum(0)).ravel()
    order = np.argsort(cost, kind="stable")
    kept = np.sort(order[np.cumsum(cost[order]) <= GRAM_PAIRS])
    left, right = left[:, kept].tocsr(), right[:, kept].tocsr()
    a, b = _nearest(left, right, most)
    d, c = _nearest(right, left, most)
    return np.concatenate([a, c]), np.concatenate([b, d])


def _nearest(
    left: sparse.csr_matrix, right: sparse.csr_matrix, most: int
) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = [], []
    turned = right.T.tocsr()
    for start in range(0, left.shape[0], CHUNK):
        found = (left[start : start + CHUNK] @ turned).tocsr()
        row, column = best_of_rows(found, most)
        rows.append(row + start)
        columns.append(column)
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(rows), np.concatenate(columns)


def best_of_rows(matrix: sparse.csr_matrix, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the `most` largest cells of each row."""
    rows, columns = [], []
    for row in range(matrix.shape[0]):
        start, end = matrix.indptr[row], matrix.indptr[row + 1]
        if end - start > most:
            held = np.argpartition(-matrix.data[start:end], most)[:most] + start
        else:
            held = np.arange(start, end)
        rows.append(np.full(len(held), row))
        columns.append(matrix.indices[held])
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(rows).astype(np.int64), np.concatenate(columns).astype(np.int64)


def by_values(
    left: Iterable[tuple[str, int]], right: Iterable[tuple[str, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of entities that share a value, of values that make at most `KEY_PAIRS`."""
    postings: tuple[dict[str, set[int]], dict[str, set[int]]] = ({}, {})
    for held, side in zip(postings, (left, right), strict=True):
        for value, entity in side:
            held.setdefault(value, set()).add(entity)
    rows: list[int] = []
    columns: list[int] = []
    for value, ours in postings[0].items():
        theirs = postings[1].get(value, set())
        if 0 < len(ours) * len(theirs) <= KEY_PAIRS:
            for one in sorted(ours):
                rows.extend([one] * len(theirs))
                columns.extend(sorted(theirs))
    return np.array(rows, np.int64), np.array(columns, np.int64)


def by_neighbours(
    relations: Sequence[tuple[sparse.csr_matrix, sparse.csr_matrix]],
    same: sparse.csr_matrix,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs whose neighbours are the same, the best `most` of each entity.

    Args:
        relations: of each relation its adjacency in both graphs, each entity's neighbours a row.
        same: how sure it is that the neighbours are the same.
    """
    rows, columns = [], []
    cells = same.tocoo()
    for left, right in relations:
        # How many entities the neighbour has on either side: pairs that it would make.
        ours = np.asarray((left > 0).sum(0)).ravel()
        theirs = np.asarray((right > 0).sum(0)).ravel()
        kept = ours[cells.row] * theirs[cells.col] <= HUB_PAIRS
        if not kept.any():
            continue
        seen = sparse.csr_matrix(
            (cells.data[kept], (cells.row[kept], cells.col[kept])), shape=same.shape
        )
        turned = right.T.tocsr()
        for start in range(0, left.shape[0], CHUNK):
            found = (left[start : start + CHUNK] @ seen @ turned).tocsr()
            row, column = best_of_rows(found, most)
            rows.append(row + start)
            columns.append(column)
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(rows), np.concatenate(columns)
