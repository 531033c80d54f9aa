# SPDX-License-Identifier: Apache-2.0
"""Metrics of classification, computed from counts that add up over groups of items.

Every metric here is a function of three counts per class: how many items have it (`true`), how many
were given it (`predicted`) and how many of these rightly (`hits`). Counts add up, so that a
bootstrap resample is a weighted sum of its groups' counts and never touches single items. The same
three counts, of entities by their type, give the metrics of token classification.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


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
    return ratio(hits.sum(-1), true.sum(-1))


def balanced_accuracy(table: Floats) -> Floats:
    """Return the mean over the classes of the share found, from counts [..., 3, classes].

    Classes without an item (a resample may have lost one) are left out of the mean.
    """
    true, _, hits = _parts(table)
    present = true > 0
    return ratio((ratio(hits, true) * present).sum(-1), present.sum(-1))


def macro_f1(table: Floats) -> Floats:
    """Return the mean over the classes of F1, from counts [..., 3, classes].

    Classes that no item has and no item was given are left out of the mean.
    """
    true, predicted, hits = _parts(table)
    both = true + predicted
    return ratio(ratio(2 * hits, both).sum(-1), (both > 0).sum(-1))


def micro_precision(table: Floats) -> Floats:
    """Return the share of what was given that is right, over all classes."""
    _, predicted, hits = _parts(table)
    return ratio(hits.sum(-1), predicted.sum(-1))


def micro_recall(table: Floats) -> Floats:
    """Return the share of what there is that was found, over all classes."""
    true, _, hits = _parts(table)
    return ratio(hits.sum(-1), true.sum(-1))


def micro_f1(table: Floats) -> Floats:
    """Return the harmonic mean of precision and recall over all classes."""
    true, predicted, hits = _parts(table)
    return ratio(2 * hits.sum(-1), (true + predicted).sum(-1))


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide; what is divided by zero is zero."""
    top = np.asarray(top, dtype=np.float64)
    return np.divide(top, bottom, out=np.zeros_like(top), where=np.asarray(bottom) > 0)


def _parts(table: Floats) -> tuple[Floats, Floats, Floats]:
    return table[..., 0, :], table[..., 1, :], table[..., 2, :]
