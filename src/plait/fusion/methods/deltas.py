# SPDX-License-Identifier: Apache-2.0
"""Methods over changes from a base: task arithmetic, TIES and DARE.

All four take each model's change from the base (its task vector), thin it out, weigh it, add the
changes up, and put the sum on the base. They differ in how they thin out (not at all; by size; at
random) and in whether the models first elect each element's sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from plait.fusion.methods.base import (
    DENSITY,
    LAMBDA,
    MASK,
    WEIGHT,
    Block,
    Method,
    Sweep,
    Value,
    normalize,
    rescale,
)
from plait.fusion.numbers import Array

NO_WEIGHT = 1e-8
_Thin = Callable[[Block, int, Array], None]


def change(block: Block, place: int) -> Array:
    """Turn a model's values into its change from the base, in place."""
    values = block.models[place]
    np.subtract(values, block.base, out=values)
    block.round(values)
    return values


def task_arithmetic(block: Block, out: Array) -> None:
    """Add every model's weighted change to the base (Ilharco et al. 2023)."""
    _add_changes(block, out, _untouched)


def ties(block: Block, out: Array) -> None:
    """Trim small changes, elect each element's sign, add what agrees (Yadav et al. 2023)."""
    _elect_changes(block, out, _trim)


def dare_linear(block: Block, out: Array) -> None:
    """Drop changes at random, rescale the rest and add them (Yu et al. 2024)."""
    _add_changes(block, out, _drop)


def dare_ties(block: Block, out: Array) -> None:
    """Drop changes at random, rescale the rest, elect signs and add what agrees."""
    _elect_changes(block, out, _drop)


def _untouched(block: Block, place: int, values: Array) -> None:
    return


def _add_changes(block: Block, out: Array, thin: _Thin) -> None:
    weights = block.weights()
    for place, weight in enumerate(weights):
        values = change(block, place)
        thin(block, place, values)
        if place == 0:
            np.multiply(values, weight, out=out)
            block.round(out)
        else:
            np.multiply(values, weight, out=values)
            block.round(values)
            np.add(out, values, out=out)
    block.round(out)
    if block.options["normalize"]:
        total = math.fsum(weights)
        if abs(total) >= NO_WEIGHT:
            np.divide(out, total, out=out)
            block.round(out)
    _put_on_base(block, out)


def _elect_changes(block: Block, out: Array, thin: _Thin) -> None:
    weights = block.weights()
    out[:] = 0
    for place, weight in enumerate(weights):
        values = change(block, place)
        thin(block, place, values)
        np.multiply(values, weight, out=values)
        block.round(values)
        np.add(out, values, out=out)
    # +1 where the models' sum is zero or more, -1 elsewhere; a change agrees if it times this is > 0
    sign, divisor, part = (block.scratch(n) for n in ("sign", "divisor", "part"))
    np.copysign(1, np.add(out, 0, out=out), out=sign)
    out[:] = 0
    divisor[:] = 0
    for values, weight in zip(block.models, weights, strict=True):
        np.multiply(values, sign, out=values)
        np.maximum(values, 0, out=values)
        np.add(out, values, out=out)
        if block.options["normalize"]:
            np.sign(values, out=part)
            np.multiply(part, weight, out=part)
            np.add(divisor, part, out=divisor)
    np.multiply(out, sign, out=out)
    block.round(out)
    if block.options["normalize"]:
        block.round(divisor)
        np.abs(divisor, out=part)
        np.copyto(divisor, 1, where=np.less(part, NO_WEIGHT, out=block.mask("none")))
        np.divide(out, divisor, out=out)
        block.round(out)
    _put_on_base(block, out)


def _put_on_base(block: Block, out: Array) -> None:
    factor = float(block.options["lambda"])
    if factor != 1:
        np.multiply(out, factor, out=out)
        block.round(out)
    np.add(out, block.base, out=out)


@dataclass(frozen=True)
class Trim:
    """What of a model's changes is kept: larger than `threshold`, or equal to it and before `until`."""

    threshold: float
    until: int
    scale: float = 1.0


def find_trims(sweep: Sweep) -> list[Trim | None]:
    """Find, for each model, what its `density` largest changes of this tensor are.

    Of changes equal in size at the threshold, those first in the tensor are kept, so that the share
    is met exactly. Found by partial selection; nothing is sorted.
    """
    settings, options = sweep.settings, sweep.options
    return [
        None
        if float(own["density"]) >= 1
        else _find_trim(sweep, place, float(own["density"]), options)
        for place, own in enumerate(settings)
    ]


