# SPDX-License-Identifier: Apache-2.0
"""RAM: average what several models changed, keep whole what only one did.

Yuan et al. 2026, Behavior Knowledge Merge in Reinforced Agentic Models, arXiv:2601.13572.
"""

from __future__ import annotations

import numpy as np

from plait.fusion.weights.methods.base import Block, Method, Parameter, Sweep
from plait.fusion.weights.methods.changes import change, keep_base, unchanged
from plait.fusion.weights.numbers import Array

EPSILON = Parameter("epsilon", 1e-5, "changes no larger count as none", low=0.0, high=1e6)


def ram(block: Block, out: Array) -> None:
    """Average the changes that several models made to an element, and keep those of one alone.

    RAM+ makes the latter larger by a factor that was found for each model and tensor.
    """
    count = len(block.models)
    if unchanged(block, range(count)):
        keep_base(block, out)
        return
    touched = _touches(block)
    divisor, part = block.scratch("divisor"), block.scratch("part")
    out[:] = 0
    alone = np.equal(touched, 1, out=block.mask("alone"))
    np.maximum(touched, 1, out=divisor, casting="unsafe")
    for place, values in enumerate(block.models):
        np.divide(values, divisor, out=values)
        factor = block.state[place] if block.state else 1.0
        if factor != 1:
            np.multiply(alone, values.dtype.type(factor - 1), out=part, casting="unsafe")
            np.add(part, 1, out=part)
            np.multiply(values, part, out=values)
        np.add(out, values, out=out)
    assert block.base is not None
    np.add(out, block.base, out=out)


def find_factors(sweep: Sweep) -> list[float]:
    """Find each model's factor on what it alone changed: 1 + r min(shared / alone, alpha)."""
    count = len(sweep.settings)
    shared, alone = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for block in sweep.blocks():
        touched = _touches(block)
        for place, values in enumerate(block.models):
            own = touched[np.not_equal(values, 0, out=block.mask("own"))]
            here = int(np.count_nonzero(own == 1))
            alone[place] += here
            shared[place] += own.size - here
    r, most = float(sweep.options["r"]), float(sweep.options["alpha"])
    ratios = shared / np.maximum(alone, float(sweep.options["epsilon"]) or 1.0)
    return [1 + r * min(float(ratio), most) for ratio in ratios]


def _touches(block: Block) -> Array:
    """Turn the models into their changes (0 if too small) and count those of each element."""
    small = float(block.options["epsilon"])
    touched = block.spare("touched", np.dtype(np.int32))[: block.models[0].size]
    touched[:] = 0
    for place in range(len(block.models)):
        values = change(block, place)
        sizes = np.abs(values, out=block.scratch("part"))
        kept = np.greater(sizes, values.dtype.type(small), out=block.mask("kept"))
        np.multiply(values, kept, out=values)
        np.add(touched, kept, out=touched, casting="unsafe")
    return touched


RAM = Method(
    name="ram",
    title="changes of several models averaged, those of one alone kept whole",
    paper="Yuan et al. 2026, Behavior Knowledge Merge, arXiv:2601.13572",
    parameters=(EPSILON,),
    combine=ram,
    base="required",
)
RAMPLUS_TL = Method(
    name="ramplus_tl",
    title="as ram, with what one model alone changed made larger, tensor by tensor",
    paper="Yuan et al. 2026, Behavior Knowledge Merge, arXiv:2601.13572",
    parameters=(
        Parameter("r", 0.1, "how much larger, per part shared", low=-1e3, high=1e3),
        Parameter("alpha", 0.2, "most that shared / alone counts for", low=0.0, high=1e6),
        EPSILON,
    ),
    combine=ram,
    prepare=find_factors,
    base="required",
)
