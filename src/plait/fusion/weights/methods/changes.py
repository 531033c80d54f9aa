# SPDX-License-Identifier: Apache-2.0
"""Adding up changes from a base: what all methods over task vectors share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from plait.fusion.weights.methods.base import Block
from plait.fusion.weights.numbers import Array, round_scalar

NO_WEIGHT = 1e-8
Thin = Callable[[Block, int, Array], None]
"""Thin out the change of the model at a place, in place."""


def change(block: Block, place: int) -> Array:
    """Turn a model's values into its change from the base, in place."""
    values = block.models[place]
    assert block.base is not None
    np.subtract(values, block.base, out=values)
    block.round(values)
    return values


def unchanged(block: Block, places: Iterable[int]) -> bool:
    """Tell whether these models have the base's values here, as frozen parts of models do."""
    return all(np.array_equal(block.models[place], block.base) for place in places)  # type: ignore[arg-type]


def change_sizes(block: Block, at: int) -> Array | None:
    """Return the sizes of a model's changes; None if it has none here."""
    if unchanged(block, [at]):
        return None
    values = change(block, at)
    return np.abs(values, out=values)


def keep_all(block: Block, place: int, values: Array) -> None:
    """Thin out nothing."""


def add_changes(block: Block, out: Array, thin: Thin = keep_all) -> None:
    """Put the weighted sum of the models' thinned changes on the base."""
    weights = block.weights()
    if unchanged(block, range(len(weights))):
        keep_base(block, out)
        return
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
        total = round_scalar(math.fsum(weights), block.arithmetic)
        if abs(total) >= NO_WEIGHT:
            np.divide(out, total, out=out)
            block.round(out)
    put_on_base(block, out)


def elect_changes(
    block: Block, out: Array, thin: Thin = keep_all, unweighed: Sequence[str] = ("peft",)
) -> None:
    """Elect each element's sign; put the weighted sum of the changes that have it on the base.

    In the `unweighed` dialects signs are elected before models are weighed, and the sum is divided
    by how many agree.
    """
    weights = block.weights()
    if unchanged(block, range(len(weights))):
        keep_base(block, out)
        return
    out[:] = 0
    dialect = block.options.get("dialect")
    first = dialect in unweighed
    for place, weight in enumerate(weights):
        values = change(block, place)
        thin(block, place, values)
        if first:
            np.add(out, values, out=out)
            continue
        np.multiply(values, weight, out=values)
        block.round(values)
        np.add(out, values, out=out)
    if first:
        add_agreeing(
            block,
            out,
            [1.0] * len(weights),
            divide=dialect == "peft" or bool(block.options["normalize"]),
            factors=weights,
            undecided=block.state.undecided if dialect == "paper" and block.state else 1.0,
        )
    else:
        add_agreeing(block, out, weights, divide=bool(block.options["normalize"]))
    put_on_base(block, out)


def add_agreeing(
    block: Block,
    out: Array,
    shares: Sequence[float],
    *,
    divide: bool,
    factors: Sequence[float] | None = None,
    undecided: float = 1.0,
) -> None:
    """Turn `out`, in which signs are elected, into the sum of what agrees with its sign.

    The models' arrays hold what is added (it is overwritten); with `divide` the sum is divided by
    the `shares` of the models that agree, or by one where none does. `factors` are put on what
    agrees. `undecided` is the sign of elements whose sum is 0.
    """
    sign, divisor, part = (block.scratch(n) for n in ("sign", "divisor", "part"))
    # +1 where the models' sum is zero or more, else -1; a change agrees if times this it is > 0
    at_least = np.greater_equal if undecided > 0 else np.greater
    at_least(out, 0, out=sign, casting="unsafe")
    np.multiply(sign, 2, out=sign)
    np.subtract(sign, 1, out=sign)
    out[:] = 0
    divisor[:] = 0
    for place, (values, share) in enumerate(zip(block.models, shares, strict=True)):
        np.multiply(values, sign, out=values)
        np.maximum(values, 0, out=values)
        factor = factors[place] if factors else 1.0
        np.add(out, values if factor == 1 else np.multiply(values, factor, out=part), out=out)
        if divide:
            np.greater(values, 0, out=part, casting="unsafe")
            np.multiply(part, share, out=part)
            np.add(divisor, part, out=divisor)
    np.multiply(out, sign, out=out)
    block.round(out)
    if divide:
        block.round(divisor)
        # where nobody agrees, divide by one
        np.abs(divisor, out=part)
        np.less(part, NO_WEIGHT, out=part, casting="unsafe")
        np.add(divisor, part, out=divisor)
        np.divide(out, divisor, out=out)
        block.round(out)


def keep_base(block: Block, out: Array) -> None:
    """Write what no change at all comes to: the base, with -0 as 0."""
    assert block.base is not None
    np.add(block.base, 0, out=out)


def put_on_base(block: Block, out: Array) -> None:
    """Add `lambda` times the sum of changes in `out` to the base."""
    factor = float(block.options.get("lambda", 1.0))
    if factor != 1:
        np.multiply(out, factor, out=out)
        block.round(out)
    assert block.base is not None
    np.add(out, block.base, out=out)