def _find_trim(sweep: Sweep, place: int, density: float, options: Mapping[str, Value]) -> Trim:
    total = sweep.total
    keep = max(1, int(density * total)) if density > 0 else 0
    if keep == 0:
        return Trim(math.inf, 0)
    sizes = sweep.buffer("sizes")
    for block in sweep.blocks([place]):
        values = change(block, 0)
        np.abs(values, out=sizes[block.start : block.start + values.size])
    before = float(np.add.reduce(sizes, dtype=np.float64)) if options["rescale"] else 0.0
    sizes.partition(total - keep)
    threshold = sizes[total - keep]
    upper = sizes[total - keep :]
    above = int(np.count_nonzero(upper > threshold))
    scale = 1.0
    if options["rescale"]:
        kept = float(np.add.reduce(upper, dtype=np.float64))
        scale = before / kept if kept > 0 else 1.0
    until = _nth_equal(sweep, place, threshold, keep - above) if threshold > 0 else total
    return Trim(float(threshold), until, scale)


def _nth_equal(sweep: Sweep, place: int, threshold: float, count: int) -> int:
    """Return the place after the `count`-th change of exactly the threshold's size."""
    for block in sweep.blocks([place]):
        values = change(block, 0)
        np.abs(values, out=values)
        equal = np.equal(values, threshold, out=block.mask("equal"))
        here = int(np.count_nonzero(equal))
        if here >= count:
            return block.start + int(np.flatnonzero(equal)[count - 1]) + 1
        count -= here
    return sweep.total


def _trim(block: Block, place: int, values: Array) -> None:
    trim: Trim | None = block.state[place] if block.state else None
    if trim is None:
        return
    sizes = np.abs(values, out=block.scratch("part"))
    split = min(max(trim.until - block.start, 0), values.size)
    drop = block.mask("drop")
    np.less(sizes[:split], trim.threshold, out=drop[:split])
    np.less_equal(sizes[split:], trim.threshold, out=drop[split:])
    np.copyto(values, 0, where=drop)
    if trim.scale != 1:
        np.multiply(values, trim.scale, out=values)
        block.round(values)


def find_scales(sweep: Sweep) -> list[float]:
    """Find, for each model, by how much what is left must grow to weigh what there was (L1 norm)."""
    before = [0.0] * len(sweep.settings)
    after = [0.0] * len(sweep.settings)
    for block in sweep.blocks():
        for place in range(len(before)):
            values = change(block, place)
            sizes = np.abs(values, out=block.scratch("part"))
            before[place] += float(np.add.reduce(sizes, dtype=np.float64))
            np.copyto(sizes, 0, where=_dropped(block, place))
            after[place] += float(np.add.reduce(sizes, dtype=np.float64))
    return [b / a if a > 0 else 1.0 for b, a in zip(before, after, strict=True)]


def _drop(block: Block, place: int, values: Array) -> None:
    if float(block.settings[place]["density"]) >= 1:
        return
    np.copyto(values, 0, where=_dropped(block, place))
    if block.state and block.state[place] != 1:
        np.multiply(values, block.state[place], out=values)
        block.round(values)


def _dropped(block: Block, place: int) -> Array:
    """Draw which elements are dropped: by tensor, model content and position, whatever the order.

    Four 16-bit draws are taken from each output of the counter-based generator Philox, so the
    probability is the density to within 1/65536.
    """
    size = block.models[0].size
    key = blake2b(block.keys[place] + b"\0" + block.tensor.encode(), digest_size=16).digest()
    # one step of the counter gives sixteen draws, so a draw belongs to its position in the tensor
    words = np.random.Philox(key=int.from_bytes(key, "little"), counter=block.start // 16)
    draws = words.random_raw(-(-size // 4)).view("<u2")[:size]
    limit = round(float(block.settings[place]["density"]) * 65536)
    return np.greater_equal(draws, limit, out=block.mask("drop"), casting="unsafe")


def _some_density(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> bool:
    return any(float(s["density"]) < 1 for s in settings)


def _density_and_rescale(
    settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]
) -> bool:
    return bool(options["rescale"]) and _some_density(settings, options)


TASK_ARITHMETIC = Method(
    name="task_arithmetic",
    title="the base plus the models' weighted changes",
    paper="Ilharco et al. 2023, Editing models with task arithmetic, arXiv:2212.04089",
    parameters=(WEIGHT, normalize(False), LAMBDA, MASK),
    combine=task_arithmetic,
    base="required",
)
TIES = Method(
    name="ties",
    title="changes trimmed to the largest, signs elected, then added",
    paper="Yadav et al. 2023, TIES-Merging, arXiv:2306.01708",
    parameters=(WEIGHT, DENSITY, normalize(True), rescale(False), LAMBDA, MASK),
    combine=ties,
    prepare=find_trims,
    needs_prepare=_some_density,
    base="required",
)
DARE_LINEAR = Method(
    name="dare_linear",
    title="changes dropped at random, the rest rescaled and added",
    paper="Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099",
    parameters=(WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA, MASK),
    combine=dare_linear,
    prepare=find_scales,
    needs_prepare=_density_and_rescale,
    base="required",
)
DARE_TIES = Method(
    name="dare_ties",
    title="changes dropped at random, the rest rescaled, signs elected, then added",
    paper="Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099",
    parameters=(WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA, MASK),
    combine=dare_ties,
    prepare=find_scales,
    needs_prepare=_density_and_rescale,
    base="required",
)
