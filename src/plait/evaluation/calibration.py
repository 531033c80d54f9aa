# SPDX-License-Identifier: Apache-2.0
"""Whether a classifier's probabilities are what they say: of items given 0.8, 80% should be right.

Expected calibration error in bins of equal width (Guo et al., "On Calibration of Modern Neural
Networks", arXiv:1706.04599) and of equal mass (adaptive: Nixon et al., "Measuring Calibration in
Deep Learning", arXiv:1904.01685), over the confidence in the class that was chosen; Brier's score
over all classes (Brier 1950), the negative log-likelihood, and Guo et al.'s single temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.metrics import Floats
from plait.evaluation.results import TaskResult

BINS = 15
LEAST = 1e-12
"""A probability below this counts as this much in the likelihood."""


@dataclass(frozen=True)
class Bin:
    """One row of the reliability table."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy are apart; of all but the table less is better."""

    ece: float
    adaptive_ece: float
    brier: float
    nll: float
    bins: tuple[Bin, ...]
    temperature: float | None = None
    """The temperature that these probabilities were softened by."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        data: dict[str, Any] = {
            "ece": self.ece,
            "adaptive_ece": self.adaptive_ece,
            "brier": self.brier,
            "nll": self.nll,
            "bins": [[one.low, one.high, one.n, one.confidence, one.accuracy] for one in self.bins],
        }
        return data if self.temperature is None else data | {"temperature": self.temperature}


def calibration(result: TaskResult, *, bins: int = BINS) -> Calibration:
    """Measure a classifier's calibration from what it made of each item.

    Raises:
        BadInput: if the task is no classification, or its items were kept without confidences.
    """
    items = result.items
    if not result.type.endswith("classification") or result.type == "token-classification":
        raise BadInput(f"Calibration is of classification; the task is of type {result.type}.")
    if any(item.confidence is None or item.brier is None for item in items):
        raise BadInput("These items were kept without their confidence; evaluate the model again.")
    confidence = np.array([item.confidence for item in items])
    right = np.array([item.label == item.predicted for item in items])
    given = np.array([item.probability for item in items])
    brier = float(np.mean([item.brier for item in items]))
    return _measure(confidence, right, given, brier, bins)


def calibration_of(
    probabilities: Floats, labels: NDArray[np.integer[Any]], *, bins: int = BINS
) -> Calibration:
    """Measure the calibration of probabilities [items, classes] against labels [items]."""
    _check(probabilities, labels)
    rows = np.arange(len(labels))
    chosen, wide = probabilities.argmax(axis=1), probabilities.astype(np.float64)
    brier = (wide**2).sum(axis=1) - 2 * wide[rows, labels] + 1
    return _measure(
        wide[rows, chosen], chosen == labels, wide[rows, labels], float(brier.mean()), bins
    )


def calibrated(test: TaskResult, validation: TaskResult, *, bins: int = BINS) -> Calibration:
    """Return the calibration on the test items with a temperature from the validation items.

    Raises:
        BadInput: if the probabilities are not in memory (results read from a file lack them).
    """
    known, asked = (one.kept.get("probabilities") for one in (validation, test))
    if known is None or asked is None:
        raise BadInput("A temperature needs the probabilities; evaluate both splits again.")
    labels = [np.array([item.label for item in one.items]) for one in (validation, test)]
    chosen = temperature(known, labels[0])
    found = calibration_of(tempered(asked, chosen), labels[1], bins=bins)
    return Calibration(
        found.ece, found.adaptive_ece, found.brier, found.nll, found.bins, temperature=chosen
    )


def temperature(probabilities: Floats, labels: NDArray[np.integer[Any]]) -> float:
    """Return the temperature by which softened probabilities make the labels likeliest.

    The likelihood is concave in the inverse temperature: its slope is followed to zero by halving,
    between temperatures of 0.02 and 50.
    """
    _check(probabilities, labels)
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    own = logs[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        scaled = logs * inverse
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return float((own - (weights * logs).sum(axis=1)).mean())

    low, high = np.log(0.02), np.log(50.0)
    for _ in range(60):
        middle = (low + high) / 2
        if slope(float(np.exp(middle))) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def tempered(probabilities: Floats, by: float) -> Floats:
    """Return probabilities softened (above 1) or sharpened (below 1) by a temperature."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / by
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found


def reliability(
    confidence: Floats,
    right: NDArray[np.bool_],
    *,
    weights: Floats | None = None,
    bins: int = BINS,
) -> tuple[tuple[Bin, ...], float]:
    """Return the reliability table in bins of equal width, and the expected calibration error.

    Args:
        confidence: what was said of each item [items], from 0 to 1.
        right: whether it was so [items].
        weights: how many items each stands for [items] (default: one); a bin's `n` is their sum,
            rounded.
        bins: how many.
    """
    held = np.ones(len(confidence)) if weights is None else weights
    edges = np.linspace(0, 1, bins + 1)
    # a bin has its upper edge, as in Guo et al.
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows, ece, total = [], 0.0, float(held.sum())
    for number in range(bins):
        inside = place == number
        n = float(held[inside].sum())
        sure = float(np.average(confidence[inside], weights=held[inside])) if n else 0.0
        share = float(np.average(right[inside], weights=held[inside])) if n else 0.0
        rows.append(Bin(float(edges[number]), float(edges[number + 1]), round(n), sure, share))
        ece += n / total * abs(sure - share)
    return tuple(rows), ece


def _measure(
    confidence: Floats, right: NDArray[np.bool_], given: Floats, brier: float, bins: int
) -> Calibration:
    rows, ece = reliability(confidence, right, bins=bins)
    total = len(confidence)
    order = np.argsort(confidence, kind="stable")
    adaptive = 0.0
    for part in np.array_split(order, min(bins, total)):
        apart = abs(float(confidence[part].mean()) - float(right[part].mean()))
        adaptive += len(part) / total * apart
    nll = float(-np.log(np.maximum(given, LEAST)).mean())
    return Calibration(ece, adaptive, brier, nll, rows)


def _check(probabilities: Floats, labels: NDArray[np.integer[Any]]) -> None:
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or len(labels) == 0:
        raise BadInput(
            f"Probabilities of shape {list(probabilities.shape)} do not belong to {len(labels)} "
            "labels; there must be a row for each, and one at least."
        )
    if not np.isfinite(probabilities).all():
        raise BadInput("The probabilities have values that are not numbers (NaN).")
