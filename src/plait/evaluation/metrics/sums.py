# SPDX-License-Identifier: Apache-2.0
"""Metrics that are functions of sums over items: means, moments, likelihoods, n-grams."""

from __future__ import annotations

import numpy as np

from plait.evaluation.metrics.counts import Floats, ratio

CHRF_ORDER = 6
CHRF_BETA = 2.0


def mean(table: Floats) -> Floats:
    """Return a mean over items, from [..., 2]: the values' sum and their number."""
    return ratio(table[..., 0], table[..., 1])


def pearson(table: Floats) -> Floats:
    """Return Pearson's correlation from the moments [..., 6]: n, x, y, xx, yy, xy.

    It is 0 where one of the two is constant, as it tells nothing then.
    """
    n, x, y, xx, yy, xy = (table[..., k] for k in range(6))
    together = xy * n - x * y
    apart = np.clip(xx * n - x * x, 0, None) * np.clip(yy * n - y * y, 0, None)
    # what rounding leaves of a constant's variance is none
    apart = np.where(apart > 1e-18 * (xx * n) * (yy * n), apart, 0.0)
    return np.clip(ratio(together, np.sqrt(apart)), -1.0, 1.0)


def r2(table: Floats) -> Floats:
    """Return the coefficient of determination from the moments of (target, prediction).

    It is 0 where the targets are constant and not met, 1 where they are met.
    """
    n, x, _, xx, yy, xy = (table[..., k] for k in range(6))
    wrong = np.clip(xx - 2 * xy + yy, 0, None)
    spread = np.clip(xx - ratio(x * x, n), 0, None)
    constant = spread <= 1e-12 * np.maximum(xx, 1e-300)
    share = np.divide(wrong, spread, out=np.ones_like(wrong), where=~constant)
    return np.where(constant & (wrong <= 0), 1.0, 1.0 - share)


def perplexity(table: Floats) -> Floats:
    """Return exp of the mean negative log-likelihood of a token, from [..., 3].

    These are: the sum of negative log-likelihoods in nats, tokens, bytes.
    """
    found: Floats = np.exp(ratio(table[..., 0], table[..., 1]))
    return found


def bits_per_byte(table: Floats) -> Floats:
    """Return the bits that the model needs for a byte of UTF-8, from [..., 3] (as `perplexity`).

    Models with different tokenizers can be compared by it, which by perplexity they cannot.
    """
    found: Floats = ratio(table[..., 0], table[..., 2]) / np.log(2)
    return found


def chrf(table: Floats) -> Floats:
    """Return corpus chrF2 (0 to 1) from counts [..., 3 * 6]: of answer, reference, both, by order.

    As sacreBLEU's chrF without smoothing: the mean over the orders that both have of precision and
    recall, then F with beta 2.
    """
    parts = table.reshape(*table.shape[:-1], CHRF_ORDER, 3)
    answer, reference, both = parts[..., 0], parts[..., 1], parts[..., 2]
    there = (answer > 0) & (reference > 0)
    orders = there.sum(-1)
    precision = ratio((ratio(both, answer) * there).sum(-1), orders)
    recall = ratio((ratio(both, reference) * there).sum(-1), orders)
    factor = CHRF_BETA**2
    return ratio((1 + factor) * precision * recall, factor * precision + recall)
