# SPDX-License-Identifier: Apache-2.0
"""What a merge fuses: one base, and every contribution made over it, from the originals.

``main = fuse(base, {c1 … cn})``. Merging the n-th contribution fuses all n again, so the order of
merging does not matter. A contribution made from a later fused ``main`` starts a new base there:
what that ``main`` held is then part of the base, and only what came after remains a contribution.
One that was made over another base than the plan's is carried over by its difference:
``base + (contribution - its own base)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from plait.errors import Conflict
from plait.lineage import Contribution, Lineage, Origin


@dataclass(frozen=True)
class State:
    """The model at one commit: its weights, and its lineage where it has one that fits them."""

    weights: Origin
    lineage: Lineage | None

    @property
    def fused(self) -> Lineage | None:
        """The lineage, if these weights are really its output and not put there by hand since."""
        if self.lineage is None:
            return None
        output = sorted(self.lineage.output.values())
        return self.lineage if output == sorted(self.weights.files.values()) else None


@dataclass(frozen=True)
class Plan:
    """The base, and the contributions in an order that does not depend on when they came."""

    base: Origin
    contributions: tuple[Contribution, ...]


def make_plan(
    main: State, fork: State, new: Contribution, is_ancestor: Callable[[str, str], bool]
) -> Plan:
    """Decide what the merge of ``new`` into ``main`` fuses.

    Args:
        main: the model at the branch's head.
        fork: the model at the merge base of the branch and the pull request.
        new: the pull request's contribution.
        is_ancestor: whether the first commit is an ancestor of the second, or the same.

    Raises:
        Conflict: ``main`` holds a contribution of this number already.
    """
    lineage = main.fused
    if lineage is None:
        # Nothing was fused yet, or the weights were replaced by hand: they are the base.
        same = main.weights.same_weights(fork.weights.files)
        base = fork.weights if same else main.weights
        return _plan(base, (), _over(base, new, fork.weights))
    if lineage.contribution(new.number) is not None:
        raise Conflict(f"main holds the contribution of pull request {new.number} already.")
    if lineage.base.same_weights(fork.weights.files):
        return _plan(lineage.base, lineage.contributions, new)
    later = is_ancestor(lineage.base.revision, fork.weights.revision)
    if not later:
        return _plan(lineage.base, lineage.contributions, _over(lineage.base, new, fork.weights))
    absorbed = fork.fused
    known = {one.number for one in absorbed.contributions} if absorbed is not None else set()
    remaining = tuple(
        _over(fork.weights, one, one.base or lineage.base)
        for one in lineage.contributions
        if one.number not in known
    )
    return _plan(fork.weights, remaining, new)


def _over(base: Origin, one: Contribution, own: Origin) -> Contribution:
    return replace(one, base=None if base.same_weights(own.files) else own)


def _plan(base: Origin, earlier: tuple[Contribution, ...], new: Contribution) -> Plan:
    cleared = (replace(one, weight=None) for one in (*earlier, new))
    return Plan(base, tuple(sorted(cleared, key=lambda one: one.key)))
