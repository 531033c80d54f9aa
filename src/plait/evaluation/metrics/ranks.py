# SPDX-License-Identifier: Apache-2.0
"""Metrics of rankings, from the ranks of what is relevant to one query.

Where scores tie, what is less relevant comes first: a model that scores all alike finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plait.evaluation.metrics.counts import Floats, Integers
from plait.recipes.tasks import metric_family


def ranks(scores: Floats, relevant: Integers, grades: Floats) -> tuple[Integers, Floats]:
    """Return the ranks (from 1) of the relevant among all scores, ascending, and their grades.

    ``relevant`` are places in ``scores``, with as many ``grades``, all above zero.
    """
    theirs = scores[relevant]
    order = np.lexsort((grades, -theirs))
    theirs, grades = theirs[order], grades[order]
    ahead = np.array([np.count_nonzero(scores >= one) for one in theirs])
    own = np.array([np.count_nonzero(theirs >= one) for one in theirs])
    return ahead - own + np.arange(1, len(theirs) + 1), grades


def ranking_score(name: str, found: Integers, grades: Floats) -> float:
    """Return a metric of one query, from the ranks of what is relevant and their grades."""
    family, cutoff = metric_family(name)
    if family == "mrr":
        return float(1.0 / found[0])
    if family == "map":
        return float(np.mean(np.arange(1, len(found) + 1) / found))
    assert cutoff is not None, "checked where the metric is read"
    within = found <= cutoff
    if family == "recall@k":
        return float(np.count_nonzero(within) / len(found))
    gain = float((grades[within] / np.log2(found[within] + 1)).sum())
    best = np.sort(grades)[::-1][:cutoff]
    ideal = float((best / np.log2(np.arange(2, len(best) + 2))).sum())
    return gain / ideal


def names_for(metric: str, *, corpus: bool) -> tuple[str, ...]:
    """Return the metrics that are told of every ranking (or search of a corpus), with its own."""
    usual = ("ndcg@10", "recall@1", *(("recall@10", "recall@100") if corpus else ()), "mrr", "map")
    return tuple(dict.fromkeys((metric, *usual)))


def query_values(
    names: Sequence[str], scores: Floats, relevant: Integers, grades: Floats
) -> tuple[float, ...]:
    """Return the metrics of one query."""
    found, sorted_grades = ranks(scores, relevant, grades)
    return tuple(ranking_score(name, found, sorted_grades) for name in names)
