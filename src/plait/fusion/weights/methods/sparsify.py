# SPDX-License-Identifier: Apache-2.0
"""Thinning out changes: by size (TIES), by rank from both ends, at random, at random by rank.

Each way gives, for the model at a place of a block, a mask of ones and zeros. What is kept can then
be scaled so that the sum of the absolute changes is what it was (`rescale`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.methods.base import Block, Each, Sweep, Value
from plait.fusion.weights.methods.changes import Thin, change, change_sizes, unchanged
from plait.fusion.weights.methods.thresholds import (
    Cut,
    end_of_equals,
    find_cuts,
    find_whole_cuts,
)
from plait.fusion.weights.numbers import Array

Keep = Callable[[Block, int, Array], Array | None]
"""Ones where a change is kept, zeros where not, in `block.scratch("part")`; None: all is kept."""


@dataclass(frozen=True)
class Trim:
    """The largest changes: those over `threshold`, or equal to it and before `until`."""

    threshold: float
    until: int


@dataclass(frozen=True)
class Band:
    """The changes that are among the `low` largest but not among the `high` largest."""

    low: Trim
    high: Trim | None = None


NOTHING = Band(Trim(math.inf, 0))


@dataclass
class Thinning:
    """What is known of each model's changes before they are thinned out."""

    bands: Sequence[Band | None] = ()
    scales: Sequence[float] = ()
    masks: dict[tuple[int, int], Array] = field(default_factory=dict)
    undecided: float = 1.0
    """The sign of elements whose changes add up to nothing."""


def thinned(keep: Keep) -> Thin:
    """Return the function that keeps what `keep` says and scales it as was prepared."""

    def thin(block: Block, place: int, values: Array) -> None:
        mask = keep(block, place, values)
        if mask is None:
            return
        # multiplying by 0 or 1: a masked copy of so random a mask takes ten times as long
        np.multiply(values, mask, out=values)
        if block.state and block.state.scales and block.state.scales[place] != 1:
            np.multiply(values, block.state.scales[place], out=values)
            block.round(values)

    return thin


def keep_band(block: Block, place: int, values: Array) -> Array | None:
    """Keep the changes within the model's band."""
    band: Band | None = block.state.bands[place] if block.state else None
    if band is None:
        return None
    sizes = np.abs(values, out=block.scratch("sizes"))
    kept = _above(block, band.low, sizes, block.scratch("part"))
    if band.high is not None:
        np.subtract(kept, _above(block, band.high, sizes, block.scratch("high")), out=kept)
    return kept


def _above(block: Block, trim: Trim, sizes: Array, out: Array) -> Array:
    split = min(max(trim.until - block.start, 0), sizes.size)
    np.greater_equal(sizes[:split], trim.threshold, out=out[:split], casting="unsafe")
    np.greater(sizes[split:], trim.threshold, out=out[split:], casting="unsafe")
    return out


def keep_at_random(block: Block, place: int, values: Array) -> Array | None:
    """Keep each change with the model's `density` as its probability."""
    density = float(block.settings[place]["density"])
    if density >= 1:
        return None
    kept = block.scratch("part")
    if _recall(block, place, kept):
        return kept
    drawn = np.less(draws(block, place, values.size), round(density * 65536))
    _remember(block, place, drawn)
    np.copyto(kept, drawn)
    return kept


def _remember(block: Block, place: int, kept: Array) -> None:
    """Keep what is kept, as bits, for the next time that the block comes by."""
    if block.state:
        block.state.masks[place, block.start] = np.packbits(kept)


def _recall(block: Block, place: int, kept: Array) -> bool:
    known = block.state.masks.get((place, block.start)) if block.state else None
    if known is None:
        return False
    np.copyto(kept, np.unpackbits(known, count=kept.size))
    return True


