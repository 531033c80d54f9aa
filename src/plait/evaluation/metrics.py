# SPDX-License-Identifier: Apache-2.0
"""Metrics of classification, computed from counts that add up over groups of items.

Every metric here is a function of three counts per class: how many items have it (`true`), how many
were given it (`predicted`) and how many of these rightly (`hits`). Counts add up, so that a
bootstrap resample is a weighted sum of its groups' counts and never touches single items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Metric = Callable[[Floats], Floats]


def counts(labels: Integers, predicted: Integers, groups: Integers, classes: int) -> Floats:
    """Return the counts of each group, [groups, 3, classes]: true, predicted, hits.

    ``labels``, ``predicted`` and ``groups`` are whole numbers [items], groups from 0 without gaps.
    """
    total = int(groups.max()) + 1 if groups.size else 0
    right = labels == predicted
    parts = [
        np.bincount(where * classes + which, minlength=total * classes).reshape(total, classes)
        for where, which in (
            (groups, labels),
            (groups, predicted),
            (groups[right], labels[right]),
        )
    ]
    return np.stack(parts, axis=1).astype(np.float64)


def accuracy(table: Floats) -> Floats:
    """Return the share of items that were given their class, from counts [..., 3, classes]."""
    true, _, hits = _parts(table)
    return _ratio(hits.sum(-1), true.sum(-1))


def balanced_accuracy(table: Floats) -> Floats:
    """Return the mean over the classes of the share found, from counts [..., 3, classes].

    Classes without an item (a resample may have lost one) are left out of the mean.
    """
    true, _, hits = _parts(table)
    present = true > 0
    return _ratio((_ratio(hits, true) * present).sum(-1), present.sum(-1))


def macro_f1(table: Floats) -> Floats:
    """Return the mean over the classes of F1, from counts [..., 3, classes].

    Classes that no item has and no item was given are left out of the mean.
    """
    true, predicted, hits = _parts(table)
    both = true + predicted
    return _ratio(_ratio(2 * hits, both).sum(-1), (both > 0).sum(-1))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
}


def metric(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        BadInput: if there is none of that name.
    """
    try:
        return METRICS[name]
    except KeyError:
        known = ", ".join(METRICS)
        raise BadInput(f"There is no metric '{name}'; use one of {known}.") from None


def _parts(table: Floats) -> tuple[Floats, Floats, Floats]:
    return table[..., 0, :], table[..., 1, :], table[..., 2, :]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    top = np.asarray(top, dtype=np.float64)
    return np.divide(top, bottom, out=np.zeros_like(top), where=np.asarray(bottom) > 0)
