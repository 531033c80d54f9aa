# SPDX-License-Identifier: Apache-2.0
"""SCE: select the elements on which models differ most, weigh models by energy, elect signs.

Wan et al. 2024, FuseChat: Knowledge Fusion of Chat Models, arXiv:2408.07990.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plait.fusion.weights.methods.base import Block, Method, Parameter, Sweep
from plait.fusion.weights.methods.changes import (
    add_agreeing,
    change,
    keep_base,
    put_on_base,
    unchanged,
)
from plait.fusion.weights.methods.sparsify import Trim
from plait.fusion.weights.methods.thresholds import end_of_equals, find_cuts
from plait.fusion.weights.numbers import Array


@dataclass
class Selection:
    """Which elements are selected (None: all), and the models' shares."""

    trim: Trim | None
    shares: list[float]


def select(sweep: Sweep) -> Selection:
    """Find which elements' changes vary most among the models, and the share of each model.

    `select_topk` of the elements whose variance is not 0 are selected; a model's share is its sum
    of squares over what is selected, divided by that of all.
    """
    topk = float(sweep.options["select_topk"])
    trim = None
    if topk < 1:
        varied = 0
        for block in sweep.blocks():
            found = _variance(block, 0)
            varied += 0 if found is None else int(np.count_nonzero(found))
        count = int(topk * varied)
        trim = Trim(np.inf, 0)
        if count:
            cut = find_cuts(sweep, _variance, {0: [count]}, joint=True)[0, count]
            trim = Trim(cut.value, end_of_equals(sweep, _variance, 0, cut, joint=True))
    squares = [0.0] * len(sweep.settings)
    for block in sweep.blocks():
        block.state = Selection(trim, [])
        if unchanged(block, range(len(squares))):
            continue
        _selected_changes(block)
        for place, values in enumerate(block.models):
            squares[place] += float(
                np.add.reduce(np.multiply(values, values, out=values), dtype=np.float64)
            )
    total = sum(squares)
    return Selection(trim, [s / total if total > 0 else 0.0 for s in squares])


def sce(block: Block, out: Array) -> None:
    """Keep the selected changes, elect signs, and average what agrees by the models' shares."""
    if unchanged(block, range(len(block.models))):
        keep_base(block, out)
        return
    _selected_changes(block)
    out[:] = 0
    for values in block.models:
        np.add(out, values, out=out)
    shares = block.state.shares
    for values, share in zip(block.models, shares, strict=True):
        np.multiply(values, share, out=values)
    add_agreeing(block, out, shares, divide=True)
    put_on_base(block, out)


def _selected_changes(block: Block) -> None:
    trim: Trim | None = block.state.trim
    if trim is None:
        for place in range(len(block.models)):
            change(block, place)
        return
    variance = _variance(block, 0)
    kept = block.mask("selected")
    if variance is None:
        kept[:] = False
    else:
        split = min(max(trim.until - block.start, 0), kept.size)
        np.greater_equal(variance[:split], trim.threshold, out=kept[:split])
        np.greater(variance[split:], trim.threshold, out=kept[split:])
    for values in block.models:
        np.multiply(values, kept, out=values)


def _variance(block: Block, at: int) -> Array | None:
    """Turn the models into their changes; return how much each element varies among them."""
    count = len(block.models)
    if count == 1:
        change(block, 0)
        return None
    mean, found, part = (block.scratch(n) for n in ("mean", "variance", "part"))
    mean[:] = 0
    for place in range(count):
        np.add(mean, change(block, place), out=mean)
    np.divide(mean, count, out=mean)
    found[:] = 0
    for values in block.models:
        np.subtract(values, mean, out=part)
        np.multiply(part, part, out=part)
        np.add(found, part, out=found)
    return np.divide(found, count - 1, out=found)


SCE = Method(
    name="sce",
    title="changes that vary most, weighed by their energy, signs elected, then averaged",
    paper="Wan et al. 2024, FuseChat, arXiv:2408.07990",
    parameters=(
        Parameter("select_topk", 1.0, "share of varying elements that is kept", low=0.0, high=1.0),
    ),
    combine=sce,
    prepare=select,
    base="required",
)