def keep_by_rank(block: Block, place: int, values: Array) -> Array | None:
    """Keep changes at random, the larger ones of a row more probably.

    Within a row (along the second dimension; a vector is one row) the probability goes evenly from
    `density - epsilon` for the smallest change to `density + epsilon` for the largest.
    """
    own = block.settings[place]
    density, spread = float(own["density"]), float(own["epsilon"])
    if density >= 1:
        return None
    kept = block.scratch("part")
    if _recall(block, place, kept):
        return kept
    width = block.shape[1] if len(block.shape) > 1 else block.total
    depth = math.prod(block.shape[2:])
    grid = np.abs(values, out=block.scratch("sizes")).reshape(-1, width, depth)
    rows = np.ascontiguousarray(grid.transpose(0, 2, 1)).reshape(-1, width)
    order = _ranks(rows)
    steps = np.arange(width, dtype=np.float64) / max(width - 1, 1)
    chance = density - spread + 2 * spread * steps if width > 1 else np.array([density])
    limits = np.round(chance * 65536).astype(np.uint32)
    drawn = draws(block, place, values.size).reshape(-1, width) < limits
    mask = np.empty(rows.size, bool)
    mask[order.reshape(-1)] = drawn.reshape(-1)
    back = mask.reshape(-1, depth, width).transpose(0, 2, 1)
    kept.reshape(-1, width, depth)[:] = back
    _remember(block, place, back)
    return kept


def _ranks(rows: Array) -> Array:
    """Return the places in the block of each row's values from small to large.

    Of equal values the first is first.
    """
    places = np.arange(rows.size, dtype=np.uint64).reshape(rows.shape)
    if rows.dtype != np.float32 or rows.size > 1 << 31:
        return np.take_along_axis(places, np.argsort(rows, axis=1, kind="stable"), 1)
    # one number of value and place: sorting needs no second array, and no two are equal
    keys = places
    keys.view(np.uint32).reshape(-1)[1::2] = rows.view(np.uint32).reshape(-1)
    keys.sort(axis=1)
    np.bitwise_and(keys, 0xFFFFFFFF, out=keys)
    return keys.view(np.int64)


