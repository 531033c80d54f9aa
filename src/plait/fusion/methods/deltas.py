# SPDX-License-Identifier: Apache-2.0
"""Methods over changes from a base: task arithmetic, TIES and DARE.

All four take each model's change from the base (its task vector), thin it out, weigh it, add the
changes up, and put the sum on the base. They differ in how they thin out (not at all; by size; at
random) and in whether the models first elect each element's sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from plait.fusion.methods.base import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    Block,
    Method,
    Sweep,
    Value,
    normalize,
    rescale,
)
from plait.fusion.numbers import Array, round_scalar

NO_WEIGHT = 1e-8
SMALL = 16_384  # elements; smaller than the engine's blocks
_Thin = Callable[[Block, int, Array], None]


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
    if unchanged(block, range(len(weights))):
        _keep_base(block, out)
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
    _put_on_base(block, out)


def _elect_changes(block: Block, out: Array, thin: _Thin) -> None:
    weights = block.weights()
    if unchanged(block, range(len(weights))):
        _keep_base(block, out)
        return
    out[:] = 0
    for place, weight in enumerate(weights):
        values = change(block, place)
        thin(block, place, values)
        np.multiply(values, weight, out=values)
        block.round(values)
        np.add(out, values, out=out)
    # +1 where the models' sum is zero or more, else -1; a change agrees if times this it is > 0
    sign, divisor, part = (block.scratch(n) for n in ("sign", "divisor", "part"))
    np.greater_equal(out, 0, out=sign, casting="unsafe")
    np.multiply(sign, 2, out=sign)
    np.subtract(sign, 1, out=sign)
    out[:] = 0
    divisor[:] = 0
    for values, weight in zip(block.models, weights, strict=True):
        np.multiply(values, sign, out=values)
        np.maximum(values, 0, out=values)
        np.add(out, values, out=out)
        if block.options["normalize"]:
            np.greater(values, 0, out=part, casting="unsafe")
            np.multiply(part, weight, out=part)
            np.add(divisor, part, out=divisor)
    np.multiply(out, sign, out=out)
    block.round(out)
    if block.options["normalize"]:
        block.round(divisor)
        # where nobody agrees, divide by one
        np.abs(divisor, out=part)
        np.less(part, NO_WEIGHT, out=part, casting="unsafe")
        np.add(divisor, part, out=divisor)
        np.divide(out, divisor, out=out)
        block.round(out)
    _put_on_base(block, out)


def _keep_base(block: Block, out: Array) -> None:
    """Write what no change at all comes to: the base, with -0 as 0."""
    assert block.base is not None
    np.add(block.base, 0, out=out)


def _put_on_base(block: Block, out: Array) -> None:
    factor = float(block.options["lambda"])
    if factor != 1:
        np.multiply(out, factor, out=out)
        block.round(out)
    assert block.base is not None
    np.add(out, block.base, out=out)


@dataclass(frozen=True)
class Trim:
    """What is kept of a model's changes: those over `threshold`, or equal and before `until`."""

    threshold: float
    until: int
    scale: float = 1.0


def find_trims(sweep: Sweep) -> list[Trim | None]:
    """Find, for each model, what its `density` largest changes of this tensor are.

    Of changes equal in size at the threshold, those first in the tensor are kept, so that the share
    is met exactly. The threshold is found digit by digit: positive floats are ordered as their bits
    are, so counting the upper 16 bits, then the lower among those equal above, finds it exactly in
    two passes and next to no memory.
    """
    shares = [float(own["density"]) for own in sweep.settings]
    keep = [max(1, int(share * sweep.total)) if share > 0 else 0 for share in shares]
    places = [i for i, share in enumerate(shares) if share < 1 and keep[i] > 0]
    trims: list[Trim | None] = [None if share >= 1 else Trim(math.inf, 0) for share in shares]
    find = _by_partition if sweep.total <= SMALL else _by_digits
    for i, (threshold, wanted, equal) in find(sweep, places, keep).items():
        until = sweep.total
        if threshold > 0 and wanted < equal:
            until = _nth_equal(sweep, i, threshold, wanted)
        trims[i] = Trim(threshold, until)
    return _rescaled(sweep, trims) if sweep.options["rescale"] else trims


# a model's place -> its threshold, how many of the changes of that size are kept, and how many are
_Thresholds = dict[int, tuple[float, int, int]]


def _by_partition(sweep: Sweep, places: list[int], keep: Sequence[int]) -> _Thresholds:
    """Find the thresholds of a tensor that is one block."""
    found = {}
    for block in sweep.blocks(places) if places else ():
        for at, i in enumerate(places):
            sizes = np.abs(change(block, at), out=block.models[at])
            threshold = np.partition(sizes, sizes.size - keep[i])[sizes.size - keep[i]]
            above = int(np.count_nonzero(sizes > threshold))
            equal = int(np.count_nonzero(sizes == threshold))
            found[i] = (float(threshold), keep[i] - above, equal)
    return found


def _by_digits(sweep: Sweep, places: list[int], keep: Sequence[int]) -> _Thresholds:
    """Find the thresholds of a tensor of any size, 16 bits at a time."""
    prefix = dict.fromkeys(places, 0)
    wanted = {i: keep[i] for i in places}
    equal: dict[int, int] = {}
    digits = sweep.arithmetic_bytes // 2
    for shift in range(16 * (digits - 1), -1, -16):
        counts = _count_digits(sweep, places, prefix, shift, first=shift == 16 * (digits - 1))
        for i in places:
            from_top = np.cumsum(counts[i][::-1])
            digit = 65535 - int(np.searchsorted(from_top, wanted[i]))
            equal[i] = int(counts[i][digit])
            wanted[i] -= int(from_top[65535 - digit]) - equal[i]
            prefix[i] = prefix[i] << 16 | digit
    whole, real = (np.uint32, np.float32) if digits == 2 else (np.uint64, np.float64)
    return {
        i: (float(np.array([prefix[i]], whole).view(real)[0]), wanted[i], equal[i]) for i in places
    }


