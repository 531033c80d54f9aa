# SPDX-License-Identifier: Apache-2.0
"""Weighted averages, and the trivial fusion of one model."""

from __future__ import annotations

import numpy as np

from plait.fusion.weights.methods.base import WEIGHT, Block, Method, Parameter, normalize
from plait.fusion.weights.multiply_add import multiply_add, weighted_sum
from plait.fusion.weights.numbers import Array


def linear(block: Block, out: Array) -> None:
    """Add the models times their weights, in the order given; divide by the sum of the weights.

    Each step is a fused multiply-add (one rounding, as processors and mergekit do it).
    """
    weights = np.array([float(s["weight"]) for s in block.settings], out.dtype)
    if block.rows is not None:
        weighted_sum(block.rows, weights, out)
    else:
        np.multiply(block.models[0], weights[0], out=out)
        for values, weight in zip(block.models[1:], weights[1:], strict=True):
            if out.dtype == np.float32:
                multiply_add(values, weight, out, out=out)
            else:
                np.add(out, np.multiply(values, weight, out=values), out=out)
    if block.options["normalize"]:
        total = np.add.reduce(weights)
        if total not in (0, 1):
            np.divide(out, total, out=out)


def passthrough(block: Block, out: Array) -> None:
    """Copy the one model, times `scale`."""
    np.multiply(block.models[0], float(block.settings[0]["scale"]), out=out)


LINEAR = Method(
    name="linear",
    title="weighted average of the models",
    paper="Wortsman et al. 2022, Model soups, arXiv:2203.05482",
    parameters=(WEIGHT, normalize(True)),
    combine=linear,
    rows=True,
    shows_unfinite=True,
)
PASSTHROUGH = Method(
    name="passthrough",
    title="layers of models, stacked as they are",
    paper="",
    parameters=(
        Parameter("scale", 1.0, "factor on the model", per_model=True, low=-1e6, high=1e6),
    ),
    combine=passthrough,
    shows_unfinite=True,
    models=(1, 1),
)
