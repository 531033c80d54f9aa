# SPDX-License-Identifier: Apache-2.0
"""Spherical interpolation between two models."""

from __future__ import annotations

import math

import numpy as np

from plait.fusion.methods.base import Block, Method, Parameter, Sweep
from plait.fusion.numbers import Array

NEARLY_PARALLEL = 0.9995
TINY = 1e-8


def angle(sweep: Sweep) -> float:
    """Return the cosine of the angle between the two tensors, each seen as one long vector.

    Products of float32 are exact in float64, and numpy sums pairwise in a fixed order, so that the
    number does not depend on threads.
    """
    first = second = both = 0.0
    for block in sweep.blocks():
        a, b = _pair(block)
        wide = block.spare("wide", np.dtype(np.float64))[: a.size]
        first += float(np.add.reduce(np.multiply(a, a, out=wide, dtype=np.float64)))
        second += float(np.add.reduce(np.multiply(b, b, out=wide, dtype=np.float64)))
        both += float(np.add.reduce(np.multiply(a, b, out=wide, dtype=np.float64)))
    length_a, length_b = math.sqrt(first), math.sqrt(second)
    return both / ((length_a if length_a > TINY else 1.0) * (length_b if length_b > TINY else 1.0))


def slerp(block: Block, out: Array) -> None:
    """Go the share `t` of the way along the arc from the base to the other model.

    Nearly parallel tensors are interpolated linearly, as the arc is not well defined there.
    """
    a, b = _pair(block)
    t = float(block.options["t"])
    cosine = float(block.state)
    if abs(cosine) > NEARLY_PARALLEL:
        share_a, share_b = 1 - t, t
    else:
        theta = math.acos(cosine)
        share_a = math.sin(theta * (1 - t)) / math.sin(theta)
        share_b = math.sin(theta * t) / math.sin(theta)
    np.multiply(a, share_a, out=out)
    np.multiply(b, share_b, out=b)
    np.add(out, b, out=out)


def _pair(block: Block) -> tuple[Array, Array]:
    if block.base is not None:
        return block.base, block.models[0]
    return block.models[0], block.models[1]


SLERP = Method(
    name="slerp",
    title="interpolation along the arc between two models",
    paper="Shoemake 1985, Animating rotation with quaternion curves",
    parameters=(Parameter("t", None, "0 is the base, 1 the other model", low=-10.0, high=10.0),),
    combine=slerp,
    prepare=angle,
    base="member",
    models=(1, 1),
)