def _count_digits(
    sweep: Sweep, places: list[int], prefix: Mapping[int, int], shift: int, *, first: bool
) -> dict[int, Array]:
    """Count the 16-bit digits at `shift` of the changes' sizes that begin with `prefix`."""
    counts = {i: np.zeros(65536, np.int64) for i in places}
    for block in sweep.blocks(places) if places else ():
        for at, i in enumerate(places):
            if unchanged(block, [at]):
                counts[i][0] += block.models[at].size if prefix[i] == 0 else 0
                continue
            values = change(block, at)
            np.abs(values, out=values)
            bits = values.view(np.uint32 if values.itemsize == 4 else np.uint64)
            if not first:
                upper = np.right_shift(
                    bits, shift + 16, out=block.spare("upper", bits.dtype)[: bits.size]
                )
                bits = bits[np.equal(upper, prefix[i], out=block.mask("equal"))]
            digit = block.spare("digit", np.dtype(np.int64))[: bits.size]
            np.right_shift(bits, shift, out=digit, casting="unsafe")
            if not first:
                np.bitwise_and(digit, 0xFFFF, out=digit)
            counts[i] += np.bincount(digit, minlength=65536)
    return counts


def _rescaled(sweep: Sweep, trims: list[Trim | None]) -> list[Trim | None]:
    """Find by how much what each model keeps must grow to weigh what there was (L1 norm)."""
    before, after = [0.0] * len(trims), [0.0] * len(trims)
    for block in sweep.blocks():
        block.state = trims
        for i in range(len(trims)):
            values = change(block, i)
            np.abs(values, out=values)
            before[i] += float(np.add.reduce(values, dtype=np.float64))
            _trim(block, i, values)
            after[i] += float(np.add.reduce(values, dtype=np.float64))
    return [
        None if trim is None else replace(trim, scale=b / a if a > 0 else 1.0)
        for trim, b, a in zip(trims, before, after, strict=True)
    ]


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
    kept = np.abs(values, out=block.scratch("part"))
    split = min(max(trim.until - block.start, 0), values.size)
    np.greater_equal(kept[:split], trim.threshold, out=kept[:split], casting="unsafe")
    np.greater(kept[split:], trim.threshold, out=kept[split:], casting="unsafe")
    # multiplying by 0 or 1: a masked copy of so random a mask takes ten times as long
    np.multiply(values, kept, out=values)
    if trim.scale != 1:
        np.multiply(values, trim.scale, out=values)
        block.round(values)


def find_scales(sweep: Sweep) -> list[float]:
    """Find by how much what is left of each model must grow to weigh what there was (L1)."""
    before = [0.0] * len(sweep.settings)
    after = [0.0] * len(sweep.settings)
    for block in sweep.blocks():
        for place in range(len(before)):
            if unchanged(block, [place]):
                continue
            values = change(block, place)
            np.abs(values, out=values)
            before[place] += float(np.add.reduce(values, dtype=np.float64))
            np.multiply(values, _kept(block, place), out=values)
            after[place] += float(np.add.reduce(values, dtype=np.float64))
    return [b / a if a > 0 else 1.0 for b, a in zip(before, after, strict=True)]


def _drop(block: Block, place: int, values: Array) -> None:
    if float(block.settings[place]["density"]) >= 1:
        return
    np.multiply(values, _kept(block, place), out=values)
    if block.state and block.state[place] != 1:
        np.multiply(values, block.state[place], out=values)
        block.round(values)


def _kept(block: Block, place: int) -> Array:
    """Draw what is kept (1) or dropped (0): by tensor, model content and position alone.

    Four 16-bit draws are taken from each output of the counter-based generator Philox, so the
    probability is the density to within 1/65536.
    """
    size = block.models[0].size
    key = blake2b(block.keys[place] + b"\0" + block.tensor.encode(), digest_size=16).digest()
    # one step of the counter gives sixteen draws, so a draw belongs to its position in the tensor
    words = np.random.Philox(key=int.from_bytes(key, "little"), counter=block.start // 16)
    draws = words.random_raw(-(-size // 4)).view("<u2")[:size]
    kept = block.scratch("part")
    limit = round(float(block.settings[place]["density"]) * 65536)
    np.less(draws, limit, out=kept, casting="unsafe")
    return kept


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
    parameters=(WEIGHT, normalize(False), LAMBDA),
    combine=task_arithmetic,
    base="required",
)
TIES = Method(
    name="ties",
    title="changes trimmed to the largest, signs elected, then added",
    paper="Yadav et al. 2023, TIES-Merging, arXiv:2306.01708",
    parameters=(WEIGHT, DENSITY, normalize(True), rescale(False), LAMBDA),
    combine=ties,
    prepare=find_trims,
    needs_prepare=_some_density,
    base="required",
)
DARE_LINEAR = Method(
    name="dare_linear",
    title="changes dropped at random, the rest rescaled and added",
    paper="Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099",
    parameters=(WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA),
    combine=dare_linear,
    prepare=find_scales,
    needs_prepare=_density_and_rescale,
    base="required",
)
DARE_TIES = Method(
    name="dare_ties",
    title="changes dropped at random, the rest rescaled, signs elected, then added",
    paper="Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099",
    parameters=(WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA),
    combine=dare_ties,
    prepare=find_scales,
    needs_prepare=_density_and_rescale,
    base="required",
)
