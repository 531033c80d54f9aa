# SPDX-License-Identifier: Apache-2.0
"""Methods that weigh models by statistics of their owners' data, published instead of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from plait.fusion.weights.methods.base import Block, Each, Method, Parameter, Sweep, Value
from plait.fusion.weights.numbers import Array

WEIGHT = Parameter("weight", 1.0, "factor on this model's statistics", True, low=0.0, high=1e6)


def find_norms(each: Each, options: Mapping[str, Value]) -> list[float] | None:
    """Return the length of each model's information, over all tensors that every model tells of.

    Which of *its* weights matter tells a model from another; how large its gradients are altogether
    (less, the longer it was trained) is taken out, as FusionBench and MergeLM do by default.
    """
    if not options["normalize"]:
        return None

    def squares(sweep: Sweep) -> list[float]:
        total = [0.0] * len(sweep.settings)
        for block in sweep.blocks():
            if any(known is None for known in block.statistics):
                return total
            for place, known in enumerate(block.statistics):
                assert known is not None
                total[place] += float(np.add.reduce(np.square(known, dtype=np.float64)))
        return total

    found = [math.sqrt(math.fsum(sums)) for sums in zip(*each(squares), strict=True)]
    return [norm or 1.0 for norm in found]


def fisher(block: Block, out: Array) -> None:
    """Average the models, each element by its Fisher information in each model's data.

    Where no model has any information, or a model gives no statistics of a tensor, all count alike.
    """
    count = len(block.models)
    total = block.scratch("total")
    out[:] = 0
    total[:] = 0
    given = [s for s in block.statistics if s is not None]
    whole = len(given) == count
    norms = block.state or [1.0] * count
    parts = zip(block.models, block.statistics, block.weights(), norms, strict=True)
    for values, known, weight, norm in parts:
        share = np.full_like(out, weight)
        if whole and known is not None:
            np.divide(known, norm, out=share)
            np.maximum(share, float(block.options["floor"]), out=share)
            np.multiply(share, weight, out=share)
        np.add(total, share, out=total)
        np.multiply(values, share, out=share)
        np.add(out, share, out=out)
    np.divide(out, np.where(total > 0, total, 1), out=out)


def regmean(block: Block, out: Array) -> None:
    """Solve for the matrix whose outputs are nearest to each model's on that model's own inputs.

    W = (Σ Wᵢ Gᵢ) (Σ Gᵢ)⁻¹ with Gᵢ the inner products of inputs (XᵀX), their off-diagonal part made
    smaller by `shrink`. What has no statistics is averaged by weight.
    """
    weights = block.weights()
    grams = [s for s in block.statistics if s is not None]
    if len(grams) < len(weights) or len(block.shape) != 2:
        total = sum(weights) or 1.0
        out[:] = 0
        for values, weight in zip(block.models, weights, strict=True):
            np.add(out, np.multiply(values, weight / total, out=values), out=out)
        return
    matrices = [values.reshape(block.shape) for values in block.models]
    out[:] = regress(matrices, grams, weights, float(block.options["shrink"])).reshape(-1)


def regress(
    matrices: Sequence[Array], grams: Sequence[Array], weights: Sequence[float], shrink: float
) -> Array:
    """Return the matrix [outputs, inputs] that does best what each does on its own inputs."""
    rows, columns = matrices[0].shape
    summed = np.zeros((columns, columns))
    weighed = np.zeros((rows, columns))
    for values, gram, weight in zip(matrices, grams, weights, strict=True):
        inner = gram.reshape(summed.shape).astype(np.float64) * weight
        own = np.diag(inner).copy()
        inner *= shrink
        np.fill_diagonal(inner, own)
        summed += inner
        weighed += values.astype(np.float64) @ inner
    # inputs that never occurred leave the matrix singular; a little of its mean size mends that
    ridge = 1e-8 * max(float(np.trace(summed)) / columns, 1e-30)
    summed[np.diag_indices_from(summed)] += ridge
    weighed += ridge * np.add.reduce(list(matrices)) / len(matrices)
    return np.asarray(np.linalg.solve(summed, weighed.T).T)


FISHER = Method(
    name="fisher",
    title="average weighed by each weight's Fisher information",
    paper="Matena and Raffel 2022, Merging models with Fisher-weighted averaging, arXiv:2111.09832",
    parameters=(
        WEIGHT,
        Parameter("normalize", True, "divide each model's information by its length"),
        Parameter("floor", 1e-12, "information is at least this", low=0.0, high=1.0),
    ),
    combine=fisher,
    survey=find_norms,
    statistics="fisher",
    dialects=("paper",),
)
REGMEAN = Method(
    name="regmean",
    title="least squares between the outputs of the models, on each one's own inputs",
    paper="Jin et al. 2023, Dataless knowledge fusion, arXiv:2212.09849",
    parameters=(
        WEIGHT,
        Parameter("shrink", 0.9, "factor on what is off the diagonal", low=0.0, high=1.0),
    ),
    combine=regmean,
    whole=True,
    statistics="gram",
    dialects=("paper",),
)
REGMEAN_PLUSPLUS = Method(
    name="regmean_plusplus",
    title="regmean, on the inputs that the layers merged before give",
    paper="Nguyen et al. 2025, RegMean++, arXiv:2508.03121",
    parameters=(
        WEIGHT,
        Parameter("shrink", 0.9, "factor on what is off the diagonal", low=0.0, high=1.0),
        Parameter("texts", 256.0, "texts of each task that are read", low=1, high=100_000),
        Parameter("split", "train", "the texts' split", words=("train", "validation")),
    ),
    combine=regmean,
    whole=True,
    statistics="gram",
    dialects=("paper",),
    learns="gram",
)
