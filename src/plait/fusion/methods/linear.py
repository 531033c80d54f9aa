# SPDX-License-Identifier: Apache-2.0
"""Weighted averages, and the trivial fusion of one model."""

from __future__ import annotations

import numpy as np

from plait.fusion.methods.base import WEIGHT, Block, Method, Parameter, normalize
from plait.fusion.numbers import Array


def linear(block: Block, out: Array) -> None:
    """Add the models times their weights, in the order given; divide by the sum of the weights."""
    weights = block.weights()
    np.multiply(block.models[0], weights[0], out=out)
    for values, weight in zip(block.models[1:], weights[1:], strict=True):
        np.multiply(values, weight, out=values)
        np.add(out, values, out=out)
    if block.options["normalize"]:
        total = float(np.add.reduce(np.array(weights, out.dtype)))
        if total not in (0.0, 1.0):
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