def draws(block: Block, place: int, size: int) -> Array:
    """Draw 16-bit numbers by tensor, model content and position alone.

    Four are taken from each output of the counter-based generator Philox, so a probability holds
    to within 1/65536.
    """
    key = blake2b(block.keys[place] + b"\0" + block.tensor.encode(), digest_size=16).digest()
    # one step of the counter gives sixteen draws, so a draw belongs to its position in the tensor
    words = np.random.Philox(key=int.from_bytes(key, "little"), counter=block.start // 16)
    skip = block.start % 16
    found: Array = words.random_raw(-(-(skip + size) // 4)).view("<u2")[skip : skip + size]
    return found


def find_trims(sweep: Sweep) -> Thinning:
    """Find, for each model, what its `density` largest changes of this tensor are.

    Of changes equal in size at the threshold, those first in the tensor are kept, so that the share
    is met exactly.
    """
    shares = [float(own["density"]) for own in sweep.settings]
    keep = [max(1, int(share * sweep.total)) if share > 0 else 0 for share in shares]
    return _find_bands(sweep, [(0, count) for count in keep], [share >= 1 for share in shares])


def find_whole_trims(each: Each, options: Mapping[str, Value]) -> Thinning | None:
    """Find what the `density` largest changes of each *whole model* are, as TIES' authors do.

    Where trimmed changes cancel out exactly, the sign is that of most elements of the model.
    """
    if options["dialect"] != "paper":
        return None
    densities = next(each(lambda sweep: [float(own["density"]) for own in sweep.settings]))
    found: list[Band | None] = [NOTHING if density <= 0 else None for density in densities]
    for place, least in find_whole_cuts(each, densities, change_sizes).items():
        found[place] = Band(Trim(least, sys.maxsize))
    thinning = Thinning(found)
    thin = thinned(keep_band)

    def signs(sweep: Sweep) -> int:
        total = 0
        for block in sweep.blocks():
            block.state = thinning
            summed = block.scratch("summed")
            summed[:] = 0
            for place in range(len(block.models)):
                values = change(block, place)
                thin(block, place, values)
                np.add(summed, values, out=summed)
            total += int(np.count_nonzero(summed > 0)) - int(np.count_nonzero(summed < 0))
        return total

    thinning.undecided = 1.0 if sum(each(signs)) > 0 else -1.0
    return thinning


def find_bands(sweep: Sweep) -> Thinning:
    """Find, for each model, which changes are neither its `gamma` largest nor too small.

    So many of the smallest are dropped that `density` of all are left; if `gamma` is more than that
    allows, fewer of the largest are dropped and none of the smallest.
    """
    wanted, all_kept = [], []
    for own in sweep.settings:
        kept = int(float(own["density"]) * sweep.total)
        dropped = min(int(float(own["gamma"]) * sweep.total), sweep.total - kept)
        wanted.append((dropped, dropped + kept))
        all_kept.append(kept == sweep.total)
    return _find_bands(sweep, wanted, all_kept)


def _find_bands(
    sweep: Sweep, wanted: Sequence[tuple[int, int]], all_kept: Sequence[bool]
) -> Thinning:
    ranks = {
        place: [rank for rank in pair if 0 < rank < sweep.total]
        for place, pair in enumerate(wanted)
        if not all_kept[place] and pair[0] < pair[1]
    }
    cuts = find_cuts(sweep, change_sizes, ranks)

    def trim(place: int, rank: int) -> Trim:
        if rank >= sweep.total:
            return Trim(-1.0, 0)
        cut = cuts[place, rank]
        return Trim(cut.value, _until(sweep, place, cut))

    bands: list[Band | None] = []
    for place, (high, low) in enumerate(wanted):
        if all_kept[place]:
            bands.append(None)
        elif place not in ranks:
            bands.append(NOTHING)
        else:
            bands.append(Band(trim(place, low), trim(place, high) if high else None))
    return _matched(sweep, keep_band, Thinning(bands))


def _until(sweep: Sweep, place: int, cut: Cut) -> int:
    # a change of 0 that is kept or dropped comes to the same
    return end_of_equals(sweep, change_sizes, place, cut) if cut.value > 0 else sweep.total


def find_random_scales(sweep: Sweep) -> Thinning:
    """Find by how much what DARE leaves of each model must grow."""
    if sweep.options.get("dialect") in ("paper", "peft"):
        shares = [float(own["density"]) for own in sweep.settings]
        return Thinning(scales=[1 / share if share > 0 else 1.0 for share in shares])
    return _matched(sweep, keep_at_random, Thinning())


def find_ranked_scales(sweep: Sweep) -> Thinning:
    """Find by how much what DELLA leaves of each model must grow."""
    return _matched(sweep, keep_by_rank, Thinning())


def _matched(sweep: Sweep, keep: Keep, found: Thinning) -> Thinning:
    """Add the scales at which what is kept weighs what there was (sum of absolute values)."""
    if not sweep.options["rescale"]:
        return found
    before = [0.0] * len(sweep.settings)
    after = [0.0] * len(sweep.settings)
    for block in sweep.blocks():
        block.state = found
        for place in range(len(before)):
            if unchanged(block, [place]):
                continue
            values = change(block, place)
            mask = keep(block, place, values)
            np.abs(values, out=values)
            before[place] += float(np.add.reduce(values, dtype=np.float64))
            if mask is not None:
                np.multiply(values, mask, out=values)
            after[place] += float(np.add.reduce(values, dtype=np.float64))
    found.scales = [b / a if a > 0 else 1.0 for b, a in zip(before, after, strict=True)]
    return found


def some_density(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> bool:
    """Tell whether any model's changes are thinned out."""
    return any(float(s["density"]) < 1 for s in settings)


def trims_each_tensor(
    settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]
) -> bool:
    """Tell whether changes are thinned out tensor by tensor, not over the whole model."""
    return options["dialect"] != "paper" and some_density(settings, options)


def check_paper(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> None:
    """Refuse what the paper's TIES does not have."""
    if options["dialect"] == "paper" and options["rescale"]:
        raise BadInput("'rescale' does not go with 'dialect: paper', which trims whole models.")


def density_and_rescale(
    settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]
) -> bool:
    """Tell whether what is left of thinned-out changes is scaled."""
    return bool(options["rescale"]) and some_density(settings, options)


def check_chances(settings: Sequence[Mapping[str, Value]], options: Mapping[str, Value]) -> None:
    """Refuse a density and an epsilon that give no probabilities."""
    for own in settings:
        density, spread = float(own["density"]), float(own["epsilon"])
        if density < 1 and not (density - spread > 0 and density + spread < 1):
            raise BadInput(
                f"'density' {density:g} with 'epsilon' {spread:g} gives probabilities from "
                f"{density - spread:g} to {density + spread:g}; choose them so that these are "
                "between 0 and 1."
            )


def row_length(shape: Sequence[int], options: Mapping[str, Value]) -> int:
    """Return how many elements hang together when rows are ranked along the second dimension."""
    return math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)
