# SPDX-License-Identifier: Apache-2.0
"""Ways of combining LoRA adapters, as PEFT's `add_weighted_adapter` has them, and KnOTS.

All are functions of matrices in and matrices out. Those that combine *factors* treat A and B each
by itself (weights are shared out between them as square roots); those that combine *products* treat
B A and factor the result again by its largest singular vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from plait.fusion.weights.numbers import Array

Prune = Callable[[int, Array], Array]
"""Drop some of a matrix's values: which, may depend on the adapter's place."""


@dataclass(frozen=True)
class Factors:
    """One adapter's pair with what it counts: weight times its own scale."""

    a: Array
    b: Array
    weight: float
    scale: float


def keep_largest(values: Array, density: float) -> Array:
    """Keep the share `density` of values, the largest by size (of equal ones the first)."""
    if density >= 1:
        return values
    count = int(density * values.size)
    kept = np.zeros(values.size, values.dtype)
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:count]
    kept[order] = values.reshape(-1)[order]
    return kept.reshape(values.shape)


def keep_random(values: Array, density: float, random: np.random.Generator) -> Array:
    """Keep each value with probability `density`, divided by it."""
    if density >= 1:
        return values
    kept = random.random(values.shape) < density
    return np.asarray(np.where(kept, values / (density or 1.0), 0).astype(values.dtype))


def weighed(parts: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return the sum of matrices times weights."""
    return np.asarray(np.add.reduce([p * w for p, w in zip(parts, weights, strict=True)]))


def elected(parts: Sequence[Array], weights: Sequence[float], by: str = "total") -> Array:
    """Return the weighted sum of values with the elected sign, divided by how many have it.

    `by` is "total" (the sum of the values elects) or "frequency" (how many are above 0).
    """
    votes = np.add.reduce(list(parts) if by == "total" else [np.sign(p) for p in parts])
    sign = np.where(votes >= 0, 1, -1)
    agree = [np.sign(p) == sign for p in parts]
    summed = np.add.reduce([p * w * a for p, w, a in zip(parts, weights, agree, strict=True)])
    return np.asarray(summed / np.maximum(np.add.reduce(agree, dtype=np.int64), 1))


def of_factors(pairs: Sequence[Factors], prune: Prune, join: Callable[..., Array]) -> Factors:
    """Combine all A, and all B; a negative weight turns A's sign alone."""
    sizes = [p.weight * p.scale for p in pairs]
    roots = [math.sqrt(abs(size)) for size in sizes]
    signed = [root if size >= 0 else -root for root, size in zip(roots, sizes, strict=True)]
    a = join([prune(i, p.a) for i, p in enumerate(pairs)], signed)
    b = join([prune(i, p.b) for i, p in enumerate(pairs)], roots)
    return Factors(a, b, 1.0, 1.0)


def beside_each_other(pairs: Sequence[Factors]) -> Factors:
    """Put all pairs beside each other: exactly the weighted sum, of the sum of the ranks."""
    a = np.concatenate([p.a * (p.weight * p.scale) for p in pairs], 0)
    return Factors(a, np.concatenate([p.b for p in pairs], 1), 1.0, 1.0)


def of_products(
    pairs: Sequence[Factors], prune: Prune, join: Callable[..., Array], rank: int
) -> Factors:
    """Combine the products B A, and factor the result again by its largest singular vectors."""
    changes = [prune(i, p.scale * (p.b @ p.a)) for i, p in enumerate(pairs)]
    left, sizes, right = np.linalg.svd(
        join(changes, [p.weight for p in pairs]), full_matrices=False
    )
    return Factors(right[:rank], left[:, :rank] * sizes[:rank], 1.0, 1.0)


def nearest(whole: Factors, rank: int) -> Factors:
    """Return the pair of a rank that is nearest to another pair's product, without making it.

    Both factors are written in orthogonal bases first; singular vectors are then of a small matrix.
    """
    out, inner = np.linalg.qr(whole.b.astype(np.float64))
    into, outer = np.linalg.qr(whole.a.T.astype(np.float64))
    left, sizes, right = np.linalg.svd(inner @ outer.T, full_matrices=False)
    b = (out @ left[:, :rank]) * sizes[:rank]
    return Factors(right[:rank] @ into.T, b, 1.0, 1.0)


@dataclass(frozen=True)
class Shared:
    """A module's changes in one basis: `basis` [outputs, n], and each one's coordinates there."""

    basis: Array
    coordinates: Sequence[Array]


def in_one_basis(pairs: Sequence[Factors]) -> Shared:
    """Write changes in the left singular vectors of all of them side by side (KnOTS).

    Stoica et al. 2025, KnOTS, arXiv:2410.19735. Coordinates are singular values times each
    change's own part of the right singular vectors. The basis lies in what the B span, so nothing
    larger than the pairs is made.
    """
    out, _ = np.linalg.qr(np.concatenate([p.b for p in pairs], 1).astype(np.float64))
    inner = [(out.T @ (p.b * p.scale)) @ p.a.astype(np.float64) for p in pairs]
    sizes, turn = np.linalg.eigh(np.add.reduce([i @ i.T for i in inner]))
    turn = turn[:, sizes > max(float(sizes[-1]), 0.0) * 1e-12]
    return Shared(out @ turn, [turn.T @ i for i in inner])


def knots_ties(
    modules: Sequence[Shared], densities: Sequence[float], weights: Sequence[float]
) -> list[Factors]:
    """Merge coordinates of all modules together as TIES does: one threshold for each adapter.

    Where what is kept cancels out, the sign is that of most coordinates, as in TIES' own program.
    """
    flat = [
        np.concatenate([m.coordinates[i].reshape(-1) for m in modules]) for i in range(len(weights))
    ]
    kept = []
    for values, density in zip(flat, densities, strict=True):
        if density < 1:
            count = min(int(values.size * density) + 1, values.size)
            least = np.partition(np.abs(values), values.size - count)[values.size - count]
            values = np.where(np.abs(values) >= least, values, 0)
        kept.append(values)
    sign = np.sign(np.add.reduce(kept))
    sign[sign == 0] = np.sign(sign.sum()) or -1
    agree = [np.where(k * sign > 0, k, 0) for k in kept]
    number = np.maximum(np.add.reduce([a != 0 for a in agree], dtype=np.int64), 1)
    merged = weighed(agree, weights) / number
    found, place = [], 0
    for module in modules:
        shape = module.coordinates[0].shape
        size = math.prod(shape)
        found.append(Factors(merged[place : place + size].reshape(shape), module.basis, 1.0, 1.0))
        place += size
    return found
