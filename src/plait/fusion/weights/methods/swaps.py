# SPDX-License-Identifier: Apache-2.0
"""Taking over single elements of a second model: where it is near, or where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from plait.fusion.weights.methods.base import Block, Method, Parameter, Sweep, Value
from plait.fusion.weights.methods.changes import change
from plait.fusion.weights.methods.thresholds import find_cuts
from plait.fusion.weights.numbers import Array


def nearswap(block: Block, out: Array) -> None:
    """Go towards the second model the more, the nearer it is: by t / |difference|, at most all."""
    assert block.base is not None
    values = block.models[0]
    share = np.subtract(block.base, values, out=block.scratch("share"))
    np.abs(share, out=share)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(share.dtype.type(float(block.options["t"])), share, out=share)
    np.clip(share, 0, 1, out=share)
    np.nan_to_num(share, copy=False, nan=0.0)
    np.multiply(values, share, out=values)
    np.subtract(1, share, out=share)
    np.multiply(block.base, share, out=out)
    np.add(out, values, out=out)


def find_threshold(sweep: Sweep) -> tuple[float, Array]:
    """Find the importance from which on an element is an outlier, and each row's divergence.

    The threshold is the median and 1.5 quartile ranges.
    """
    apart = np.concatenate([_divergence(block) for block in sweep.blocks()])
    ascending = [(sweep.total - 1) // 4, (sweep.total - 1) // 2, 3 * (sweep.total - 1) // 4]
    ranks = [sweep.total - place for place in ascending]
    cuts = find_cuts(sweep, lambda block, _: _importance(block, apart), {0: ranks}, joint=True)
    low, middle, high = (cuts[0, rank].value for rank in ranks)
    return middle + 1.5 * (high - low), apart


def arcee_fusion(block: Block, out: Array) -> None:
    """Take over the changes that are outliers in importance (Arcee Fusion).

    Importance is the change's size times the divergence (Kullback-Leibler) of the row's softmax
    from that of the base's row.
    """
    assert block.base is not None
    threshold, apart = block.state
    scores = _importance(block, apart)
    kept = np.greater_equal(scores, threshold, out=block.mask("kept"))
    values = np.multiply(block.models[0], kept, out=block.models[0])
    np.add(block.base, values, out=out)


def _importance(block: Block, apart: Array) -> Array:
    """Turn the model into its change; return how important each element is."""
    width = _row(block.shape, block.options)
    sizes = np.abs(change(block, 0), out=block.scratch("sizes"))
    grid = sizes.reshape(-1, width)
    first = block.start // width
    rows = apart[first : first + len(grid), None]
    np.multiply(grid, rows, out=grid, casting="same_kind")
    return sizes


def _divergence(block: Block) -> Array:
    """Return how far the softmax of each of the model's rows is from that of the base's row.

    With p and q the softmax of m and b, the sum of p log(p / q) is that of p (m - b), less the
    difference of their normalisers: logarithms of sums, which are taken in float64.
    """
    assert block.base is not None
    width = _row(block.shape, block.options)
    base, model = (v.reshape(-1, width) for v in (block.base, block.models[0]))
    spare, powers = (block.scratch(name).reshape(-1, width) for name in ("spare", "powers"))
    normaliser = _log_of_sum(base, powers)[0]
    found, total = _log_of_sum(model, powers)
    np.subtract(model, base, out=spare)
    np.multiply(spare, powers, out=spare)
    mean = np.add.reduce(spare, axis=1, dtype=np.float64) / total
    # both softmaxes sum up to one, so rounding is all that can make this negative
    return np.asarray(np.maximum(mean - (found - normaliser), 0))


def _log_of_sum(rows: Array, powers: Array) -> tuple[Array, Array]:
    """Return the logarithm of each row's sum of exponentials; these, and their sum, are scaled."""
    most = rows.max(1, keepdims=True)
    np.exp(np.subtract(rows, most, out=powers), out=powers)
    total = np.add.reduce(powers, axis=1, dtype=np.float64)
    return np.asarray(np.log(total) + most[:, 0]), np.asarray(total)


def _row(shape: Sequence[int], options: Mapping[str, Value]) -> int:
    return shape[-1] if shape else 1


NEARSWAP = Method(
    name="nearswap",
    title="towards the second model where it is near the base",
    paper="alchemonaut 2024, https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
    parameters=(Parameter("t", None, "how near counts as near", low=0.0, high=1e6),),
    combine=nearswap,
    base="member",
    models=(1, 1),
)
ARCEE_FUSION = Method(
    name="arcee_fusion",
    title="the base with those changes of a second model that matter most",
    paper="Arcee AI 2025, Arcee Fusion, https://www.arcee.ai/blog/meet-mergekit-v0-1",
    parameters=(),
    combine=arcee_fusion,
    prepare=find_threshold,
    unit=_row,
    base="member",
    models=(1, 1),
)
