# SPDX-License-Identifier: Apache-2.0
"""Weighted averages, and the trivial fusion of one model."""

from __future__ import annotations

import numpy as np

from plait.fusion.weights.methods.base import WEIGHT, Block, Method, Parameter, normalize
from plait.fusion.weights.numbers import Array


def linear(block: Block, out: Array) -> None:
    """Add the models times their weights, in the order given; divide by the sum of the weights.

    Each step is a fused multiply-add (one rounding, as processors and mergekit do it): the product
    of two float32 is exact in float64, and so, nearly always, is the sum before it is rounded.
    """
    weights = np.array([float(s["weight"]) for s in block.settings], out.dtype)
    wide = block.spare("wide", np.dtype(np.float64))[: out.size]
    np.multiply(block.models[0], weights[0], out=out)
    for values, weight in zip(block.models[1:], weights[1:], strict=True):
        np.multiply(values, np.float64(weight), out=wide, dtype=np.float64)
        np.add(wide, out, out=wide)
        np.copyto(out, wide, casting="same_kind")
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
)
PASSTHROUGH = Method(
    name="passthrough",
    title="layers of models, stacked as they are",
    paper="",
    parameters=(
        Parameter("scale", 1.0, "factor on the model", per_model=True, low=-1e6, high=1e6),
    ),
    combine=passthrough,
    models=(1, 1),
)
