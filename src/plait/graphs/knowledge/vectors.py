# SPDX-License-Identifier: Apache-2.0
"""Embeddings of what is known of a graph: none of the test's statements is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plait.graphs.knowledge.questions import Material
from plait.graphs.learn.embeddings import Embeddings
from plait.graphs.learn.training import Options, Progress, embed
from plait.graphs.learn.triples import Triples, split
from plait.recipes.graph import GraphFile

SHARES = (0.05, 0.05)
"""Held out for early stopping and for the embeddings' own figures."""


def vectors_of(
    held: Material,
    file: GraphFile,
    options: Options,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Embeddings:
    """Train embeddings on the known statements.

    Raises:
        BadInput: nothing can be held out for early stopping.
        Cancelled: if `cancelled` says so.
        MissingExtra: PyKEEN is not installed.
    """
    used = np.unique(held.known[:, [0, 2]])
    kinds = np.unique(held.known[:, 1])
    rows = np.stack(
        [
            np.searchsorted(used, held.known[:, 0]),
            np.searchsorted(kinds, held.known[:, 1]),
            np.searchsorted(used, held.known[:, 2]),
        ],
        axis=1,
    )
    found = Triples(
        tuple(held.entities[one] for one in used.tolist()),
        tuple(held.relations[one] for one in kinds.tolist()),
        rows,
        ((),) * len(rows),
        {},
    )
    parts = split(found, file, shares=SHARES, seed=options.seed)
    return embed(found, parts, options, progress=progress, cancelled=cancelled)
