# SPDX-License-Identifier: Apache-2.0
"""Averages of any number of models on the sphere, and how far to go from a base to an average.

All of them are sums of the models with coefficients that follow from the inner products alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from plait.fusion.weights.methods.base import WEIGHT, Block, Method, Parameter, Sweep, Value
from plait.fusion.weights.methods.gram import add_scaled, gram, lengths, vectors
from plait.fusion.weights.numbers import Array

TINY = 1e-8


def combine(block: Block, out: Array) -> None:
    """Add the models, or their changes, times the coefficients that were found."""
    add_scaled(block, out, block.state)


def multislerp(sweep: Sweep) -> list[float]:
    """Find the coefficients of the models' mean direction, at their mean length.

    Goddard's Multi-SLERP takes one step in the tangent space at the normalised weighted mean of the
    directions. As mergekit does it, the step is 0: projections onto the tangent space at the mean
    cancel. `dialect: paper` measures along the arcs (the logarithm), as on a sphere one must.
    """
    weights = np.array([float(own["weight"]) for own in sweep.settings])
    if sweep.options["normalize_weights"] and abs(weights.sum()) > TINY:
        weights = weights / weights.sum()
    products = gram(sweep)
    sizes = lengths(products)
    if len(weights) == 1:
        return [1.0]
    units = _directions(products, sizes)
    middle = _unit_vector(weights, units)
    if middle is None:
        return [0.0] * len(weights)
    if sweep.options.get("dialect") == "paper":
        middle, _ = _step(middle, weights / (weights.sum() or 1.0), units)
    return _unscaled(middle * float(weights @ sizes), sizes)


def karcher(sweep: Sweep) -> list[float]:
    """Find the coefficients of the point whose arcs to all models add up to nothing.

    From the mean of the directions, step along the mean of the arcs' directions until they cancel
    (Karcher 1977; the Riemannian centre of mass). Its length is the models' mean length.
    """
    products = gram(sweep)
    sizes = lengths(products)
    count = len(sizes)
    here = sizes > TINY
    if not here.any():
        return [1 / count] * count
    weights = np.where(here, 1 / here.sum(), 0.0)
    units = _directions(products, sizes)
    middle = _unit_vector(weights, units)
    if middle is None:  # the directions cancel: any of them is as good
        middle = np.eye(count)[int(np.argmax(here))]
    for _ in range(int(sweep.options["max_iter"])):
        moved, length = _step(middle, weights, units)
        if length < float(sweep.options["tol"]):
            break
        middle = moved
    return _unscaled(middle * float(sizes.mean()), sizes)


def model_stock(sweep: Sweep) -> list[float]:
    """Find how far to go from the base towards the models' average (Jang et al. 2024).

    The mean cosine between the models' changes says how far the average is from the centre of the
    region that fine-tuning ends in: t = N cos / (1 + (N - 1) cos).
    """
    products = gram(sweep)
    share = float(_stock_ratio(products[None])[0])
    return [share / len(products)] * len(products)


def combine_stock(block: Block, out: Array) -> None:
    """Go from the base towards the average: by one ratio, or one for each row."""
    if not block.options["filter_wise"]:
        add_scaled(block, out, block.state)
        return
    width = block.shape[-1] if block.shape else 1
    rows = [v.reshape(-1, width) for v in vectors(block)]
    count = len(rows)
    products = np.empty((rows[0].shape[0], count, count))
    for i in range(count):
        for j in range(i, count):
            both = np.multiply(rows[i], rows[j], dtype=np.float64).sum(1)
            products[:, i, j] = products[:, j, i] = both
    share = (_stock_ratio(products) / count)[:, None]
    grid = out.reshape(-1, width)
    grid[:] = 0
    for values in rows:
        np.add(grid, values, out=grid)
    np.multiply(grid, share, out=grid, casting="same_kind")
    assert block.base is not None
    np.add(out, block.base, out=out)


def _stock_ratio(products: Array) -> Array:
    count = products.shape[-1]
    sizes = np.sqrt(np.maximum(np.diagonal(products, axis1=1, axis2=2), 0))
    scale = sizes[:, :, None] * sizes[:, None, :]
    cosines = np.clip(products / np.where(scale > TINY, scale, np.inf), -1, 1)
    first, second = np.triu_indices(count, 1)
    mean = cosines[:, first, second].mean(1)
    below = 1 + (count - 1) * mean
    return np.asarray(np.where(np.abs(below) > TINY, count * mean / below, 0.0))


def _directions(products: Array, sizes: Array) -> Array:
    """Return the inner products of the vectors at length one; nothing for those of length 0."""
    safe = np.where(sizes > TINY, sizes, np.inf)
    return np.asarray(np.clip(products / safe[:, None] / safe[None, :], -1, 1))


def _unit_vector(weights: Array, units: Array) -> Array | None:
    """Scale the sum of directions with weights to length one; None if it has no length."""
    length = math.sqrt(max(float(weights @ units @ weights), 0.0))
    return None if length < 1e-7 else weights / length


def _step(middle: Array, weights: Array, units: Array) -> tuple[Array, float]:
    """Step from a point along the weighted mean of the arcs to all directions.

    Points are coefficients over the directions, `units` the directions' inner products.
    """
    cosines = np.clip(units @ middle, -1, 1)
    angles = np.arccos(cosines)
    sines = np.sin(angles)
    stretch = np.where((angles > TINY) & (sines > TINY), angles / np.maximum(sines, TINY), 0.0)
    stretch = np.where(np.diag(units) > 0, stretch, 0.0)
    tangent = weights * stretch - float(weights @ (stretch * cosines)) * middle
    length = math.sqrt(max(float(tangent @ units @ tangent), 0.0))
    if length < 1e-12:
        return middle, length
    moved = middle * math.cos(length) + tangent * (math.sin(length) / length)
    return np.asarray(moved / math.sqrt(float(moved @ units @ moved))), length


def _unscaled(coefficients: Array, sizes: Array) -> list[float]:
    """Return coefficients over the vectors from those over their directions."""
    return [float(c / s) if s > TINY else 0.0 for c, s in zip(coefficients, sizes, strict=True)]


def _needs_products(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> bool:
    return not options["filter_wise"]


def _row(shape: Sequence[int], options: Mapping[str, Value]) -> int:
    return shape[-1] if shape and options["filter_wise"] else 1


MULTISLERP = Method(
    name="multislerp",
    title="mean direction of the models, or of their changes, at their mean length",
    paper="Goddard 2025, https://goddard.blog/posts/multislerp-wow-what-a-cool-idea",
    parameters=(
        WEIGHT,
        Parameter("normalize_weights", True, "divide the weights by their sum"),
        Parameter("eps", 1e-8, "below this a length counts as 0", low=0.0, high=1.0),
    ),
    combine=combine,
    prepare=multislerp,
    base="optional",
    dialects=("mergekit", "paper"),
)
KARCHER = Method(
    name="karcher",
    title="centre of the models on the sphere, at their mean length",
    paper="Karcher 1977, Riemannian center of mass and mollifier smoothing",
    parameters=(
        Parameter("max_iter", 10.0, "most steps", low=0, high=10_000),
        Parameter("tol", 1e-5, "stop when a step is shorter", low=0.0, high=1.0),
    ),
    combine=combine,
    prepare=karcher,
)
MODEL_STOCK = Method(
    name="model_stock",
    title="from the base towards the average, as far as the changes' angles say",
    paper="Jang et al. 2024, Model Stock, arXiv:2403.19522",
    parameters=(Parameter("filter_wise", False, "a ratio for each row"),),
    combine=combine_stock,
    prepare=model_stock,
    needs_prepare=_needs_products,
    unit=_row,
    base="required",
    models=(2, None),
)
