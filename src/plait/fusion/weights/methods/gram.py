# SPDX-License-Identifier: Apache-2.0
"""Inner products of a tensor's models, each seen as one long vector, and sums with coefficients.

Methods on the sphere need only these products: what they compute lies in the span of the models,
so one pass finds the products, a little arithmetic on numbers the coefficients, and a second pass
the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from plait.fusion.weights.methods.base import Block, Sweep
from plait.fusion.weights.methods.changes import change
from plait.fusion.weights.numbers import Array

_WIDTH = 4096  # sums that run beside each other in float32 before float64 takes over: each of few
_LEAST, _MOST = 1e-24, 1e24  # sums of squares whose terms float32 holds well enough


def vectors(block: Block) -> list[Array]:
    """Return the vectors that a method is about: changes if there is a base, else the models."""
    if block.base is None:
        return list(block.models)
    return [change(block, place) for place in range(len(block.models))]


def gram(sweep: Sweep) -> Array:
    """Return the matrix of inner products, in float64."""
    count = len(sweep.settings)
    total = np.zeros((count, count))
    for block in sweep.blocks():
        found = vectors(block)
        for i in range(count):
            for j in range(i, count):
                total[i, j] += dot(block, found[i], found[j])
    return np.asarray(total + np.triu(total, 1).T)


def dot(block: Block, one: Array, other: Array) -> float:
    """Return the inner product of two arrays of a block.

    Products and sums of a block's few rows are float32, everything above float64: an error of some
    10⁻⁸, several times as fast as float64 throughout. The order of summation is fixed,
    so threads and machines change nothing.
    """
    if one.dtype == np.float32:
        product = np.multiply(one, other, out=block.scratch("product"))
        whole = product.size - product.size % _WIDTH
        runs = np.add.reduce(product[:whole].reshape(-1, _WIDTH), axis=0)
        found = float(np.add.reduce(runs, dtype=np.float64))
        found += float(np.add.reduce(product[whole:], dtype=np.float64))
        if _LEAST < abs(found) < _MOST:
            return found
    wide = block.spare("wide", np.dtype(np.float64))[: one.size]
    return float(np.add.reduce(np.multiply(one, other, out=wide, dtype=np.float64)))


def lengths(products: Array) -> Array:
    """Return the vectors' lengths from their inner products."""
    return np.asarray(np.sqrt(np.maximum(np.diag(products), 0)))


def add_scaled(block: Block, out: Array, coefficients: Sequence[float]) -> None:
    """Write the sum of the vectors times coefficients, on the base if there is one."""
    for place, (values, factor) in enumerate(zip(vectors(block), coefficients, strict=True)):
        if place == 0:
            np.multiply(values, factor, out=out)
        else:
            np.multiply(values, factor, out=values)
            np.add(out, values, out=out)
    if block.base is not None:
        np.add(out, block.base, out=out)


def cosine(products: Array, i: int, j: int, tiny: float = 1e-8) -> float:
    """Return the cosine of the angle between two of the vectors; 0 with a vector of length 0."""
    length = lengths(products)
    if length[i] <= tiny or length[j] <= tiny:
        return float(products[i, j])
    return min(1.0, max(-1.0, float(products[i, j] / (length[i] * length[j]))))


def arc(cosine: float, t: float, parallel: float) -> tuple[float, float]:
    """Return the shares of two vectors at the part `t` of the arc between them.

    Nearly parallel or opposite vectors are interpolated linearly: the arc is not well defined.
    """
    if abs(cosine) > parallel:
        return 1 - t, t
    angle = math.acos(cosine)
    sine = math.sin(angle)
    return math.sin((1 - t) * angle) / sine, math.sin(t * angle) / sine
