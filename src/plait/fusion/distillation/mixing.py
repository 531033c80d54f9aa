# SPDX-License-Identifier: Apache-2.0
"""What several teachers say together: pure functions over their log-probabilities.

Arrays are [teachers, texts, classes]; weights broadcast against that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FLOOR = 1e-6


def soften(logs: NDArray[np.floating], temperature: float) -> Floats:
    """Return probabilities at a temperature; above 1 they are flatter (Hinton et al. 2015)."""
    scaled = np.asarray(logs, dtype=np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))


def by_confidence(logs: NDArray[np.floating]) -> Floats:
    """Weigh each teacher on each text by 1 minus its normalised entropy, [teachers, texts, 1].

    A teacher that does not know says all classes alike, and does not count.
    """
    p = soften(logs, 1.0)
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=-1) / np.log(p.shape[-1])
    weights = np.maximum(1.0 - entropy, FLOOR)
    return np.asarray((weights / weights.sum(axis=0))[..., None])


def by_class(logs: NDArray[np.floating], truth: NDArray[np.integer]) -> Floats:
    """Weigh each teacher in each class by its F1 score there on labelled items, [teachers, 1, C].

    One right answer and one wrong are added to every class, so that few items decide little.
    """
    said = logs.argmax(axis=-1)
    scores = np.zeros((len(logs), logs.shape[-1]))
    for label in range(logs.shape[-1]):
        right = ((said == label) & (truth == label)).sum(axis=1) + 1
        named = (said == label).sum(axis=1) + (truth == label).sum() + 4
        scores[:, label] = 2 * right / named
    return np.asarray((scores / scores.sum(axis=0))[:, None, :])


def mix(logs: NDArray[np.floating], weights: Floats, temperature: float) -> Floats:
    """Return the weighted mean of the teachers' softened probabilities, [texts, classes]."""
    mixed = (weights * soften(logs, temperature)).sum(axis=0)
    return np.asarray(mixed / mixed.sum(axis=-1, keepdims=True))


def shares(weights: Floats, teachers: int, texts: int) -> Floats:
    """Return how much each teacher counts on each text, over all classes, [teachers, texts]."""
    spread = np.broadcast_to(weights.mean(axis=-1), (teachers, texts))
    return np.asarray(spread / spread.sum(axis=0))
