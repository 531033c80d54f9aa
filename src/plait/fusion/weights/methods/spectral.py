# SPDX-License-Identifier: Apache-2.0
"""Methods over the singular vectors of the changes: matrices as wholes, the rest averaged.

All take each model's change from the base. Tensors that are not matrices (norms, biases) have no
singular vectors: their changes are averaged, as in the papers' own programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from plait.fusion.weights.methods.base import (
    DENSITY,
    LAMBDA,
    Block,
    Method,
    Parameter,
    Value,
)
from plait.fusion.weights.methods.changes import change, keep_base, put_on_base, unchanged
from plait.fusion.weights.numbers import Array

WEIGHT = Parameter("weight", 1.0, "factor on this model's change", True, low=-1e6, high=1e6)
_SMALL = 1e-12
Join = Callable[[Sequence[Array], Mapping[str, Value], Sequence[Mapping[str, Value]]], Array]


def _over_matrices(join: Join) -> Callable[[Block, Array], None]:
    """Return a method's `combine` that joins the changes of matrices and averages others."""

    def combine(block: Block, out: Array) -> None:
        count = len(block.models)
        if unchanged(block, range(count)):
            keep_base(block, out)
            return
        changes = []
        for place, weight in enumerate(block.weights()):
            values = change(block, place)
            changes.append(np.multiply(values, weight, out=values).reshape(block.shape))
        if len(block.shape) == 2 and min(block.shape) > 1:
            joined = join(changes, block.options, block.settings)
        else:
            joined = np.add.reduce(changes) / count
        out[:] = joined.reshape(-1)
        put_on_base(block, out)

    return combine


