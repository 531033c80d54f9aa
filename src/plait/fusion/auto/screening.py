# SPDX-License-Identifier: Apache-2.0
"""Which candidates are measured on: those that the first documents do not speak against clearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from plait.fusion.search.choosing import gain_between
from plait.fusion.search.folds import FoldedTask, Outcomes, direction, score

STANDARD_ERRORS = 2.0
"""How far below the best a candidate must be, on the same documents, to be dropped."""
FEWEST = 3
"""So many are measured on all documents, however clear it is."""


def dropped(
    outcomes: Mapping[str, Outcomes],
    folded_tasks: Sequence[FoldedTask],
    row: Sequence[int],
    *,
    short: bool,
    seed: int,
) -> dict[str, str]:
    """Return the candidates that need not be measured on, and why.

    Args:
        outcomes: what each made of the documents of a round and those before it.
        folded_tasks: the tasks' documents.
        row: how many documents of each task the round looked at.
        short: whether the budget is too small to measure all of them on: then half are dropped.
        seed: of the bootstrap.
    """
    sign = direction(folded_tasks)
    masks = [np.ones(len(folded), dtype=bool) for folded in folded_tasks]
    scores = {name: sign * score(found, masks, row) for name, found in outcomes.items()}
    ranked = sorted(outcomes, key=lambda name: -scores[name])
    half = max(FEWEST, -(-len(ranked) // 2))
    tables = {
        name: [found.table(place, stop) for place, stop in enumerate(row)]
        for name, found in outcomes.items()
    }
    found = {}
    for place, name in enumerate(ranked[FEWEST:], FEWEST):
        said = f"it scored {sign * scores[name]:.3f} on the first documents of each task"
        if short and place >= half:
            found[name] = f"{said}, and half of the methods more"
            continue
        best = ranked[0]
        gain = gain_between(folded_tasks, tables[best], tables[name], STANDARD_ERRORS, seed)
        if gain.clear:
            found[name] = f"{said}, clearly less than {best} ({sign * scores[best]:.3f})"
    return found
