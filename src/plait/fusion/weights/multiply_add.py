# SPDX-License-Identifier: Apache-2.0
"""Weighted sums of float32 by fused multiply-adds: one rounding for each model.

BLAS multiplies a row of two weights by two rows of numbers with the processor's fused multiply-add,
at a tenth of what numpy takes to get there by way of float64. Its kernels differ between processors
and nothing promises the order in which they add, so they are asked once in each process whether
they give a true fused multiply-add; where they do not, it is worked out in float64.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from plait.fusion.weights.numbers import Array

_LENGTHS = (2, 3, 5, 8, 13, 16, 31, 32, 67, 1037, 16_391)
_MIDDLE, _BELOW = np.int64(1 << 28), np.int64((1 << 29) - 1)  # of float64's bits below float32's
_TINY = float(np.finfo(np.float32).tiny)

SPARE = 2
"""Rows that a sum needs beside those of the models."""


def weighted_sum(rows: Array, weights: Array, out: Array) -> None:
    """Add up rows times weights, in order: a product, then fused multiply-adds.

    Args:
        rows: float32 of shape (`SPARE` + models, size), contiguous along the second axis; the first
            `SPARE` rows are overwritten.
        weights: float32 of shape (models,).
        out: float32 of shape (size,), none of the rows.
    """
    models = len(weights)
    sums = [rows[place] for place in range(SPARE)]
    now = out if models == 1 else sums[0]
    np.multiply(rows[SPARE], weights[0], out=now)
    fused = models > 1 and out.size > 1 and blas_fuses()  # a single number goes another way
    for place in range(1, models):
        after = out if place == models - 1 else sums[place % SPARE]
        if fused:
            first, last = (place - 1) % SPARE, SPARE + place
            pair = rows[first : last + 1 : last - first]
            np.matmul(np.array([1, weights[place]], np.float32), pair, out=after)
        else:
            multiply_add(rows[SPARE + place], weights[place], now, out=after)
        now = after


def multiply_add(values: Array, factor: np.float32, addend: Array, *, out: Array) -> None:
    """Write `values * factor + addend`, rounded once, into `out`; all are float32.

    The product of two float32 is exact in float64, and rounding its sum again to float32 goes wrong
    only where the sum, itself rounded, lies in the middle between two float32, or where float32 has
    fewer digits. There the sum is rounded to odd (Boldo and Melquiond 2008, Emulation of FMA and
    correctly rounded sums, doi:10.1109/TC.2007.70819).
    """
    product = np.multiply(values, np.float64(factor), dtype=np.float64)
    total = np.add(product, addend, dtype=np.float64)
    unsure = (total.view(np.int64) & _BELOW) == _MIDDLE
    unsure |= np.abs(total) < _TINY
    places = np.flatnonzero(unsure)
    if places.size:
        total[places] = _odd_sum(product[places], addend[places].astype(np.float64))
    np.copyto(out, total, casting="same_kind")


def _odd_sum(one: Array, other: Array) -> Array:
    """Return sums in float64 whose last bit is set where they are not exact."""
    total = one + other
    part = total - one
    missing = (one - (total - part)) + (other - part)  # exact: Knuth's two-sum
    bits = total.view(np.int64)
    step = np.where((missing > 0) == (total > 0), 1, -1)
    bits += np.where((missing != 0) & (bits & 1 == 0), step, 0)
    return total


@cache
def blas_fuses() -> bool:
    """Tell whether numpy's BLAS gives true fused multiply-adds on this processor."""
    draw = np.random.default_rng(20)
    for length in _LENGTHS:
        pair = draw.standard_normal((2, length + 16)).astype(np.float32)[:, :length]
        for factor in draw.standard_normal(3).astype(np.float32):
            # near the negative of the product, so that nearly every other rounding shows
            pair[0] = -(pair[1] * factor) * (1 + draw.integers(-4, 5, length) * np.float32(2**-12))
            expected, found = np.empty((2, length), np.float32)
            multiply_add(pair[1], factor, pair[0], out=expected)
            np.matmul(np.array([1, factor], np.float32), pair, out=found)
            if not np.array_equal(expected, found):
                return False
    return True