def task_singular_vectors(
    changes: Sequence[Array], options: Mapping[str, Value], own: Sequence[Mapping[str, Value]]
) -> Array:
    """Keep each change's largest singular vectors, make all of them orthogonal, and add up.

    Each of T models keeps its share (1 / T) of the rank; the vectors of all are whitened together
    (the nearest orthogonal matrix), which takes away what they do to each other.
    """
    rank = min(changes[0].shape)
    keep = max(1, rank // len(changes))
    parts = [_largest(c, keep) for c in changes]
    left, sizes, right = (np.concatenate([p[i] for p in parts], -1) for i in (0, 1, 2))
    return np.asarray((_orthogonal(left) * sizes) @ _orthogonal(right).T)


def isotropic(
    changes: Sequence[Array], options: Mapping[str, Value], own: Sequence[Mapping[str, Value]]
) -> Array:
    """Give all singular directions of the summed change the same size, their mean."""
    left, sizes, right = _svd(np.add.reduce(list(changes)))
    return np.asarray(float(sizes.mean()) * (left @ right.T))


def isotropic_in_subspaces(
    changes: Sequence[Array], options: Mapping[str, Value], own: Sequence[Mapping[str, Value]]
) -> Array:
    """Do so for the directions common to all models, and for some of each model's own.

    `common` of the rank is for the largest directions of the sum; the rest is shared out among the
    models, for the largest directions of what their changes have outside the common ones.
    """
    rank = min(changes[0].shape)
    count = len(changes)
    apart = rank - int(rank * float(options["common"]))
    each = min(round(apart / count), rank // count)  # as the paper's own program rounds
    left, sizes, right = _svd(np.add.reduce(list(changes)))
    common = rank - each * count
    left, sizes, right = left[:, :common], sizes[:common], right[:, :common]
    parts = [(left, sizes, right)]
    if each:
        parts += [_largest(c - left @ (left.T @ c), each) for c in changes]
    all_left, all_sizes, all_right = (np.concatenate([p[i] for p in parts], -1) for i in (0, 1, 2))
    joined = _orthogonal(all_left) @ _orthogonal(all_right).T
    return np.asarray(float(all_sizes.mean()) * joined)


def without_interference(
    changes: Sequence[Array], options: Mapping[str, Value], own: Sequence[Mapping[str, Value]]
) -> Array:
    """Find the change that does to each model's own inputs what the model's change does.

    A change's rows span the inputs that it was trained on. The sum over models of
    |(X - C) Cᵀ|² / |C|² is made small with Adam, from the sum of the changes on.
    """
    energies = [max(float(np.add.reduce(np.square(c), None, np.float64)), _SMALL) for c in changes]
    inner = np.add.reduce([c.T @ (c / e) for c, e in zip(changes, energies, strict=True)])
    outer = np.add.reduce([c @ (c.T @ (c / e)) for c, e in zip(changes, energies, strict=True)])
    found = np.add.reduce(list(changes))
    first, second = np.zeros_like(found), np.zeros_like(found)
    rate = float(options["rate"])
    for step in range(1, int(options["steps"]) + 1):
        slope = 2 * (found @ inner - outer)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * np.square(slope)
        size = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        found = found - rate * (first / (1 - 0.9**step)) / size
    return np.asarray(found)


def knots_ties(
    changes: Sequence[Array], options: Mapping[str, Value], own: Sequence[Mapping[str, Value]]
) -> Array:
    """Write the changes in one basis of outputs, and merge their coordinates there as TIES does.

    The changes side by side have one set of left singular vectors. Each model's coordinates there
    (singular values times its part of the right singular vectors) are trimmed, signs are elected,
    and what agrees is averaged.
    """
    rows = changes[0].shape[0]
    beside = np.concatenate(list(changes), 1).astype(np.float64)
    sizes, left = np.linalg.eigh(beside @ beside.T)
    left = left[:, sizes > max(float(sizes[-1]), 0.0) * 1e-10 * rows]
    parts = []
    for values, settings in zip(changes, own, strict=True):
        part = left.T @ values
        count = max(1, int(float(settings["density"]) * part.size))
        least = np.partition(np.abs(part), part.size - count, None)[part.size - count]
        parts.append(np.where(np.abs(part) >= least, part, 0.0))
    sign = np.where(np.add.reduce(parts) >= 0, 1.0, -1.0)
    agree = [np.where(p * sign > 0, p, 0.0) for p in parts]
    number = np.maximum(np.add.reduce([a != 0 for a in agree], dtype=np.int64), 1)
    return np.asarray(left @ (np.add.reduce(agree) / number))


def _svd(matrix: Array) -> tuple[Array, Array, Array]:
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    return left, sizes, right.T


def _largest(matrix: Array, count: int) -> tuple[Array, Array, Array]:
    """Return the singular vectors of the largest sizes, as columns, without those of none.

    Vectors of a size of 0 (of a LoRA, all but a few) are any vectors, and whitened with the others
    would turn these.
    """
    left, sizes, right = _svd(matrix)
    count = min(count, int(np.count_nonzero(sizes > 1e-6 * sizes[0])))
    return left[:, :count], sizes[:count], right[:, :count]


def _orthogonal(matrix: Array) -> Array:
    """Return the nearest matrix with orthogonal columns (or rows, if it is wide)."""
    left, _, right = _svd(matrix)
    return np.asarray(left @ right.T)


TSV_M = Method(
    name="tsv_m",
    title="the changes' largest singular vectors, made orthogonal to each other, added up",
    paper="Gargiulo et al. 2025, Task Singular Vectors, arXiv:2412.00081",
    parameters=(WEIGHT, LAMBDA),
    combine=_over_matrices(task_singular_vectors),
    base="required",
    whole=True,
    dialects=("paper",),
)
ISO_C = Method(
    name="iso_c",
    title="the summed change with all its singular values made equal",
    paper="Marczak et al. 2025, No Task Left Behind, arXiv:2502.04959",
    parameters=(WEIGHT, LAMBDA),
    combine=_over_matrices(isotropic),
    base="required",
    whole=True,
    dialects=("paper",),
)
ISO_CTS = Method(
    name="iso_cts",
    title="as iso_c, in a common subspace and one for each model",
    paper="Marczak et al. 2025, No Task Left Behind, arXiv:2502.04959",
    parameters=(
        WEIGHT,
        Parameter("common", 0.8, "share of the rank for common directions", low=0.0, high=1.0),
        LAMBDA,
    ),
    combine=_over_matrices(isotropic_in_subspaces),
    base="required",
    whole=True,
    dialects=("paper",),
)
WUDI = Method(
    name="wudi",
    title="the change that interferes least with each model's own inputs",
    paper="Cheng et al. 2025, Whoever Started the Interference Should End It, arXiv:2503.08099",
    parameters=(
        WEIGHT,
        Parameter("steps", 300.0, "steps of Adam", low=0, high=100_000),
        Parameter("rate", 1e-5, "length of a step", low=0.0, high=1.0),
        LAMBDA,
    ),
    combine=_over_matrices(without_interference),
    base="required",
    whole=True,
    dialects=("paper",),
)
KNOTS_TIES = Method(
    name="knots_ties",
    title="changes in one basis of outputs, merged there as TIES does",
    paper="Stoica et al. 2025, Model merging with SVD to tie the Knots, arXiv:2410.19735",
    parameters=(WEIGHT, DENSITY, LAMBDA),
    combine=_over_matrices(knots_ties),
    base="required",
    whole=True,
    dialects=("paper",),
)
