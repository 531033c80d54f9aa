# SPDX-License-Identifier: Apache-2.0
"""Temperatures that make members' probabilities honest (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np

from plait.fusion.outputs.items import Floats, Integers, Outputs

LOWEST, HIGHEST = 0.05, 20.0


def temperatures(outputs: Outputs) -> Floats:
    """Return what to divide each member's logits by [members], so that the loss is least."""
    found = []
    for rows, present in zip(outputs.logs, outputs.present.T, strict=True):
        found.append(temperature(rows[present], outputs.labels[present]))
    return np.array(found)


def temperature(logs: Floats, labels: Integers) -> float:
    """Return the temperature with the least negative log-likelihood of the labels.

    In the inverse temperature the loss is convex, so that the least one is found by bisecting its
    slope. 1 where there is nothing to learn from.

    Args:
        logs: logarithms of probabilities [n, classes].
        labels: [n].
    """
    if not len(labels):
        return 1.0
    true = logs[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        scaled = inverse * logs
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return float(((shares * logs).sum(axis=1) - true).mean())

    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(low) >= 0:
        return HIGHEST
    if slope(high) <= 0:
        return LOWEST
    for _ in range(60):
        middle = (low + high) / 2
        if slope(middle) > 0:
            high = middle
        else:
            low = middle
    return 2 / (low + high)


def log_loss(logs: Floats, labels: Integers) -> float:
    """Return the mean negative log-likelihood of labels [n] under logs [n, classes]."""
    return float(-logs[np.arange(len(labels)), labels].mean())
