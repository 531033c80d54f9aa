# SPDX-License-Identifier: Apache-2.0
"""What embeddings have to beat: how often an entity stands in a place of a predicate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.graphs.learn.ranking import Scores
from plait.graphs.learn.triples import Rows


def by_frequency(training: Rows, entities: int, relations: int) -> Scores:
    """Return scores that know no more than how often each entity is tail, or head, of a predicate.

    The frequency over all predicates, divided until it is below one, breaks ties.
    """
    counts = {}
    for side, column in (("tail", 2), ("head", 0)):
        held = np.zeros((relations, entities), dtype=np.float32)
        np.add.at(held, (training[:, 1], training[:, column]), 1)
        overall = held.sum(0)
        counts[side] = held + overall / (overall.max() + 1)

    def scores(rows: Rows, side: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = counts[side][rows[:, 1]]
        return found

    return scores
