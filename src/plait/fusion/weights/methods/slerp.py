# SPDX-License-Identifier: Apache-2.0
"""Interpolation along the arc between two models, or between their changes from a base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.methods.base import WEIGHT, Block, Method, Parameter, Sweep, Value
from plait.fusion.weights.methods.gram import add_scaled, arc, cosine, dot, gram, vectors
from plait.fusion.weights.numbers import Array

NEARLY_PARALLEL = 0.9995
SAME_LINE = 1 - 1e-12  # below, float64's arc cosine is good


def angle(sweep: Sweep) -> float:
    """Return the cosine of the angle between the two tensors, each seen as one long vector."""
    products = np.zeros((2, 2))
    for block in sweep.blocks():
        a, b = _pair(block)
        products += [[dot(block, a, a), dot(block, a, b)], [0.0, dot(block, b, b)]]
    return cosine(products, 0, 1)


def slerp(block: Block, out: Array) -> None:
    """Go the share `t` of the way along the arc from the base to the other model.

    Nearly parallel tensors are interpolated linearly, as the arc is not well defined there.
    """
    a, b = _pair(block)
    share_a, share_b = arc(float(block.state), float(block.options["t"]), NEARLY_PARALLEL)
    np.multiply(a, share_a, out=out)
    np.multiply(b, share_b, out=b)
    np.add(out, b, out=out)


def _pair(block: Block) -> tuple[Array, Array]:
    assert block.base is not None
    return block.base, block.models[0]


def angles(sweep: Sweep) -> Array:
    """Return the cosine of the angle between the two models: of all, or of each column."""
    if _whole(sweep.options) or not sweep.options["nuslerp_row_wise"]:
        return np.array([cosine(gram(sweep), 0, 1)])
    sums = np.zeros(())
    for block in sweep.blocks():
        width = math.prod(block.shape[1:])
        a, b = (v.reshape(-1, width).astype(np.float64) for v in vectors(block))
        sums = sums + np.stack([(a * a).sum(0), (a * b).sum(0), (b * b).sum(0)])
    return _cosines(sums[0], sums[1], sums[2])


def nuslerp(block: Block, out: Array) -> None:
    """Interpolate along the arc between two models, or two changes from a base (NuSLERP).

    The second model's share of the weights says how far. Without `nuslerp_flatten` each vector
    along the last dimension has an arc of its own; with `nuslerp_row_wise` too, each along the
    first.
    """
    first, second = block.weights()
    t = second / (first + second)
    if _whole(block.options):
        add_scaled(block, out, arc(float(block.state[0]), t, SAME_LINE))
        return
    a, b = vectors(block)
    if block.options["nuslerp_row_wise"]:
        width = math.prod(block.shape[1:])
        cosines = block.state[None, :]
    else:
        width = block.shape[-1] if block.shape else 1
        wide = [v.reshape(-1, width).astype(np.float64) for v in (a, b)]
        cosines = _cosines(
            (wide[0] * wide[0]).sum(1), (wide[0] * wide[1]).sum(1), (wide[1] * wide[1]).sum(1)
        )[:, None]
    share_a, share_b = _arcs(cosines, t)
    grid = out.reshape(-1, width)
    np.multiply(a.reshape(-1, width), share_a, out=grid, casting="same_kind")
    np.multiply(b.reshape(-1, width), share_b, out=b.reshape(-1, width), casting="same_kind")
    np.add(out, b, out=out)
    if block.base is not None:
        np.add(out, block.base, out=out)


def _whole(options: Mapping[str, Value]) -> bool:
    return bool(options["nuslerp_flatten"])


def _cosines(first: Array, both: Array, second: Array) -> Array:
    size = np.sqrt(first) * np.sqrt(second)
    return np.asarray(np.clip(both / np.where(size > 0, size, 1.0), -1, 1))


def _arcs(cosines: Array, t: float) -> tuple[Array, Array]:
    angle = np.arccos(cosines)
    sine = np.sin(angle)
    straight = np.abs(cosines) > SAME_LINE
    sine = np.where(straight, 1.0, sine)
    return (
        np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine),
        np.where(straight, t, np.sin(t * angle) / sine),
    )


def _unit(shape: Sequence[int], options: Mapping[str, Value]) -> int:
    if _whole(options) or not shape:
        return 1
    return math.prod(shape[1:]) if options["nuslerp_row_wise"] else shape[-1]


def _needs_angles(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> bool:
    return _whole(options) or bool(options["nuslerp_row_wise"])


def _check_weights(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> None:
    if sum(float(own["weight"]) for own in settings) == 0:
        raise BadInput("The weights add up to 0; 'nuslerp' needs a share for each model.")


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
NUSLERP = Method(
    name="nuslerp",
    title="interpolation along the arc between two models, or two changes from a base",
    paper="Shoemake 1985, Animating rotation with quaternion curves",
    parameters=(
        WEIGHT,
        Parameter("nuslerp_flatten", True, "one arc for the whole tensor"),
        Parameter("nuslerp_row_wise", False, "arcs along the first dimension, not the last"),
    ),
    combine=nuslerp,
    prepare=angles,
    needs_prepare=_needs_angles,
    check=_check_weights,
    unit=_unit,
    base="optional",
    models=(2, 2),
)
